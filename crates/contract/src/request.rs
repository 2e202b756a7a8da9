//! What a caller asks for.

use std::path::PathBuf;
use std::sync::Arc;

use crate::frame::Frame;
use crate::options::Options;

/// A conversation to answer, with its options. Built by the callers, checked where each number is first known.
#[derive(Debug, Clone)]
pub struct Request {
    /// The turns, oldest first; the last is the user's.
    pub messages: Vec<Message>,
    /// How to answer.
    pub options: Options,
}

/// One turn.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// Texts, pictures and clips in order; neighbours are joined by a line break, as the reference does.
    pub content: Vec<Part>,
    /// An assistant's thoughts, if they are kept apart from its text.
    pub reasoning: Option<String>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions; only as the first turn.
    System,
    /// The user.
    User,
    /// The model, in earlier turns.
    Assistant,
}

/// A piece of a turn's content.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text; it can never become a control token.
    Text(String),
    /// A still.
    Picture(Picture),
    /// Frames of a clip.
    Clip(Clip),
}

/// A still and how to read it.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Where its bytes are.
    pub source: Source,
    /// Most slices; `None` takes the request's, then the model's.
    pub max_slices: Option<u32>,
    /// Whether the orientation noted in the file is applied.
    pub orientation: Orientation,
    /// What becomes of transparency.
    pub alpha: Alpha,
}

/// Where a picture's bytes are.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// An encoded picture.
    Bytes(Arc<[u8]>),
    /// `data:TYPE;base64,DATA`.
    DataUrl(Arc<str>),
    /// Pixels.
    Frame(Frame),
}

/// What becomes of the orientation noted in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// It is applied, so that the model sees what a person sees.
    #[default]
    Exif,
    /// It is ignored, as the reference does.
    Ignore,
}

/// What becomes of transparency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpha {
    /// The picture is laid over this colour.
    Over([u8; 3]),
    /// The alpha channel is thrown away, as the reference does.
    Drop,
}

impl Default for Alpha {
    fn default() -> Self {
        Self::Over([255; 3])
    }
}

/// Frames of a clip, already decoded or as pictures.
#[derive(Debug, Clone)]
pub struct Clip {
    /// The frames in order.
    pub frames: Vec<Picture>,
    /// When each frame was.
    pub timing: Timing,
    /// Frames a pack, 1 to 6; `None` takes the model card's rule. Not used with [`Timing::TemporalIds`].
    pub packing: Option<u32>,
    /// Most slices of a frame; `None` is 1, as the model card has it.
    pub max_slices: Option<u32>,
}

/// When the frames of a clip were.
#[derive(Debug, Clone, PartialEq)]
pub enum Timing {
    /// Seconds from the start, one a frame, not falling.
    Times(Vec<f64>),
    /// Frames a second; the first is at half a frame's length, as the reference samples.
    Fps(f64),
    /// Groups as the reference takes them: tenths of a second, one a frame, a group a pack.
    TemporalIds(Vec<Vec<u32>>),
}
