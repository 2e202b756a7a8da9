//! Rows of a step, and how their tokens are spread over launches.

use std::ops::Range;
use std::sync::Arc;

use karst_kernels::{DRAWN, GIVEN, SampleRow};

use super::decoder::Features;
use super::inputs::{Inputs, PLACES};

/// What a step does for one request.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// Where what was drawn for the request is kept; no other row of the step has it.
    pub slot: usize,
    /// The request's blocks of the cache.
    pub blocks: &'a Arc<[u32]>,
    /// Positions that are in the cache already.
    pub past: usize,
    /// What is appended.
    pub append: Append<'a>,
    /// How the next token is drawn from the last appended position, if one is.
    pub draw: Option<SampleRow>,
}

/// What a row appends to the cache.
#[derive(Debug, Clone)]
pub enum Append<'a> {
    /// The token that was drawn last on the slot.
    Drawn,
    /// Tokens, at least one.
    Ids {
        /// Which.
        ids: &'a [u32],
        /// Those that rows of features stand for.
        given: Vec<Given<'a>>,
    },
}

/// Features in the place of some of a row's tokens.
#[derive(Debug, Clone)]
pub struct Given<'a> {
    /// The first of them.
    pub offset: usize,
    /// Whose.
    pub features: &'a Features,
    /// Which rows.
    pub rows: Range<usize>,
}

/// A launch: some of a step's tokens.
pub(super) struct Pass<'a> {
    pub(super) inputs: Inputs,
    pub(super) tokens: usize,
    /// Rows of features, and the places that they go to.
    pub(super) given: Vec<(usize, &'a Features, Range<usize>)>,
}

/// Whether no two tokens are of the same row, and there are few enough for one launch.
pub(super) fn is_decode(rows: &[Row<'_>]) -> bool {
    rows.len() <= PLACES && rows.iter().all(|row| row.tokens() == 1)
}

/// The one launch of a step of a token a row: row of logits `i` is that of row `i`.
pub(super) fn decode_pass<'a>(rows: &[Row<'a>]) -> Pass<'a> {
    let mut pass = Pass::new();
    for row in rows {
        let place = pass.tokens;
        pass.push(row, 0..1);
        pass.inputs.rows[place] = row.draw.unwrap_or(SampleRow::UNUSED);
    }
    pass
}

/// The launches of any step. Rows of logits are those of the rows that draw, in their order; the last launch says how.
pub(super) fn passes<'a>(rows: &[Row<'a>]) -> Vec<Pass<'a>> {
    let mut passes = vec![Pass::new()];
    let mut draws = Vec::new();
    for row in rows {
        let mut from = 0;
        while from < row.tokens() {
            if passes.last().is_none_or(|pass| pass.tokens == PLACES) {
                passes.push(Pass::new());
            }
            let Some(pass) = passes.last_mut() else { break };
            let to = row.tokens().min(from + PLACES - pass.tokens);
            pass.push(row, from..to);
            from = to;
            if let (true, Some(draw)) = (to == row.tokens(), row.draw) {
                pass.inputs.pick[draws.len()] = (pass.tokens - 1) as u32;
                draws.push(draw);
            }
        }
    }
    if let Some(last) = passes.last_mut() {
        last.inputs.rows[..draws.len()].copy_from_slice(&draws);
    }
    passes
}

impl Row<'_> {
    /// Tokens that it appends.
    pub(super) fn tokens(&self) -> usize {
        match &self.append {
            Append::Drawn => 1,
            Append::Ids { ids, .. } => ids.len(),
        }
    }
}

impl<'a> Pass<'a> {
    fn new() -> Self {
        Self { inputs: Inputs::none(), tokens: 0, given: Vec::new() }
    }

    /// Adds the tokens `range` of a row, for which there is room.
    fn push(&mut self, row: &Row<'a>, range: Range<usize>) {
        let first = self.tokens;
        for (place, token) in (first..).zip(range.clone()) {
            self.inputs.position[place] = (row.past + token) as i32;
            self.inputs.slot[place] = row.slot as u32;
            self.inputs.id[place] = if let Append::Ids { ids, .. } = &row.append { ids[token] } else { DRAWN };
        }
        self.tokens += range.len();
        let Append::Ids { given, .. } = &row.append else { return };
        for given in given {
            let (start, end) = (given.offset.max(range.start), (given.offset + given.rows.len()).min(range.end));
            if start < end {
                let place = first + start - range.start;
                self.inputs.id[place..place + end - start].fill(GIVEN);
                let skipped = given.rows.start + start - given.offset;
                self.given.push((place, given.features, skipped..skipped + end - start));
            }
        }
    }
}
