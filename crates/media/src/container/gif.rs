//! GIF: a logical screen, then extensions and frames, each a chain of blocks of up to 255 bytes.

use super::reader::Reader;
use super::{Outline, checked};
use crate::error::Cause;
use crate::format::Format;

const SIGNATURE_BYTES: usize = 6;
const EXTENSION: u8 = 0x21;
const FRAME: u8 = 0x2c;
const TRAILER: u8 = 0x3b;

pub(super) fn outline(bytes: &[u8]) -> Result<Outline<'_>, Cause> {
    let mut reader = Reader::new(Format::Gif, bytes, "the end of its first frame");
    reader.take(SIGNATURE_BYTES)?;
    let screen = sides(&mut reader)?;
    let flags = reader.u8()?;
    reader.take(2)?;
    palette(&mut reader, flags)?;
    loop {
        match reader.u8()? {
            EXTENSION => {
                reader.u8()?;
                blocks(&mut reader)?;
            }
            FRAME => {
                first_frame(&mut reader)?;
                return Ok(Outline::of_sides(screen));
            }
            TRAILER => return Err(Cause::damaged(Format::Gif, "it holds no frame")),
            other => return Err(Cause::damaged(Format::Gif, format!("it holds a block of unknown kind {other}"))),
        }
    }
}

fn sides(reader: &mut Reader<'_>) -> Result<(u32, u32), Cause> {
    let (width, height) = (reader.u16_le()?, reader.u16_le()?);
    checked(u32::from(width), u32::from(height))
}

/// A colour table of 2^(n+1) entries, if the flags announce one.
fn palette(reader: &mut Reader<'_>, flags: u8) -> Result<(), Cause> {
    if flags & 0x80 != 0 {
        reader.take(3 << ((flags & 7) + 1))?;
    }
    Ok(())
}

/// A frame from its place to the empty block behind its data. It may reach beyond the screen, but not beyond the limits.
fn first_frame(reader: &mut Reader<'_>) -> Result<(), Cause> {
    reader.take(4)?;
    sides(reader)?;
    let flags = reader.u8()?;
    palette(reader, flags)?;
    reader.u8()?;
    blocks(reader)
}

fn blocks(reader: &mut Reader<'_>) -> Result<(), Cause> {
    loop {
        match reader.u8()? {
            0 => return Ok(()),
            length => reader.take(usize::from(length))?,
        };
    }
}
