//! How a row's token is to be chosen, and what came of it.

use bytemuck::{Pod, Zeroable};

/// No mask: every token may be drawn.
pub const NO_MASK: u32 = u32::MAX;

/// The id where nothing was drawn.
pub const NO_TOKEN: u32 = u32::MAX;

/// Most of the likeliest tokens that are told.
pub const MOST_RIVALS: usize = 20;

/// How a token is drawn for one row of logits. With temperature 0 or a limit of one token it is the likeliest.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct SampleRow {
    /// In [0, 1): where in the distribution the token lies.
    pub chance: f64,
    /// The request's slot.
    pub slot: u32,
    /// [`SampleRow::ACTIVE`], [`SampleRow::FIRST`].
    pub flags: u32,
    /// The number of the mask of tokens that may be drawn, or [`NO_MASK`].
    pub mask: u32,
    /// Keeps this many of the likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Keeps the likeliest tokens up to this share of the probability; 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens with at least this share of the likeliest one's probability; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens already drawn; 1 leaves them. Above 0.
    pub repetition_penalty: f32,
    /// How many of the likeliest tokens' log-probabilities are told beside the drawn one's, at most [`MOST_RIVALS`]; negative:
    /// no log-probabilities.
    pub rivals: i32,
    /// 0.
    pub pad: u32,
}

/// What was drawn for a row.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct SampleResult {
    /// The token; [`NO_TOKEN`] where logits are not finite, the mask allows none, or the row's slot or mask is not there. Then
    /// the token drawn last is still the one before.
    pub id: u32,
    /// How many logits are not finite.
    pub faults: u32,
    /// The first of them, if there is one.
    pub fault_id: u32,
    /// Its value.
    pub fault: f32,
    /// The drawn token's log-probability before penalty, temperature and cuts, if asked for.
    pub logprob: f32,
    /// How many of the likeliest tokens follow.
    pub rivals: u32,
    /// These, best first, the lower id before its equals.
    pub rival_ids: [u32; MOST_RIVALS],
    /// Their log-probabilities.
    pub rival_logprobs: [f32; MOST_RIVALS],
}

impl SampleRow {
    /// Flag: there is a row.
    pub const ACTIVE: u32 = 1;
    /// Flag: the request has drawn nothing yet, and what its slot drew before is forgotten.
    pub const FIRST: u32 = 2;
    /// No row.
    pub const UNUSED: Self = Self {
        chance: 0.0,
        slot: 0,
        flags: 0,
        mask: NO_MASK,
        top_k: 0,
        temperature: 0.0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        rivals: -1,
        pad: 0,
    };
}
