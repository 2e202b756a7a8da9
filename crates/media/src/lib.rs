//! Turns a picture, wherever its bytes are, into a [`Frame`] of RGB pixels.
//!
//! In goes a [`Picture`]: a path, bytes, a data URL or pixels. Out comes a frame, upright and opaque, or a [`PictureError`]
//! that names the one cause. JPEG, PNG, WebP, GIF (first frame), BMP and TIFF (first page) are told apart by their content,
//! never by a name or a declared type.
//!
//! The one decision: no byte of a picture is believed. Each container is walked here first, from its first byte to its
//! end, and its sides are held against the limits; only what is whole and small enough reaches a decoder, and the decoder
//! gets limits of its own. A picture cut short is therefore an error, never half a picture.
//!
//! ```
//! use karst_contract::{Alpha, Orientation, Picture, Source};
//!
//! let bmp = b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\x02\x01\0";
//! let source = Source::Bytes(bmp.as_slice().into());
//! let picture = Picture { source, max_slices: None, orientation: Orientation::Exif, alpha: Alpha::default() };
//! assert_eq!(karst_media::measure(&picture)?, (1, 1));
//! assert_eq!(karst_media::decode(&picture)?.rgb(), [1, 2, 3]);
//! # Ok::<(), karst_media::PictureError>(())
//! ```

#![forbid(unsafe_code)]

mod budget;
mod colour;
mod container;
mod data_url;
mod error;
mod format;
mod library;
mod opened;
mod source;
mod turn;

use karst_contract::{Frame, Picture};

pub use budget::{Budget, Permit};
pub use data_url::DataUrlError;
pub use error::{Cause, Origin, PictureError};
pub use format::Format;

use opened::Opened;
use source::Material;

/// A frame and its share of the budget, which is given back when the permit is dropped.
#[derive(Debug)]
pub struct Held {
    /// The picture.
    pub frame: Frame,
    /// Room for its bytes.
    pub permit: Permit,
}

/// Reads a whole picture: upright unless [`karst_contract::Orientation::Ignore`] is asked for, opaque as
/// [`karst_contract::Alpha`] says. Colour profiles are ignored; 16-bit samples keep their high byte.
///
/// # Errors
/// When the bytes cannot be read, or are no whole picture within the limits.
pub fn decode(picture: &Picture) -> Result<Frame, PictureError> {
    named(picture, || match source::read(&picture.source)? {
        Material::Pixels(frame) => Ok(frame.clone()),
        Material::Encoded(bytes) => Opened::new(&bytes, picture.orientation)?.read(picture.alpha),
    })
}

/// As [`decode`], but waits, between reading the header and allocating the pixels, until `budget` has room for them.
///
/// The permit covers what decoding takes at its peak and, on return, the frame alone. A thread that holds a permit must
/// not wait for another one: two such threads could wait for each other.
///
/// # Errors
/// As [`decode`].
pub fn decode_within(picture: &Picture, budget: &Budget) -> Result<Held, PictureError> {
    named(picture, || match source::read(&picture.source)? {
        Material::Pixels(frame) => Ok(Held { permit: budget.acquire(bytes_of(frame)), frame: frame.clone() }),
        Material::Encoded(bytes) => {
            let opened = Opened::new(&bytes, picture.orientation)?;
            let mut permit = budget.acquire(opened.peak_bytes());
            let frame = opened.read(picture.alpha)?;
            permit.shrink(bytes_of(&frame));
            Ok(Held { frame, permit })
        }
    })
}

/// Reads a picture's header: width and height as [`decode`] will give them, that is after any turn.
///
/// No pixel is decoded, so a picture that can be measured may still turn out to be damaged.
///
/// # Errors
/// When the bytes cannot be read, are no picture of a known format, or say sides beyond the limits.
pub fn measure(picture: &Picture) -> Result<(u32, u32), PictureError> {
    named(picture, || match source::read(&picture.source)? {
        Material::Pixels(frame) => Ok((frame.width(), frame.height())),
        Material::Encoded(bytes) => Ok(Opened::new(&bytes, picture.orientation)?.upright_sides()),
    })
}

/// Says of which picture a cause speaks.
fn named<T>(picture: &Picture, work: impl FnOnce() -> Result<T, Cause>) -> Result<T, PictureError> {
    work().map_err(|cause| PictureError { origin: Origin::of(&picture.source), cause })
}

fn bytes_of(frame: &Frame) -> u64 {
    frame.rgb().len() as u64
}
