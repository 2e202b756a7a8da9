//! A request becomes ids, packs of views and a job for the scheduler, on threads of its own.
//!
//! In two stages: a *draft* needs only the headers of pictures and knows every count, so that what is too large is refused
//! before a pixel is decoded; *reading* decodes and cuts. Inspecting a request is the first stage alone.

mod check;
mod conversation;
mod error;
mod inspection;
mod read;
mod visuals;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use karst_contract::{Failure, Options, Request};
use karst_prompt::{Prompt, Tokenizer};
use karst_vision_input::Settings;

pub use error::RequestError;
pub use inspection::{Group, Inspection, PartInspection};
pub(crate) use read::{Reading, ViewPack};

use crate::answer::{Saying, Terms};
use crate::plan::RequestId;
use crate::scheduler::{Job, PackPlace};
use visuals::Visuals;

/// What requests are prepared with: the tokenizer and the checkpoint's numbers.
#[derive(Clone)]
pub struct Front {
    /// Of the checkpoint.
    pub tokenizer: Arc<Tokenizer>,
    /// Tokens that end an answer.
    pub eos: Arc<[u32]>,
    /// How pictures are cut.
    pub settings: Settings,
    /// Whether the checkpoint numbers stills.
    pub image_ids: bool,
    /// Q.
    pub pack_rows: usize,
    /// Positions that a request may use, answer included.
    pub max_context: usize,
    /// Positions that it might use if the model were opened for more.
    pub max_positions: usize,
    /// Bytes of the cache a position.
    pub position_bytes: u64,
}

/// A request that is measured and tokenised, and known to fit.
pub struct Draft {
    front: Front,
    options: Options,
    ids: Arc<[u32]>,
    visuals: Visuals,
    places: Arc<[PackPlace]>,
    /// Most tokens of the answer: what was asked for, or what the context leaves.
    max_tokens: usize,
    seed: u64,
}

impl Front {
    /// The first stage.
    ///
    /// # Errors
    /// Whatever can be wrong with a request, but for what only decoding its pictures tells.
    pub(crate) fn draft(&self, request: &Request) -> Result<Draft, Failure> {
        let (visuals, prompt) = self.measure(request)?;
        let room = check::room(&prompt, &visuals, self).map_err(|error| Failure::from(&error))?;
        let starts = prompt.spans.iter().map(|span| span.start);
        let patches = visuals.packs.iter().map(|pack| pack.patches);
        Ok(Draft {
            front: self.clone(),
            ids: prompt.ids.into(),
            places: starts.zip(patches).map(|(start, patches)| PackPlace { start, patches }).collect(),
            visuals,
            max_tokens: request.options.max_tokens.clamp(1, room),
            seed: request.options.sampling.seed.unwrap_or_else(new_seed),
            options: request.options.clone(),
        })
    }

    /// What a request becomes, whether it fits or not.
    ///
    /// # Errors
    /// As [`Front::draft`], but for the length of the context.
    pub(crate) fn inspect(&self, request: &Request) -> Result<Inspection, Failure> {
        let (visuals, prompt) = self.measure(request)?;
        Ok(Inspection::of(self, request, &visuals, prompt.ids.len()))
    }

    fn measure(&self, request: &Request) -> Result<(Visuals, Prompt), Failure> {
        check::counts(request).map_err(|error| Failure::from(&error))?;
        let visuals = visuals::plan(request, self).map_err(|error| Failure::from(&error))?;
        let conversation = conversation::of(request, &visuals);
        let prompt = karst_prompt::build(&self.tokenizer, &conversation)
            .map_err(|error| Failure::from(&RequestError::Prompt(error)))?;
        Ok((visuals, prompt))
    }
}

impl Draft {
    /// Whether there is anything to read.
    pub(crate) fn has_pictures(&self) -> bool {
        !self.visuals.pictures.is_empty()
    }

    /// Bytes of all views.
    pub(crate) fn pixel_bytes(&self) -> u64 {
        self.visuals.packs.iter().map(|pack| self.front.view_bytes(pack.patches)).sum()
    }

    /// What the scheduler needs to know.
    pub(crate) fn job(&self, request: RequestId) -> Job {
        Job {
            request,
            prompt: Arc::clone(&self.ids),
            packs: Arc::clone(&self.places),
            max_tokens: self.max_tokens,
            sampling: self.options.sampling,
            seed: self.seed,
            logprobs: self.options.logprobs,
        }
    }

    /// The answer before its first token.
    pub(crate) fn saying(&self) -> Saying {
        let terms = Terms {
            thinking: self.options.thinking,
            stop: self.options.stop.clone(),
            logprobs: self.options.logprobs.is_some(),
            max_tokens: self.max_tokens,
            prompt_tokens: self.ids.len(),
            image_tokens: self.places.len() * self.front.pack_rows,
        };
        Saying::new(&self.front.tokenizer, &self.front.eos, terms)
    }
}

impl Front {
    /// Bytes of so many patches: three samples a pixel.
    fn view_bytes(&self, patches: usize) -> u64 {
        3 * u64::from(self.settings.patch_size).pow(2) * patches as u64
    }
}

/// A seed that nobody chose; hash maps get their keys from the system's source of chance.
fn new_seed() -> u64 {
    RandomState::new().hash_one(0)
}
