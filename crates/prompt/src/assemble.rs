//! Segments to ids, with the places of feature rows.

use karst_contract::limits;
use karst_vision_input::{Grid, Layout};

use crate::conversation::{Conversation, Role};
use crate::error::PromptError;
use crate::template::{Segment, render};
use crate::tokenizer::Tokenizer;

/// Rows of a block: the resampler's queries, Q.
const ROWS: usize = 64;

/// A conversation as ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The ids; placeholders where features go.
    pub ids: Vec<u32>,
    /// Where features go, in order.
    pub spans: Vec<Span>,
}

/// A block of Q rows that features stand in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first row.
    pub start: usize,
    /// Whose features: packs are counted in the order in which they are placed.
    pub pack: usize,
}

/// Makes the prompt of a conversation.
///
/// # Errors
/// When the turns are not in an order that the model knows, a picture stands where none may, or the text is too long.
pub fn build(tokenizer: &Tokenizer, conversation: &Conversation) -> Result<Prompt, PromptError> {
    check(conversation)?;
    let segments = render(conversation);
    let bytes = segments.iter().map(|segment| if let Segment::Text(text) = segment { text.len() } else { 0 }).sum();
    if bytes > limits::MAX_TEXT_BYTES {
        return Err(PromptError::TextTooLong { bytes });
    }
    let mut assembly = Assembly { tokenizer, prompt: Prompt::default(), run: String::new() };
    segments.iter().for_each(|segment| assembly.place(segment));
    assembly.flush();
    Ok(assembly.prompt)
}

/// The order that the reference asserts: an optional system turn, then the user's; the last is the user's or a tool's.
fn check(conversation: &Conversation) -> Result<(), PromptError> {
    let turns = &conversation.turns;
    let Some(last) = turns.last() else { return Err(PromptError::Empty) };
    if let Some(turn) = turns.iter().skip(1).position(|turn| turn.role == Role::System) {
        return Err(PromptError::LateSystem { turn: turn + 1 });
    }
    let first = usize::from(turns[0].role == Role::System);
    if turns.get(first).is_none_or(|turn| turn.role != Role::User) {
        return Err(PromptError::FirstTurn { turn: first });
    }
    if !matches!(last.role, Role::User | Role::Tool) {
        return Err(PromptError::LastTurn { turn: turns.len() - 1 });
    }
    match turns.iter().position(|turn| turn.role != Role::User && turn.has_visuals()) {
        Some(turn) => Err(PromptError::Visual { turn }),
        None => Ok(()),
    }
}

/// A prompt in the making. Text between two control tokens is gathered, whoever wrote it, and tokenised as one run, because
/// words may reach over the seams.
struct Assembly<'a> {
    tokenizer: &'a Tokenizer,
    prompt: Prompt,
    run: String,
}

impl Assembly<'_> {
    fn place(&mut self, segment: &Segment) {
        match segment {
            Segment::Scaffold(ours) => self.scaffold(ours),
            Segment::Text(theirs) => self.run.push_str(theirs),
            Segment::Visual(layout) => self.visual(layout),
        }
    }

    fn scaffold(&mut self, ours: &str) {
        let tokenizer = self.tokenizer;
        tokenizer.split(ours, |piece| match piece {
            Ok(plain) => self.run.push_str(plain),
            Err(id) => self.token(id),
        });
    }

    fn token(&mut self, id: u32) {
        self.flush();
        self.prompt.ids.push(id);
    }

    fn flush(&mut self) {
        if !self.run.is_empty() {
            self.prompt.ids.extend(self.tokenizer.encode_text(&self.run));
            self.run.clear();
        }
    }

    fn visual(&mut self, layout: &Layout) {
        let control = *self.tokenizer.control();
        if let Some(number) = layout.image_id {
            self.token(control.image_id);
            self.run.push_str(&number.to_string());
            self.token(control.image_id_end);
        }
        self.block(control.image, control.image_end);
        let Grid { columns, rows } = layout.grid.unwrap_or(Grid { columns: 0, rows: 0 });
        for row in 0..rows {
            if row > 0 {
                self.run.push('\n');
            }
            (0..columns).for_each(|_| self.block(control.slice, control.slice_end));
        }
    }

    fn block(&mut self, begin: u32, end: u32) {
        self.token(begin);
        let (start, pack) = (self.prompt.ids.len(), self.prompt.spans.len());
        self.prompt.spans.push(Span { start, pack });
        self.prompt.ids.extend([self.tokenizer.control().unk; ROWS]);
        self.prompt.ids.push(end);
    }
}
