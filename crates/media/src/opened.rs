//! A picture whose header was read and believed: bytes -> sides -> pixels.

use std::borrow::Cow;
use std::sync::Arc;

use image::metadata::Orientation as Turn;
use image::{ColorType, ImageDecoder};
use karst_contract::{Alpha, Frame, Orientation};

use crate::error::Cause;
use crate::format::{self, Format};
use crate::library::{self, Guard};
use crate::{colour, container, turn};

/// A picture whose container is whole and whose sides are within the limits.
pub(crate) struct Opened<'a> {
    guard: Guard,
    decoder: Box<dyn ImageDecoder + 'a>,
    width: u32,
    height: u32,
    turn: Turn,
}

impl<'a> Opened<'a> {
    pub(crate) fn new(bytes: &'a [u8], orientation: Orientation) -> Result<Self, Cause> {
        let format = Format::of(bytes)
            .ok_or_else(|| Cause::UnknownFormat { bytes: bytes.len(), guess: format::stranger(bytes) })?;
        let outline = container::outline(format, bytes)?;
        let (width, height) = outline.sides;
        let guard = Guard::new(format, bytes.len(), outline.sides);
        let mut decoder =
            guard.run(|| library::decoder(format, outline.amended.map_or(Cow::Borrowed(bytes), Cow::Owned)))?;
        if decoder.dimensions() != outline.sides {
            return Err(Cause::damaged(format, "its headers differ in the sides"));
        }
        guard.run(|| decoder.set_limits(guard.limits()))?;
        let turn = match (orientation, outline.exif) {
            (Orientation::Ignore, _) => Turn::NoTransforms,
            (Orientation::Exif, Some(exif)) => Turn::from_exif_chunk(exif).unwrap_or(Turn::NoTransforms),
            (Orientation::Exif, None) => guard.run(|| decoder.orientation())?,
        };
        Ok(Self { guard, decoder, width, height, turn })
    }

    /// Width and height after the turn.
    pub(crate) fn upright_sides(&self) -> (u32, u32) {
        if turn::swaps_sides(self.turn) { (self.height, self.width) } else { (self.width, self.height) }
    }

    /// Bytes in flight at the most while the pixels are decoded, turned and made RGB.
    pub(crate) fn peak_bytes(&self) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        let form = self.decoder.color_type();
        let samples = if form == ColorType::Rgb8 { 0 } else { self.decoder.total_bytes() };
        let turned = if self.turn == Turn::NoTransforms { 0 } else { 3 * pixels };
        let working = self.guard.format.working_bytes() * pixels;
        3 * pixels + turned.max(samples + working)
    }

    /// The upright, opaque picture.
    pub(crate) fn read(self, alpha: Alpha) -> Result<Frame, Cause> {
        let (width, height) = self.upright_sides();
        let (columns, turn) = (self.width as usize, self.turn);
        let rgb = self.rgb(alpha)?;
        let upright = if turn == Turn::NoTransforms {
            rgb
        } else {
            let mut turned = zeros(rgb.len());
            turn::turn(&rgb, columns, turn, Arc::make_mut(&mut turned));
            turned
        };
        Frame::new(width, height, upright).map_err(Cause::Sides)
    }

    /// `[height, width, 3]` as stored, that is not turned. Decoded in place where the decoder gives RGB.
    fn rgb(self, alpha: Alpha) -> Result<Arc<[u8]>, Cause> {
        let Self { guard, decoder, width, height, .. } = self;
        let form = decoder.color_type();
        if !colour::is_known(form) {
            let feature = format!("samples of the form {form:?}");
            return Err(Cause::Unsupported { format: guard.format, feature });
        }
        let mut rgb = zeros(3 * width as usize * height as usize);
        let to = Arc::make_mut(&mut rgb);
        if form == ColorType::Rgb8 {
            guard.run(|| decoder.read_image_boxed(to))?;
        } else {
            // At most 8 bytes a pixel, within what `limits` allow of pixels.
            let mut samples = vec![0; decoder.total_bytes() as usize];
            guard.run(|| decoder.read_image_boxed(&mut samples))?;
            colour::to_rgb(&samples, form, alpha, to);
        }
        Ok(rgb)
    }
}

/// Zeros that nobody shares yet, so that they can be written where they lie.
fn zeros(len: usize) -> Arc<[u8]> {
    std::iter::repeat_n(0, len).collect()
}
