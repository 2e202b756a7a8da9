//! WebP: a RIFF list of chunks, of which the first says whether pixels follow at once or a canvas comes first.

use super::reader::Reader;
use super::{Outline, checked};
use crate::error::Cause;
use crate::format::Format;

/// Bytes of `RIFF` and the length behind it, which counts what follows.
const RIFF_BYTES: usize = 8;

/// A chunk's type and length.
const CHUNK_HEADER_BYTES: usize = 8;

/// Where the flags of a canvas stand in the file, and two of them.
const FLAGS_AT: usize = 20;
const ANIMATION: u8 = 2;
const ALPHA: u8 = 16;

/// Where a frame's flags stand in its data, and one of them.
const FRAME_FLAGS_AT: usize = 15;
const DO_NOT_BLEND: u8 = 2;

const VP8_START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

/// Both sides of a bitstream are fields of 14 bits.
const SIDE_MASK: u32 = 0x3fff;

pub(super) fn outline(bytes: &[u8]) -> Result<Outline<'_>, Cause> {
    let mut reader = Reader::new(Format::WebP, bytes, "the length in its RIFF header");
    reader.take(4)?;
    let length = reader.u32_le()?;
    let body = reader.take(length as usize)?;
    let mut chunks = Reader::part(Format::WebP, &bytes[..RIFF_BYTES + body.len()], "the end of a chunk");
    chunks.take(RIFF_BYTES + 4)?;
    let (kind, data) = chunk(&mut chunks)?;
    let sides = match &kind {
        b"VP8X" => canvas(data)?,
        _ => bitstream(&kind, data)?
            .ok_or_else(|| Cause::damaged(Format::WebP, "its first chunk is of no known kind"))?,
    };
    let mut outline = Outline::of_sides(checked(sides.0, sides.1)?);
    if kind == *b"VP8X" {
        let first_frame = check_frames(&mut chunks, sides)?;
        outline.amended = first_frame.and_then(|at| as_transparent_still(bytes, at));
    }
    Ok(outline)
}

/// The type and data of the next chunk, whose odd length is padded unless it is the last.
fn chunk<'a>(reader: &mut Reader<'a>) -> Result<([u8; 4], &'a [u8]), Cause> {
    let kind = reader.array()?;
    let length = reader.u32_le()? as usize;
    let data = reader.take(length)?;
    if length % 2 == 1 && !reader.is_done() {
        reader.take(1)?;
    }
    Ok((kind, data))
}

fn canvas(data: &[u8]) -> Result<(u32, u32), Cause> {
    let mut reader = Reader::part(Format::WebP, data, "both sides of its canvas");
    reader.take(4)?;
    Ok((reader.u24_le()? + 1, reader.u24_le()? + 1))
}

/// The sides in a chunk of pixels; `None` for a chunk of another kind.
fn bitstream(kind: &[u8; 4], data: &[u8]) -> Result<Option<(u32, u32)>, Cause> {
    let mut reader = Reader::part(Format::WebP, data, "both sides of its pixels");
    match kind {
        b"VP8 " => {
            reader.take(3)?;
            if reader.array()? != VP8_START_CODE {
                return Err(Cause::damaged(Format::WebP, "its pixels do not begin with their start code"));
            }
            let (width, height) = (reader.u16_le()?, reader.u16_le()?);
            Ok(Some((u32::from(width) & SIDE_MASK, u32::from(height) & SIDE_MASK)))
        }
        b"VP8L" => {
            reader.take(1)?;
            let packed = reader.u32_le()?;
            Ok(Some(((packed & SIDE_MASK) + 1, (packed >> 14 & SIDE_MASK) + 1)))
        }
        _ => Ok(None),
    }
}

/// Holds the pixels' own sides against the canvas or the first frame, since they are what a decoder allocates by.
/// Gives the place of the first frame's data, if there are frames.
fn check_frames(chunks: &mut Reader<'_>, canvas: (u32, u32)) -> Result<Option<usize>, Cause> {
    while !chunks.is_done() {
        let at = chunks.at() + CHUNK_HEADER_BYTES;
        let (kind, data) = chunk(chunks)?;
        if kind == *b"ANMF" {
            check_first_frame(data, canvas)?;
            return Ok(Some(at));
        }
        check_bitstream(&kind, data, canvas)?;
    }
    Ok(None)
}

/// The picture with two flags set: the canvas has alpha, and the first frame is copied to it. Without the first, what the
/// frame leaves open would be black instead of transparent; without the second, the frame would be blended onto nothing,
/// which costs opaque pixels a step of brightness.
fn as_transparent_still(bytes: &[u8], frame: usize) -> Option<Vec<u8>> {
    if bytes[FLAGS_AT] & ANIMATION == 0 {
        return None;
    }
    let mut amended = bytes.to_vec();
    amended[FLAGS_AT] |= ALPHA;
    amended[frame + FRAME_FLAGS_AT] |= DO_NOT_BLEND;
    Some(amended)
}

fn check_first_frame(data: &[u8], canvas: (u32, u32)) -> Result<(), Cause> {
    let mut reader = Reader::part(Format::WebP, data, "the end of its first frame");
    let (x, y) = (2 * reader.u24_le()?, 2 * reader.u24_le()?);
    let frame = (reader.u24_le()? + 1, reader.u24_le()? + 1);
    if x + frame.0 > canvas.0 || y + frame.1 > canvas.1 {
        return Err(Cause::damaged(Format::WebP, "its first frame reaches beyond the canvas"));
    }
    reader.take(4)?;
    while !reader.is_done() {
        let (kind, data) = chunk(&mut reader)?;
        check_bitstream(&kind, data, frame)?;
    }
    Ok(())
}

fn check_bitstream(kind: &[u8; 4], data: &[u8], expected: (u32, u32)) -> Result<(), Cause> {
    match bitstream(kind, data)? {
        Some((width, height)) if (width, height) != expected => {
            let problem = format!("its pixels are {width} x {height}, its header says {} x {}", expected.0, expected.1);
            Err(Cause::damaged(Format::WebP, problem))
        }
        _ => Ok(()),
    }
}
