//! PNG: a signature, then chunks of length, type, data and checksum up to `IEND`.
//!
//! Only the chunks that make pixels reach the decoder. Without the others there are no profiles to inflate and no texts to
//! collect, and an animation is the picture that plain viewers show.

use super::reader::Reader;
use super::{Outline, checked};
use crate::error::Cause;
use crate::format::Format;

const SIGNATURE_BYTES: usize = 8;

/// Set in the first letter of the type of a chunk that a reader may skip.
const ANCILLARY: u8 = 0x20;

struct Chunk<'a> {
    kind: [u8; 4],
    data: &'a [u8],
    /// From the length to the checksum.
    whole: &'a [u8],
}

pub(super) fn outline(bytes: &[u8]) -> Result<Outline<'_>, Cause> {
    let mut reader = Reader::new(Format::Png, bytes, "its IEND chunk");
    let mut kept = vec![reader.take(SIGNATURE_BYTES)?];
    let header = chunk(&mut reader, bytes)?;
    let mut outline = Outline::of_sides(sides(&header)?);
    let mut has_pixels = false;
    kept.push(header.whole);
    loop {
        let chunk = chunk(&mut reader, bytes)?;
        match &chunk.kind {
            b"eXIf" => outline.exif = Some(chunk.data),
            b"IDAT" => has_pixels = true,
            b"PLTE" | b"tRNS" | b"IEND" => {}
            kind if kind[0] & ANCILLARY == 0 => return Err(unknown(kind)),
            _ => {}
        }
        if matches!(&chunk.kind, b"PLTE" | b"tRNS" | b"IDAT" | b"IEND") {
            kept.push(chunk.whole);
        }
        if chunk.kind == *b"IEND" {
            break;
        }
    }
    if !has_pixels {
        return Err(Cause::damaged(Format::Png, "it has no IDAT chunk"));
    }
    outline.amended = (kept.iter().map(|part| part.len()).sum::<usize>() < reader.at()).then(|| kept.concat());
    Ok(outline)
}

fn chunk<'a>(reader: &mut Reader<'a>, bytes: &'a [u8]) -> Result<Chunk<'a>, Cause> {
    let start = reader.at();
    let length = reader.u32_be()?;
    let kind = reader.array()?;
    let data = reader.take(length as usize)?;
    reader.take(4)?;
    Ok(Chunk { kind, data, whole: &bytes[start..reader.at()] })
}

fn sides(header: &Chunk<'_>) -> Result<(u32, u32), Cause> {
    if header.kind != *b"IHDR" {
        return Err(Cause::damaged(Format::Png, "its first chunk is not IHDR"));
    }
    let mut reader = Reader::part(Format::Png, header.data, "both sides");
    checked(reader.u32_be()?, reader.u32_be()?)
}

/// A chunk that a reader has to know, such as the one of Apple's own variant.
fn unknown(kind: &[u8; 4]) -> Cause {
    Cause::Unsupported { format: Format::Png, feature: format!("the chunk '{}'", kind.escape_ascii()) }
}
