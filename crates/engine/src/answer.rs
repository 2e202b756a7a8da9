//! How the drawn tokens of one request become its answer.

use std::sync::Arc;

use karst_contract::{Alternative, Answer, FinishReason, Timings, TokenLogprob, Usage};
use karst_prompt::{Piece, Tokenizer, Transcript};

use crate::backend::Drawn;
use crate::sampler::Logprobs;

/// An answer that is being said.
pub(crate) struct Saying {
    tokenizer: Arc<Tokenizer>,
    transcript: Transcript,
    thinking: bool,
    eos: Arc<[u32]>,
    max_tokens: usize,
    usage: Usage,
    ids: Vec<u32>,
    logprobs: Option<Vec<TokenLogprob>>,
}

/// What an answer needs to know beforehand.
pub(crate) struct Terms {
    pub(crate) thinking: bool,
    pub(crate) stop: Vec<String>,
    pub(crate) logprobs: bool,
    pub(crate) max_tokens: usize,
    pub(crate) prompt_tokens: usize,
    pub(crate) image_tokens: usize,
}

impl Saying {
    pub(crate) fn new(tokenizer: &Arc<Tokenizer>, eos: &Arc<[u32]>, terms: Terms) -> Self {
        let Terms { thinking, stop, logprobs, max_tokens, prompt_tokens, image_tokens } = terms;
        Self {
            tokenizer: Arc::clone(tokenizer),
            transcript: Transcript::new(tokenizer, thinking, stop),
            thinking,
            eos: Arc::clone(eos),
            max_tokens,
            usage: Usage { prompt_tokens, image_tokens, ..Usage::default() },
            ids: Vec::new(),
            logprobs: logprobs.then(Vec::new),
        }
    }

    /// Takes a token: what can be said of it now, and why the answer ends here, if it does.
    pub(crate) fn take(&mut self, drawn: Drawn) -> (Vec<Piece>, Option<FinishReason>) {
        self.ids.push(drawn.id);
        if let (Some(all), Some(found)) = (&mut self.logprobs, drawn.logprobs) {
            all.push(worded(&self.tokenizer, drawn.id, &found));
        }
        if self.eos.contains(&drawn.id) {
            return (Vec::new(), Some(FinishReason::Stop));
        }
        let pieces = self.transcript.push(drawn.id);
        let full = (self.ids.len() >= self.max_tokens).then_some(FinishReason::Length);
        (pieces, if self.transcript.stopped() { Some(FinishReason::Stop) } else { full })
    }

    /// What was held back, and the whole answer.
    pub(crate) fn end(mut self, finish_reason: FinishReason, timings: Timings) -> (Vec<Piece>, Answer) {
        let pieces = self.transcript.finish();
        let usage = Usage {
            completion_tokens: self.ids.len(),
            reasoning_tokens: self.transcript.reasoning_tokens(),
            ..self.usage
        };
        // A model may think although it was not asked to.
        let reasoning = Some(self.transcript.reasoning().to_owned()).filter(|said| self.thinking || !said.is_empty());
        let text = self.transcript.text().to_owned();
        (pieces, Answer { text, reasoning, finish_reason, usage, timings, ids: self.ids, logprobs: self.logprobs })
    }
}

/// Log-probabilities with the tokens' texts.
fn worded(tokenizer: &Tokenizer, id: u32, found: &Logprobs) -> TokenLogprob {
    let alternative = |id: u32, logprob: f32| {
        let text = String::from_utf8_lossy(tokenizer.token_bytes(id).unwrap_or_default()).into_owned();
        Alternative { id, text, logprob }
    };
    TokenLogprob {
        chosen: alternative(id, found.chosen),
        top: found.top.iter().map(|&(id, logprob)| alternative(id, logprob)).collect(),
    }
}
