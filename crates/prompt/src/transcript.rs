//! Sampled ids become thoughts and an answer, piece by piece.

mod answer;
mod stops;
mod thoughts;
mod utf8;

use std::sync::Arc;

use crate::tokenizer::Tokenizer;
use answer::Answer;
use thoughts::Thoughts;
use utf8::Utf8;

/// What can be said now; all pieces of a kind in order are the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Of the thoughts.
    Reasoning(String),
    /// Of the answer.
    Text(String),
}

/// The detokeniser of one answer.
///
/// Thoughts begin with the prompt, if it opened them, or with a sampled `<think>`, and end with a sampled `</think>`; the
/// same words spelt in ordinary tokens are text. Thoughts that never end leave the answer empty. Line breaks around thoughts
/// and before the answer are dropped. Tokens that end a turn are never text; other control tokens, such as `<box>`, are.
///
/// Stop strings are looked for in the answer only, not in the thoughts. The first that is complete ends the answer, of two
/// that end together the longer one, and is not part of the text; what may be the beginning of one is held back.
#[derive(Debug)]
pub struct Transcript {
    tokenizer: Arc<Tokenizer>,
    thinking: bool,
    characters: Utf8,
    thoughts: Thoughts,
    answer: Answer,
    reasoning_tokens: usize,
}

impl Transcript {
    /// An answer of which nothing is said. `thinking` is whether the prompt opened the thoughts.
    pub fn new(tokenizer: &Arc<Tokenizer>, thinking: bool, stop: Vec<String>) -> Self {
        Self {
            tokenizer: Arc::clone(tokenizer),
            thinking,
            characters: Utf8::default(),
            thoughts: Thoughts::default(),
            answer: Answer::new(stop),
            reasoning_tokens: 0,
        }
    }

    /// Takes the next sampled id and gives what can be said now. After a stop string nothing is.
    pub fn push(&mut self, id: u32) -> Vec<Piece> {
        if self.answer.stopped() {
            return Vec::new();
        }
        let control = self.tokenizer.control();
        let (opens, closes) = (id == control.think, id == control.think_end);
        let ends = id == control.im_end || id == control.end_of_text;
        self.reasoning_tokens += usize::from(opens || (self.thinking && !ends));
        if !(opens || closes || ends) {
            let text = self.characters.push(self.tokenizer.token_bytes(id).unwrap_or_default());
            return self.say(&text).into_iter().collect();
        }
        let piece = self.end_character();
        if !ends {
            self.turn_to(opens);
        }
        piece.into_iter().collect()
    }

    /// Says what was held back: nothing follows. Bytes of a character that was never completed become U+FFFD.
    pub fn finish(&mut self) -> Vec<Piece> {
        let character = self.end_character();
        let held = self.answer.finish();
        character.into_iter().chain(held.map(Piece::Text)).collect()
    }

    /// Whether a stop string came up.
    pub fn stopped(&self) -> bool {
        self.answer.stopped()
    }

    /// The answer as far as it was said.
    pub fn text(&self) -> &str {
        self.answer.said()
    }

    /// The thoughts as far as they were said.
    pub fn reasoning(&self) -> &str {
        self.thoughts.said()
    }

    /// Sampled ids of the thoughts, `<think>` and `</think>` included.
    pub const fn reasoning_tokens(&self) -> usize {
        self.reasoning_tokens
    }

    fn turn_to(&mut self, thinking: bool) {
        if thinking && !self.thinking {
            self.thoughts.go_on();
        }
        self.thinking = thinking;
    }

    fn end_character(&mut self) -> Option<Piece> {
        let rest = self.characters.finish();
        self.say(rest)
    }

    fn say(&mut self, text: &str) -> Option<Piece> {
        if self.thinking {
            return self.thoughts.push(text).map(Piece::Reasoning);
        }
        self.answer.push(text).map(Piece::Text)
    }
}
