//! JPEG: marked segments with scans of coded blocks between them, up to the end marker (ITU-T T.81, annex B).

use super::Outline;
use super::jpeg_scan::{FrameHeader, Scan};
use super::reader::Reader;
use crate::error::Cause;
use crate::format::Format;

const TEM: u8 = 0x01;
const DHT: u8 = 0xc4;
const JPG: u8 = 0xc8;
const DAC: u8 = 0xcc;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

pub(super) fn outline(bytes: &[u8]) -> Result<Outline<'_>, Cause> {
    let mut reader = Reader::new(Format::Jpeg, bytes, "its end marker");
    let mut frame = None;
    loop {
        match marker(&mut reader)? {
            EOI => return finish(frame.as_ref()),
            SOS => scan(&mut reader, frame.as_mut())?,
            code @ 0xc0..=0xcf if !matches!(code, DHT | JPG | DAC) => {
                let header = FrameHeader::parse(code, segment(&mut reader)?)?;
                if frame.replace(header).is_some() {
                    return Err(Cause::damaged(Format::Jpeg, "it has two frame headers"));
                }
            }
            TEM | 0xd0..=0xd7 | SOI => {}
            _ => {
                segment(&mut reader)?;
            }
        }
    }
}

/// The next marker's code. Bytes that are no marker are skipped, as decoders do, so a few stray ones do no harm.
fn marker(reader: &mut Reader<'_>) -> Result<u8, Cause> {
    loop {
        reader.skip_past(0xff)?;
        while reader.peek()? == 0xff {
            reader.u8()?;
        }
        let code = reader.u8()?;
        if code != 0 {
            return Ok(code);
        }
    }
}

/// A segment's data; its length counts its own two bytes.
fn segment<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Cause> {
    let length = usize::from(reader.u16_be()?);
    let length = length.checked_sub(2).ok_or_else(|| Cause::damaged(Format::Jpeg, "a segment has no length"))?;
    reader.take(length)
}

fn scan(reader: &mut Reader<'_>, frame: Option<&mut FrameHeader>) -> Result<(), Cause> {
    let frame = frame.ok_or_else(|| Cause::damaged(Format::Jpeg, "a scan comes before the frame header"))?;
    let scan = Scan::parse(frame, segment(reader)?)?;
    let coded = coded_bytes(reader)?;
    frame.cover(&scan, coded)
}

/// Goes to the marker that ends a scan's coded data and counts the data. A 0xff within them is followed by 0 or a restart.
fn coded_bytes(reader: &mut Reader<'_>) -> Result<usize, Cause> {
    let mut coded = 0;
    loop {
        let start = reader.at();
        let mut ahead = reader.clone();
        ahead.skip_past(0xff)?;
        coded += ahead.at() - 1 - start;
        match ahead.peek()? {
            0 => coded += 1,
            0xd0..=0xd7 => {}
            // The marker, or fill bytes ahead of it, are read again by the caller.
            _ => return Ok(coded),
        }
        ahead.u8()?;
        *reader = ahead;
    }
}

fn finish<'a>(frame: Option<&FrameHeader>) -> Result<Outline<'a>, Cause> {
    let frame = frame.ok_or_else(|| Cause::damaged(Format::Jpeg, "it has no frame header"))?;
    frame.check_covered()?;
    Ok(Outline::of_sides(frame.sides))
}
