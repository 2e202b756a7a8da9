//! Events and answers as JavaScript takes them.

use karst_contract::{Alternative, Answer, Event, Failure, TokenLogprob};
use napi_derive::napi;

use crate::convert::count;

/// One thing that happened to a request. `text` comes with the first two kinds, `answer` with the others, `failure` with the last.
#[napi(object, object_from_js = false)]
pub struct NativeEvent {
    #[napi(ts_type = "'reasoning' | 'text' | 'finish' | 'failed'")]
    pub kind: &'static str,
    pub text: Option<String>,
    pub answer: Option<NativeAnswer>,
    pub failure: Option<NativeFailure>,
}

/// A whole answer.
#[napi(object, object_from_js = false)]
pub struct NativeAnswer {
    pub text: String,
    pub reasoning: Option<String>,
    #[napi(ts_type = "'stop' | 'length' | 'abort'")]
    pub finish_reason: &'static str,
    pub usage: NativeUsage,
    pub timings: NativeTimings,
    pub logprobs: Option<Vec<NativeLogprob>>,
}

/// Token counts.
#[napi(object, object_from_js = false)]
pub struct NativeUsage {
    pub prompt_tokens: i64,
    pub image_tokens: i64,
    pub cached_tokens: i64,
    pub completion_tokens: i64,
    pub reasoning_tokens: i64,
}

/// Milliseconds.
#[napi(object, object_from_js = false)]
pub struct NativeTimings {
    pub queue: f64,
    pub preprocess: f64,
    pub first_token: f64,
    pub total: f64,
}

/// A sampled token and its likeliest rivals.
#[napi(object, object_from_js = false)]
pub struct NativeLogprob {
    pub chosen: NativeAlternative,
    pub top: Vec<NativeAlternative>,
}

/// A token and its log-probability.
#[napi(object, object_from_js = false)]
pub struct NativeAlternative {
    pub id: u32,
    pub text: String,
    pub logprob: f64,
}

/// What went wrong.
#[napi(object, object_from_js = false)]
pub struct NativeFailure {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

impl From<Event> for NativeEvent {
    fn from(event: Event) -> Self {
        let said = |kind, text| Self { kind, text: Some(text), answer: None, failure: None };
        match event {
            Event::Reasoning(text) => said("reasoning", text),
            Event::Text(text) => said("text", text),
            Event::Finish(answer) => Self { kind: "finish", text: None, answer: Some((*answer).into()), failure: None },
            Event::Failed { failure, answer } => {
                Self { kind: "failed", text: None, answer: Some((*answer).into()), failure: Some(failure.into()) }
            }
        }
    }
}

impl From<Answer> for NativeAnswer {
    fn from(answer: Answer) -> Self {
        let Answer { text, reasoning, finish_reason, usage, timings, ids: _, logprobs } = answer;
        Self {
            text,
            reasoning,
            finish_reason: finish_reason.name(),
            usage: NativeUsage {
                prompt_tokens: count(usage.prompt_tokens),
                image_tokens: count(usage.image_tokens),
                cached_tokens: count(usage.cached_tokens),
                completion_tokens: count(usage.completion_tokens),
                reasoning_tokens: count(usage.reasoning_tokens),
            },
            timings: NativeTimings {
                queue: timings.queue,
                preprocess: timings.preprocess,
                first_token: timings.first_token,
                total: timings.total,
            },
            logprobs: logprobs.map(|all| all.into_iter().map(NativeLogprob::from).collect()),
        }
    }
}

impl From<TokenLogprob> for NativeLogprob {
    fn from(token: TokenLogprob) -> Self {
        Self { chosen: token.chosen.into(), top: token.top.into_iter().map(NativeAlternative::from).collect() }
    }
}

impl From<Alternative> for NativeAlternative {
    fn from(token: Alternative) -> Self {
        Self { id: token.id, text: token.text, logprob: f64::from(token.logprob) }
    }
}

impl From<Failure> for NativeFailure {
    fn from(failure: Failure) -> Self {
        Self { code: failure.code.name().to_owned(), message: failure.message, hint: failure.hint }
    }
}
