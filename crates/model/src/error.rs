//! Why a model cannot be loaded or cannot go on.

use karst_checkpoint::CheckpointError;
use karst_contract::{Code, Coded};

use karst_kernels::{CudaError, LoadError, Unavailable};

use crate::cpu::linear::LinearError;
use crate::cuda::Unsupported;

/// Why a model cannot be loaded or a forward pass cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A tensor is missing or has the wrong shape or form.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A weight cannot be multiplied with.
    #[error(transparent)]
    Linear(#[from] LinearError),
    /// The system has no room for something of known size.
    #[error("there is no room for {what}: {bytes} bytes")]
    OutOfMemory {
        /// What was to be allocated.
        what: &'static str,
        /// Its size.
        bytes: u64,
    },
    /// Threads cannot be started.
    #[error("cannot start the threads of the model: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A product of tensors failed.
    #[error("a product of tensors failed: {0}")]
    Tensor(Box<candle_core::Error>),
    /// A row's logits hold a number that is not finite.
    #[error("the logits of row {row} are not all finite")]
    NonFinite {
        /// The row of the forward pass.
        row: usize,
    },
    /// A pack's features hold a number that is not finite.
    #[error("the features of pack {pack} are not all finite")]
    NonFiniteFeatures {
        /// The pack of the call.
        pack: usize,
    },
    /// A row appends nothing.
    #[error("row {row} has no ids")]
    EmptyRow {
        /// The row of the forward pass.
        row: usize,
    },
    /// An id lies outside the vocabulary.
    #[error("row {row} holds token {id}, but the vocabulary has {vocabulary}")]
    UnknownToken {
        /// The row of the forward pass.
        row: usize,
        /// The id.
        id: u32,
        /// Tokens in the vocabulary.
        vocabulary: usize,
    },
    /// A row names a block that the cache does not have.
    #[error("row {row} names block {block}, but the cache has {blocks}")]
    UnknownBlock {
        /// The row of the forward pass.
        row: usize,
        /// The block.
        block: u32,
        /// Blocks in the cache.
        blocks: usize,
    },
    /// A row's blocks do not hold its tokens.
    #[error("row {row} has {tokens} tokens, but its blocks hold {room}")]
    BlocksMissing {
        /// The row of the forward pass.
        row: usize,
        /// Past tokens and the chunk's.
        tokens: usize,
        /// Tokens that the blocks hold.
        room: usize,
    },
    /// Features do not lie within their row's chunk, or are no whole rows.
    #[error("row {row}: {numbers} numbers of features at offset {offset} do not fit {ids} ids of {hidden} numbers")]
    FeaturesMisplaced {
        /// The row of the forward pass.
        row: usize,
        /// Where in the chunk the features begin.
        offset: usize,
        /// Numbers given.
        numbers: usize,
        /// Numbers a token has.
        hidden: usize,
        /// Ids in the chunk.
        ids: usize,
    },
    /// A view's data do not fit its sides.
    #[error("a view of {rows} x {columns} patches of {patch} numbers cannot have {found}")]
    View {
        /// Rows of patches.
        rows: u32,
        /// Columns of patches.
        columns: u32,
        /// Numbers in a patch.
        patch: usize,
        /// Numbers given.
        found: usize,
    },
    /// A pack has no views, too many, or ones that do not exist.
    #[error("pack {pack} cannot be made of views {views:?} with {times:?} temporal ids: {available} views were given")]
    Pack {
        /// The pack of the call.
        pack: usize,
        /// The views that it names.
        views: Vec<usize>,
        /// How many temporal ids it has, where it has any.
        times: Option<usize>,
        /// Views of the call.
        available: usize,
    },
    /// The model was asked for blocks of no tokens, or fewer tokens than a block.
    #[error("a cache of {tokens} tokens cannot be made of blocks of {block}")]
    CacheSize {
        /// Tokens asked for.
        tokens: usize,
        /// Tokens in a block.
        block: usize,
    },
    /// The device failed, or has no room.
    #[error("the device failed: {0}")]
    Device(#[from] CudaError),
    /// There is no such device.
    #[error(transparent)]
    NoDevice(#[from] Unavailable),
    /// Weights cannot be brought to the device.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// This build has no kernels for the device.
    #[error("this build has no CUDA kernels for the device")]
    NoKernels,
    /// The kernels do not compute this model.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A layer of the decoder with a bias, which the kernels do not add.
    #[error("{tensor}: the kernels add no bias")]
    Bias {
        /// The bias.
        tensor: String,
    },
}

impl ModelError {
    /// Whether the device has no memory left for what was asked.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::OutOfMemory { .. } => true,
            Self::Device(error) | Self::Load(LoadError::Cuda(error)) => error.is_out_of_memory(),
            _ => false,
        }
    }
}

impl From<candle_core::Error> for ModelError {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(Box::new(error))
    }
}

impl Coded for ModelError {
    fn code(&self) -> Code {
        match self {
            _ if self.is_out_of_memory() => Code::OutOfMemory,
            Self::Checkpoint(error) => error.code(),
            Self::Linear(error) => error.code(),
            Self::OutOfMemory { .. } => Code::OutOfMemory,
            Self::NonFinite { .. } | Self::NonFiniteFeatures { .. } => Code::NonFinite,
            Self::CacheSize { .. } => Code::InvalidOption,
            Self::Threads(_) | Self::NoDevice(_) | Self::NoKernels | Self::Unsupported(_) | Self::Bias { .. } => {
                Code::DeviceUnavailable
            }
            Self::Device(_) | Self::Load(LoadError::Cuda(_)) => Code::DeviceLost,
            Self::Load(_) => Code::UnsupportedCheckpoint,
            Self::Tensor(_)
            | Self::EmptyRow { .. }
            | Self::UnknownToken { .. }
            | Self::UnknownBlock { .. }
            | Self::BlocksMissing { .. }
            | Self::FeaturesMisplaced { .. }
            | Self::View { .. }
            | Self::Pack { .. } => Code::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Checkpoint(error) => error.hint(),
            Self::Linear(error) => error.hint(),
            Self::OutOfMemory { .. } => Some("choose a shorter context".into()),
            Self::CacheSize { .. } => Some("give at least one block, of at least one token".into()),
            _ => None,
        }
    }
}
