//! The one seam: what computes behind it is a processor, a device or a simulation; what stands before it knows only ids,
//! counts and handles.

mod cpu;
pub(crate) mod cuda;
pub mod sim;
mod slots;

use karst_contract::{Code, Coded, Failure};
use karst_vision_input::{Pack, View};

pub use cpu::Cpu;
pub use cuda::Cuda;

use crate::plan::{Bounds, FeaturesId, Plan};
use crate::sampler::Logprobs;

/// Computes features and steps. One thread owns it and calls it in turn.
///
/// A plan holds what [`Plan::verify`] checks within the [`Bounds`] of the backend's own description, so a backend that
/// has reserved its memory can fail only by a fault of the device.
pub trait Backend: Send {
    /// What it is and how much it can hold; the same for all its life.
    fn description(&self) -> &Description;

    /// Turns views into features, Q rows a pack, that stay where they were computed until they are released.
    ///
    /// # Errors
    /// [`BackendError::is_final`] tells whether the backend can still be used. After one that is not final nothing is
    /// held for the call.
    fn encode(&mut self, views: &[View], packs: &[Pack]) -> Result<Features, BackendError>;

    /// Begins a step. Where [`Description::ahead`] is set, a second one may begin before the first is settled, never a third.
    ///
    /// # Errors
    /// As [`Backend::encode`]. After one that is not final the same rows, or some of them, may be given again.
    fn step(&mut self, plan: &Plan) -> Result<Ticket, BackendError>;

    /// Waits for a step's end: one outcome a row, in the plan's order. Tickets are settled in the order of their steps.
    ///
    /// # Errors
    /// As [`Backend::step`].
    fn settle(&mut self, ticket: Ticket) -> Result<Vec<Outcome>, BackendError>;

    /// Frees features. No later plan names them.
    fn release(&mut self, features: FeaturesId);
}

/// A step that has begun.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a step must be settled"]
pub struct Ticket(pub u64);

/// What [`Backend::encode`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Their name in plans.
    pub id: FeaturesId,
    /// The memory they take.
    pub bytes: u64,
}

/// What a row came to: the drawn token, nothing where none was to be drawn, or the fault that ends this request alone.
pub type Outcome = Result<Option<Drawn>, RowFault>;

/// A token that was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The token.
    pub id: u32,
    /// When they were asked for.
    pub logprobs: Option<Logprobs>,
}

/// What a backend is and how much it can hold.
#[derive(Debug, Clone)]
pub struct Description {
    /// The device in words.
    pub device: String,
    /// Sizes that plans keep within.
    pub bounds: Bounds,
    /// Most patches an [`Backend::encode`]; one pack may exceed it.
    pub patches: usize,
    /// V, the length of a row of logits.
    pub vocabulary: usize,
    /// Whether a step may begin before the one before it is settled. Such a backend refuses no step but for good.
    pub ahead: bool,
    /// What the backend has reserved.
    pub memory: Memory,
}

/// Memory that a backend has reserved, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The model's weights.
    pub weights: u64,
    /// The key-value cache.
    pub cache: u64,
}

/// Why one row failed. Other rows of the step are right.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RowFault {
    /// The logits hold a number that is not finite.
    #[error("{0}")]
    NonFinite(String),
    /// The device has no memory left for this row.
    #[error("a step needs {bytes} bytes more than the device has")]
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
    },
}

/// Why a call failed as a whole.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The device has no memory left for this call; it is as it was before.
    #[error("{what} needs {bytes} bytes more than the device has")]
    OutOfMemory {
        /// What could not be computed.
        what: &'static str,
        /// What was asked for.
        bytes: u64,
    },
    /// What was computed holds numbers that are not finite; nothing of it is kept.
    #[error("{0}")]
    NonFinite(String),
    /// This work cannot be done; the backend is as it was before.
    #[error("the model cannot compute this: {0}")]
    Failed(String),
    /// The device is gone. Nothing runs any more.
    #[error("the device failed: {0}")]
    DeviceLost(String),
}

impl BackendError {
    /// Whether the backend cannot be used any more.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::DeviceLost(_))
    }
}

impl Coded for BackendError {
    fn code(&self) -> Code {
        match self {
            Self::OutOfMemory { .. } => Code::OutOfMemory,
            Self::NonFinite(_) => Code::NonFinite,
            Self::Failed(_) => Code::Internal,
            Self::DeviceLost(_) => Code::DeviceLost,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::OutOfMemory { .. } => Some("use fewer or smaller pictures, or fewer requests at once".to_owned()),
            Self::NonFinite(_) | Self::Failed(_) => None,
            Self::DeviceLost(_) => Some("load the model again in a new process".to_owned()),
        }
    }
}

impl Coded for RowFault {
    fn code(&self) -> Code {
        match self {
            Self::NonFinite(_) => Code::NonFinite,
            Self::OutOfMemory { .. } => Code::OutOfMemory,
        }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::from(&error)
    }
}
