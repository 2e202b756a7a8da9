//! Walks a container from its first byte to its end without decoding it: is it whole, and which sides does it claim?
//!
//! What each walk demands, and hence which prefixes of a file are refused:
//! - JPEG: every segment and scan up to the end marker, a scan for every component, and in each scan at least the bits
//!   that its blocks need. All prefixes are refused.
//! - PNG: every chunk up to the end of `IEND`. All prefixes are refused.
//! - WebP: all bytes that the RIFF header announces. All prefixes are refused.
//! - GIF: all of the first frame; what is missing behind it, further frames and the trailer, is not looked for.
//! - BMP and TIFF: the header or directory, which says how much there is to decode. Their decoders fail where rows or
//!   strips are missing; what may be missing are bytes that hold no pixel.
//!
//! Bytes behind the end are ignored in every format.

mod bmp;
mod gif;
mod jpeg;
mod jpeg_scan;
mod png;
mod reader;
mod tiff;
mod webp;

use karst_contract::Frame;

use crate::error::Cause;
use crate::format::Format;

/// What a walk found out.
#[derive(Debug)]
pub(crate) struct Outline<'a> {
    /// Width and height, within the limits.
    pub(crate) sides: (u32, u32),
    /// The Exif block, where the decoder is not asked for it.
    pub(crate) exif: Option<&'a [u8]>,
    /// The bytes to decode instead, where the decoder would get the picture wrong or see too much of it.
    pub(crate) amended: Option<Vec<u8>>,
}

impl Outline<'_> {
    fn of_sides(sides: (u32, u32)) -> Self {
        Self { sides, exif: None, amended: None }
    }
}

/// Walks `bytes` as a container of `format`.
pub(crate) fn outline(format: Format, bytes: &[u8]) -> Result<Outline<'_>, Cause> {
    match format {
        Format::Jpeg => jpeg::outline(bytes),
        Format::Png => png::outline(bytes),
        Format::WebP => webp::outline(bytes),
        Format::Gif => gif::outline(bytes),
        Format::Bmp => bmp::outline(bytes),
        Format::Tiff => tiff::outline(bytes),
    }
}

fn checked(width: u32, height: u32) -> Result<(u32, u32), Cause> {
    Frame::check_sides(width, height).map_err(Cause::Sides)?;
    Ok((width, height))
}
