//! BMP: the sides stand in one of two headers, told apart by the header's length.

use super::reader::Reader;
use super::{Outline, checked};
use crate::error::Cause;
use crate::format::Format;

const FILE_HEADER_BYTES: usize = 14;

/// Length of the header whose sides have 16 bits; in all longer ones they have 32.
const CORE_HEADER_BYTES: u32 = 12;

pub(super) fn outline(bytes: &[u8]) -> Result<Outline<'_>, Cause> {
    let mut reader = Reader::new(Format::Bmp, bytes, "the end of its header");
    reader.take(FILE_HEADER_BYTES)?;
    let (width, height) = if reader.u32_le()? == CORE_HEADER_BYTES {
        (u32::from(reader.u16_le()?), u32::from(reader.u16_le()?))
    } else {
        // A negative height means rows from the top; a negative width is left to the decoder's complaint.
        (signed(&mut reader)?, signed(&mut reader)?)
    };
    checked(width, height).map(Outline::of_sides)
}

fn signed(reader: &mut Reader<'_>) -> Result<u32, Cause> {
    Ok(reader.u32_le()?.cast_signed().unsigned_abs())
}
