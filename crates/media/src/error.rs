//! Why a picture cannot be read.

use std::fmt;
use std::io;
use std::path::PathBuf;

use karst_contract::{Code, Coded, FrameError, Source};

use crate::data_url::DataUrlError;
use crate::format::{self, Format};

/// Why a picture cannot be read, and which one.
#[derive(Debug, thiserror::Error)]
#[error("{origin} {cause}")]
pub struct PictureError {
    /// Where its bytes were to come from.
    pub origin: Origin,
    /// What is wrong.
    pub cause: Cause,
}

/// Where a picture's bytes were to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This file.
    Path(PathBuf),
    /// Bytes in memory.
    Bytes,
    /// A data URL.
    DataUrl,
    /// Pixels.
    Frame,
}

/// What is wrong with a picture. Each text goes on from the picture's name: "the picture 'a.png' is empty".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// There is no such file.
    #[error("does not exist")]
    NotFound,
    /// The path leads to something else than a file with an end.
    #[error("is {kind}, not a regular file")]
    NotAFile {
        /// What it is.
        kind: &'static str,
    },
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// There are no bytes.
    #[error("is empty")]
    NoBytes,
    /// There are more encoded bytes than allowed.
    #[error("has {bytes} bytes, at most {limit} are read")]
    TooManyBytes {
        /// Bytes there are, or as many as were read before giving up.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A data URL's form is wrong.
    #[error("is not of the form data:TYPE;base64,DATA: {0}")]
    DataUrl(DataUrlError),
    /// The first bytes are those of no known format.
    #[error("is in no format that can be read: of its {bytes} bytes, {guess}")]
    UnknownFormat {
        /// How many bytes there are.
        bytes: usize,
        /// What they look like.
        guess: &'static str,
    },
    /// A side is zero, or sides or pixels exceed the limits; found in the header.
    #[error("cannot be used: {0}")]
    Sides(FrameError),
    /// The bytes end too early.
    #[error("is cut short: its {bytes} bytes of {format} end before {missing}")]
    CutShort {
        /// The format.
        format: Format,
        /// How many bytes there are.
        bytes: usize,
        /// What is not there any more.
        missing: &'static str,
    },
    /// The bytes contradict themselves.
    #[error("is a damaged {format}: {problem}")]
    Damaged {
        /// The format.
        format: Format,
        /// What contradicts what.
        problem: String,
    },
    /// The picture may be whole, but is of a kind that is not read.
    #[error("is a {format} of a kind that is not read: {feature}")]
    Unsupported {
        /// The format.
        format: Format,
        /// What is not read.
        feature: String,
    },
    /// Decoding would take more memory than pictures of these sides need.
    #[error("is a {format} that needs more than {limit} bytes of memory to decode")]
    Memory {
        /// The format.
        format: Format,
        /// Bytes allowed.
        limit: u64,
    },
    /// The decoder itself failed.
    #[error("cannot be decoded: the {format} decoder failed on it")]
    Decoder {
        /// The format.
        format: Format,
    },
}

impl Cause {
    pub(crate) fn damaged(format: Format, problem: impl Into<String>) -> Self {
        Self::Damaged { format, problem: problem.into() }
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound | Self::NotAFile { .. } | Self::Unreadable(_) => Code::PictureNotFound,
            Self::TooManyBytes { .. } | Self::Memory { .. } => Code::PictureTooLarge,
            Self::DataUrl(_) => Code::InvalidDataUrl,
            Self::Sides(error) => error.code(),
            _ => Code::InvalidPicture,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAFile { .. } => Some("name a picture's file".to_owned()),
            Self::UnknownFormat { .. } => Some(format!("the formats are {}", format::KNOWN)),
            Self::Unsupported { .. } => Some("save it as an 8-bit PNG or a JPEG".to_owned()),
            Self::DataUrl(_) => Some("write data:image/png;base64, and then the bytes in base64".to_owned()),
            Self::CutShort { .. } | Self::Damaged { .. } => Some("fetch or save the picture again".to_owned()),
            _ if self.code() == Code::PictureTooLarge => Some("scale the picture down".to_owned()),
            _ => None,
        }
    }
}

impl Coded for PictureError {
    fn code(&self) -> Code {
        self.cause.code()
    }

    fn hint(&self) -> Option<String> {
        self.cause.hint()
    }
}

impl Origin {
    pub(crate) fn of(source: &Source) -> Self {
        match source {
            Source::Path(path) => Self::Path(path.clone()),
            Source::Bytes(_) => Self::Bytes,
            Source::DataUrl(_) => Self::DataUrl,
            Source::Frame(_) => Self::Frame,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "the picture '{}'", path.display()),
            Self::Bytes => f.write_str("the picture given as bytes"),
            Self::DataUrl => f.write_str("the picture's data URL"),
            Self::Frame => f.write_str("the picture given as pixels"),
        }
    }
}
