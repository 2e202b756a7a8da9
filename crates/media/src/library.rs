//! The image library's decoders: built, limited, and their failures put into our words.

use std::borrow::Cow;
use std::io::{self, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::{bmp, gif, jpeg, png, tiff, webp};
use image::{ImageDecoder, ImageError, ImageResult, Limits};
use karst_contract::limits::MAX_SIDE;

use crate::error::Cause;
use crate::format::Format;

/// What a decoder may allocate whatever the picture's sides: tables, rows and metadata.
const SLACK_BYTES: u64 = 64 << 20;

/// What a decoder may allocate for a pixel: the widest samples, 16-bit RGBA.
const PIXEL_BYTES: u64 = 8;

/// Longest text of a decoder that is passed on.
const MAX_TEXT_CHARS: usize = 200;

/// The decoder of `format`, having read the header.
pub(crate) fn decoder(format: Format, bytes: Cow<'_, [u8]>) -> ImageResult<Box<dyn ImageDecoder + '_>> {
    let bytes = Cursor::new(bytes);
    Ok(match format {
        Format::Jpeg => Box::new(jpeg::JpegDecoder::new(bytes)?),
        Format::Png => Box::new(png::PngDecoder::with_limits(bytes, limits(SLACK_BYTES))?),
        Format::WebP => Box::new(webp::WebPDecoder::new(bytes)?),
        Format::Gif => Box::new(gif::GifDecoder::new(bytes)?),
        Format::Bmp => Box::new(bmp::BmpDecoder::new(bytes)?),
        Format::Tiff => Box::new(tiff::TiffDecoder::new(bytes)?),
    })
}

/// Runs a decoder on foreign bytes and names what comes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    pub(crate) format: Format,
    bytes: usize,
    max_alloc: u64,
}

impl Guard {
    /// For a picture of so many bytes, whose sides are within the limits.
    pub(crate) fn new(format: Format, bytes: usize, (width, height): (u32, u32)) -> Self {
        Self { format, bytes, max_alloc: SLACK_BYTES + PIXEL_BYTES * u64::from(width) * u64::from(height) }
    }

    /// The limits in the library's form.
    pub(crate) fn limits(&self) -> Limits {
        limits(self.max_alloc)
    }

    /// Runs `work`, whose panics are the picture's fault as well: nothing of it is used afterwards.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> ImageResult<T>) -> Result<T, Cause> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(result) => result.map_err(|error| self.cause(&error)),
            Err(_) => Err(Cause::Decoder { format: self.format }),
        }
    }

    fn cause(&self, error: &ImageError) -> Cause {
        let format = self.format;
        match error {
            ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Cause::CutShort { format, bytes: self.bytes, missing: "the data that its header announces" }
            }
            ImageError::Unsupported(error) => Cause::Unsupported { format, feature: shortened(&error.to_string()) },
            ImageError::Limits(_) => Cause::Memory { format, limit: self.max_alloc },
            other => Cause::damaged(format, shortened(&other.to_string())),
        }
    }
}

fn limits(max_alloc: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(max_alloc);
    limits
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_panics_is_an_error_of_the_picture() {
        let guard = Guard::new(Format::Gif, 10, (1, 1));
        let result = guard.run(|| -> ImageResult<()> { panic!("a fault") });
        assert!(matches!(result, Err(Cause::Decoder { format: Format::Gif })));
    }

    #[test]
    fn a_decoders_text_is_passed_on_short_and_printable() {
        assert_eq!(shortened("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(shortened(&"é".repeat(1000)), "é".repeat(MAX_TEXT_CHARS));
    }
}
