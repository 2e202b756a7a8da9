//! How the next token is chosen.

/// Checked sampling settings; made by [`crate::Options::parse`] or one of the two modes of the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Keeps the likeliest tokens up to this share of the probability; 1 keeps all.
    pub top_p: f32,
    /// Keeps this many of the likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps tokens with at least this share of the likeliest one's probability; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens already generated; 1 leaves them.
    pub repetition_penalty: f32,
    /// Makes sampling repeatable; `None` takes a new seed for each request.
    pub seed: Option<u64>,
}

impl Sampling {
    /// The reference's mode without thinking.
    pub const FAST: Self =
        Self { temperature: 0.7, top_p: 0.8, top_k: 100, min_p: 0.0, repetition_penalty: 1.03, seed: None };

    /// The reference's mode with thinking.
    pub const DEEP: Self =
        Self { temperature: 0.7, top_p: 1.0, top_k: 50, min_p: 0.0, repetition_penalty: 1.0, seed: None };

    /// The likeliest token each time, nothing penalised.
    pub const GREEDY: Self =
        Self { temperature: 0.0, top_p: 1.0, top_k: 0, min_p: 0.0, repetition_penalty: 1.0, seed: None };

    /// Whether the likeliest token is taken without chance.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 || self.top_k == 1
    }
}
