//! A decoded picture.

use std::fmt;
use std::sync::Arc;

use crate::error::{Code, Coded};
use crate::limits;

/// An RGB picture, 8 bits a channel, rows from the top, no padding: `3 * width * height` bytes, both sides at least 1.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    width: u32,
    height: u32,
    rgb: Arc<[u8]>,
}

/// Why bytes and sides do not make a [`Frame`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A side is zero.
    Empty {
        /// Given width.
        width: u32,
        /// Given height.
        height: u32,
    },
    /// A side or the number of pixels exceeds its limit.
    TooLarge {
        /// Given width.
        width: u32,
        /// Given height.
        height: u32,
    },
    /// The number of bytes is not three a pixel.
    Length {
        /// Given width.
        width: u32,
        /// Given height.
        height: u32,
        /// Bytes that these sides need.
        expected: u64,
        /// Bytes that were given.
        found: u64,
    },
}

impl Frame {
    /// Takes `rgb` as a picture of `width` x `height`.
    ///
    /// # Errors
    /// When a side is zero or over [`limits::MAX_SIDE`], the pixels are over [`limits::MAX_PIXELS`], or the bytes are not
    /// `3 * width * height`.
    pub fn new(width: u32, height: u32, rgb: impl Into<Arc<[u8]>>) -> Result<Self, FrameError> {
        Self::check_sides(width, height)?;
        let rgb = rgb.into();
        let expected = 3 * u64::from(width) * u64::from(height);
        let found = rgb.len() as u64;
        if found != expected {
            return Err(FrameError::Length { width, height, expected, found });
        }
        Ok(Self { width, height, rgb })
    }

    /// Checks sides before anything is allocated for them.
    ///
    /// # Errors
    /// As [`Frame::new`], without the bytes.
    pub fn check_sides(width: u32, height: u32) -> Result<(), FrameError> {
        if width == 0 || height == 0 {
            return Err(FrameError::Empty { width, height });
        }
        let pixels = u64::from(width) * u64::from(height);
        if width > limits::MAX_SIDE || height > limits::MAX_SIDE || pixels > limits::MAX_PIXELS {
            return Err(FrameError::TooLarge { width, height });
        }
        Ok(())
    }

    /// Pixels in a row.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// The bytes, `[height, width, 3]`.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} x {})", self.width, self.height)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { width, height } => write!(f, "a picture of {width} x {height} pixels is empty"),
            Self::TooLarge { width, height } => write!(
                f,
                "a picture of {width} x {height} pixels is too large: at most {} a side and {} in all",
                limits::MAX_SIDE,
                limits::MAX_PIXELS
            ),
            Self::Length { width, height, expected, found } => {
                write!(f, "{width} x {height} pixels of RGB need {expected} bytes, {found} were given")
            }
        }
    }
}

impl std::error::Error for FrameError {}

impl Coded for FrameError {
    fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::PictureTooLarge,
            Self::Empty { .. } | Self::Length { .. } => Code::InvalidPicture,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_as_many_bytes_as_its_sides_say() {
        assert!(Frame::new(2, 1, vec![0; 6]).is_ok());
        let error = Frame::new(2, 1, vec![0; 5]).unwrap_err();
        assert_eq!(error.to_string(), "2 x 1 pixels of RGB need 6 bytes, 5 were given");
        assert!(matches!(Frame::new(0, 1, vec![]), Err(FrameError::Empty { .. })));
        assert!(matches!(Frame::check_sides(65_536, 1), Err(FrameError::TooLarge { .. })));
        assert!(matches!(Frame::check_sides(65_535, 65_535), Err(FrameError::TooLarge { .. })));
    }
}
