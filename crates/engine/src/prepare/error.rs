//! What can be wrong with a request.

use karst_contract::{Code, Coded, limits};
use karst_media::PictureError;
use karst_prompt::PromptError;
use karst_vision_input::clip::ClipError;
use karst_vision_input::{Size, SlicingError};

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Too many stills.
    #[error("the conversation has {count} pictures, at most {limit}")]
    TooManyPictures {
        /// How many there are.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many frames.
    #[error("the clips of the conversation have {count} frames, at most {limit}")]
    TooManyFrames {
        /// How many there are.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The prompt leaves no room for an answer.
    #[error(
        "the prompt has {need} tokens, {images} of them for pictures; the context has {limit} and an answer needs one"
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        need: usize,
        /// Of these, rows of pictures.
        images: usize,
        /// Positions of the context.
        limit: usize,
        /// Positions that the model could have.
        most: usize,
    },
    /// A picture cannot be read.
    #[error("{source} (picture {number} of the conversation)")]
    Picture {
        /// Counted from 1, frames included.
        number: usize,
        /// Why.
        source: PictureError,
    },
    /// A picture cannot be cut.
    #[error("{source} (picture {number} of the conversation)")]
    Slicing {
        /// Counted from 1, frames included.
        number: usize,
        /// Why.
        source: SlicingError,
    },
    /// A picture was replaced between its measuring and its decoding.
    #[error(
        "picture {number} changed while it was read: it had {} x {} pixels and has {} x {}",
        measured.width, measured.height, decoded.width, decoded.height
    )]
    Changed {
        /// Counted from 1, frames included.
        number: usize,
        /// Its sides before.
        measured: Size,
        /// Its sides after.
        decoded: Size,
    },
    /// The times of a clip make no groups.
    #[error(transparent)]
    Clip(ClipError),
    /// A group without frames.
    #[error("a group of the clip has no frames")]
    EmptyGroup,
    /// Frames that cannot share rows.
    #[error(
        "frame {frame} of a group has {} x {} pixels and another {} x {}; frames that share rows must be of one size",
        size.width, size.height, other.width, other.height
    )]
    MixedSizes {
        /// Counted from 1 within the group.
        frame: usize,
        /// Its sides.
        size: Size,
        /// The other's sides.
        other: Size,
    },
    /// A frame with slices of its own.
    #[error("frame {frame} of a clip names its own number of slices")]
    FrameSlices {
        /// Counted from 1.
        frame: usize,
    },
    /// The prompt cannot be built.
    #[error(transparent)]
    Prompt(PromptError),
    /// The caller wants it no more.
    #[error("the request was aborted")]
    Cancelled,
}

impl Coded for RequestError {
    fn code(&self) -> Code {
        match self {
            Self::TooManyPictures { .. } | Self::TooManyFrames { .. } => Code::TooManyPictures,
            Self::ContextOverflow { .. } => Code::ContextOverflow,
            Self::Picture { source, .. } => source.code(),
            Self::Slicing { source, .. } => source.code(),
            Self::Changed { .. } => Code::InvalidPicture,
            Self::Clip(error) => error.code(),
            Self::EmptyGroup | Self::MixedSizes { .. } | Self::FrameSlices { .. } => Code::InvalidClip,
            Self::Prompt(error) => error.code(),
            Self::Cancelled => Code::Aborted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::ContextOverflow { limit, most, .. } => Some(shorter(*limit, *most)),
            Self::Picture { source, .. } => source.hint(),
            Self::Slicing { source, .. } => source.hint(),
            Self::Clip(error) => error.hint(),
            Self::Prompt(error) => error.hint(),
            Self::MixedSizes { .. } => Some("scale the frames to one size, or pack one frame a group".to_owned()),
            Self::FrameSlices { .. } => Some("give maxSlices for the clip".to_owned()),
            Self::TooManyFrames { .. } => {
                Some(format!("take fewer frames a second, at most {} in all", limits::MAX_FRAMES))
            }
            _ => None,
        }
    }
}

fn shorter(limit: usize, most: usize) -> String {
    let fewer = "use fewer or smaller pictures, a smaller maxSlices, or fewer turns";
    if limit < most {
        format!("{fewer}, or load the model with a larger maxContext (at most {most})")
    } else {
        fewer.to_owned()
    }
}
