//! What comes up while a request runs, and the answer at its end.

use crate::error::Failure;

/// One thing that happened to a request. After [`Event::Finish`] or [`Event::Failed`] nothing follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The next piece of the thoughts.
    Reasoning(String),
    /// The next piece of the answer.
    Text(String),
    /// The request ended; an aborted one says so in [`Answer::finish_reason`] and holds what was said until then.
    Finish(Box<Answer>),
    /// The request failed; `answer` holds what was said until then.
    Failed {
        /// What went wrong.
        failure: Failure,
        /// What was said until then.
        answer: Box<Answer>,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FinishReason {
    /// The model said an end token, or a stop string came up.
    #[default]
    Stop,
    /// The token limit or the end of the context was reached.
    Length,
    /// The caller aborted.
    Abort,
}

impl FinishReason {
    /// The name used in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
        }
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// What follows the thoughts, without leading blank lines.
    pub text: String,
    /// The thoughts, when thinking was asked for or the model thought unasked.
    pub reasoning: Option<String>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// How many tokens went in and came out.
    pub usage: Usage,
    /// How long it took.
    pub timings: Timings,
    /// Every sampled token id, the end token included.
    pub ids: Vec<u32>,
    /// One entry a sampled token, when log-probabilities were asked for.
    pub logprobs: Option<Vec<TokenLogprob>>,
}

/// Token counts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the whole prompt, pictures included.
    pub prompt_tokens: usize,
    /// Of these, rows that hold picture features.
    pub image_tokens: usize,
    /// Of the prompt's tokens, those whose keys and values were already there.
    pub cached_tokens: usize,
    /// Sampled tokens, thoughts and end token included.
    pub completion_tokens: usize,
    /// Of these, tokens of the thoughts.
    pub reasoning_tokens: usize,
}

/// Times of a request, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timings {
    /// Waiting for a place among the running requests.
    pub queue: f64,
    /// Decoding, resizing and tokenising.
    pub preprocess: f64,
    /// From the call to the first sampled token.
    pub first_token: f64,
    /// From the call to the end.
    pub total: f64,
}

/// The log-probability of a sampled token and of its likeliest rivals.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The sampled token.
    pub chosen: Alternative,
    /// The likeliest tokens, best first, as many as were asked for.
    pub top: Vec<Alternative>,
}

/// A token with its log-probability under the unmodified distribution (before penalty, temperature and cuts).
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// The token's id.
    pub id: u32,
    /// The token's text; bytes that are no whole character are shown as U+FFFD.
    pub text: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}
