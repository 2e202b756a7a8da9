//! The sampled ids of one answer, as text: thoughts apart from the answer, characters whole, stop texts cut.

use std::sync::Arc;

use crate::stops::Stops;
use crate::tokenizer::Tokenizer;
use crate::utf8::Pending;

/// A piece of what the model says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Of its thoughts.
    Reasoning(String),
    /// Of its answer.
    Text(String),
}

/// What the model says, from its ids. All pieces together are [`Transcript::reasoning`] and [`Transcript::text`].
///
/// - Thoughts end at the control token `</think>`, never at the same letters as text. A thought that does not end is all there
///   is: the answer is empty. Line breaks around the thoughts and before the answer are left out.
/// - Stop texts are looked for in the answer, not in the thoughts; they are not part of it.
/// - Other control tokens, such as those of boxes, are text. Bytes that are no character become U+FFFD, a character that is
///   cut off at the end, too.
pub struct Transcript {
    tokenizer: Arc<Tokenizer>,
    thinking: bool,
    pending: Pending,
    stops: Stops,
    /// Line breaks at the end of the thoughts, which are shown only when more follows.
    breaks: String,
    reasoning: String,
    text: String,
    reasoning_tokens: usize,
}

impl Transcript {
    /// An answer that begins with thoughts or without.
    pub fn new(tokenizer: &Arc<Tokenizer>, thinking: bool, stop: Vec<String>) -> Self {
        Self {
            tokenizer: Arc::clone(tokenizer),
            thinking,
            pending: Pending::default(),
            stops: Stops::new(stop),
            breaks: String::new(),
            reasoning: String::new(),
            text: String::new(),
            reasoning_tokens: 0,
        }
    }

    /// Takes a sampled id that is no end token; gives what can be said now. After a stop text nothing is said.
    pub fn push(&mut self, id: u32) -> Vec<Piece> {
        let control = *self.tokenizer.control();
        self.reasoning_tokens += usize::from(self.thinking || id == control.think);
        if id == control.think || id == control.think_end {
            let cut = self.pending.finish();
            let piece = self.say(&cut);
            self.thinking = id == control.think;
            return piece.into_iter().collect();
        }
        let tokenizer = Arc::clone(&self.tokenizer);
        let text = self.pending.push(tokenizer.token_bytes(id).unwrap_or_default());
        self.say(&text).into_iter().collect()
    }

    /// Whether a stop text came.
    pub fn stopped(&self) -> bool {
        self.stops.found()
    }

    /// What was held back, when no id follows.
    pub fn finish(&mut self) -> Vec<Piece> {
        let cut = self.pending.finish();
        let cut = self.say(&cut);
        let held = self.stops.finish();
        cut.into_iter().chain(self.answer(held)).collect()
    }

    /// The thoughts so far.
    pub fn reasoning(&self) -> &str {
        &self.reasoning
    }

    /// The answer so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tokens of the thoughts, their end included.
    pub fn reasoning_tokens(&self) -> usize {
        self.reasoning_tokens
    }

    fn say(&mut self, text: &str) -> Option<Piece> {
        if self.thinking {
            return self.think(text);
        }
        // Before the first letter, line breaks are not part of the answer, so not of a stop text either.
        let begun = !self.text.is_empty() || self.stops.holds();
        let said = self.stops.push(if begun { text } else { text.trim_start_matches('\n') });
        self.answer(said)
    }

    fn think(&mut self, text: &str) -> Option<Piece> {
        let text = if self.reasoning.is_empty() { text.trim_start_matches('\n') } else { text };
        let letters = text.trim_end_matches('\n').len();
        if letters == 0 {
            self.breaks.push_str(text);
            return None;
        }
        let mut said = std::mem::take(&mut self.breaks);
        said.push_str(&text[..letters]);
        self.breaks.push_str(&text[letters..]);
        self.reasoning.push_str(&said);
        Some(Piece::Reasoning(said))
    }

    fn answer(&mut self, said: String) -> Option<Piece> {
        self.text.push_str(&said);
        (!said.is_empty()).then_some(Piece::Text(said))
    }
}
