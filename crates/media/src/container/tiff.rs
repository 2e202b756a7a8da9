//! TIFF: a directory of tags says how the first page is stored; of it, what decides how much there is to decode.

use karst_contract::limits::MAX_PIXELS;

use super::reader::Reader;
use super::{Outline, checked};
use crate::error::Cause;
use crate::format::Format;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const COMPRESSION: u16 = 259;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TAGS: [u16; 5] = [WIDTH, HEIGHT, COMPRESSION, TILE_WIDTH, TILE_HEIGHT];

/// None, CCITT group 4, LZW, deflate (two numbers), PackBits. Not JPEG: the sides in each of its strips are free to claim
/// anything, and one strip's bytes may serve as thousands of strips.
const COMPRESSIONS: [u32; 6] = [1, 4, 5, 8, 32_946, 32_773];

/// Types of a single number.
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// Most tags in a directory: about 100 are registered.
const MAX_TAGS: u64 = 4_096;

pub(super) fn outline(bytes: &[u8]) -> Result<Outline<'_>, Cause> {
    let tags = Tags::read(bytes)?;
    let sides = checked(tags.required(WIDTH)?, tags.required(HEIGHT)?)?;
    let compression = tags.get(COMPRESSION).unwrap_or(COMPRESSIONS[0]);
    if !COMPRESSIONS.contains(&compression) {
        let feature = format!("compression {compression}");
        return Err(Cause::Unsupported { format: Format::Tiff, feature });
    }
    if let (Some(width), Some(height)) = (tags.get(TILE_WIDTH), tags.get(TILE_HEIGHT)) {
        check_tiles(sides, (width, height))?;
    }
    Ok(Outline::of_sides(sides))
}

/// Tiles may reach beyond the picture, and what lies beyond it is decoded as well.
fn check_tiles(sides: (u32, u32), tile: (u32, u32)) -> Result<(), Cause> {
    let padded = |side: u32, tile: u32| u64::from(side).checked_next_multiple_of(u64::from(tile)).unwrap_or(0);
    let area = padded(sides.0, tile.0).saturating_mul(padded(sides.1, tile.1));
    if area == 0 || area > MAX_PIXELS {
        let problem = format!("its tiles of {} x {} do not suit {} x {} pixels", tile.0, tile.1, sides.0, sides.1);
        return Err(Cause::damaged(Format::Tiff, problem));
    }
    Ok(())
}

/// The values of [`TAGS`], in their order.
#[derive(Default)]
struct Tags([Option<u32>; TAGS.len()]);

impl Tags {
    /// Reads the first directory of a TIFF or, with 64-bit offsets, a BigTIFF.
    fn read(bytes: &[u8]) -> Result<Self, Cause> {
        let mut fields = Fields { big_endian: bytes.starts_with(b"MM"), reader: reader(bytes) };
        fields.reader.take(2)?;
        let big = fields.number(2)? == 43;
        if big {
            fields.number(4)?;
        }
        let (offset_bytes, count_bytes) = if big { (8, 8) } else { (4, 2) };
        let directory = fields.number(offset_bytes)?;
        fields.reader = reader(bytes);
        fields.reader.take(usize::try_from(directory).unwrap_or(usize::MAX))?;
        let entries = fields.number(count_bytes)?;
        if entries > MAX_TAGS {
            return Err(Cause::damaged(Format::Tiff, format!("its directory has {entries} tags")));
        }
        let mut tags = Self::default();
        for _ in 0..entries {
            tags.entry(&mut fields, offset_bytes)?;
        }
        Ok(tags)
    }

    /// Takes the next entry: tag, type, count and, as it is short enough, the value itself.
    fn entry(&mut self, fields: &mut Fields<'_>, offset_bytes: usize) -> Result<(), Cause> {
        let tag = fields.number(2)? as u16;
        let kind = fields.number(2)? as u16;
        let count = fields.number(offset_bytes)?;
        let mut value = Fields { big_endian: fields.big_endian, reader: reader(fields.reader.take(offset_bytes)?) };
        let Some(place) = TAGS.iter().position(|&known| known == tag) else { return Ok(()) };
        let value = match (kind, count) {
            (SHORT, 1) => value.number(2)?,
            (LONG, 1) => value.number(4)?,
            _ => return Err(Cause::damaged(Format::Tiff, format!("its tag {tag} is no single number"))),
        };
        if self.0[place].replace(value as u32).is_some() {
            return Err(Cause::damaged(Format::Tiff, format!("its tag {tag} stands there twice")));
        }
        Ok(())
    }

    fn get(&self, tag: u16) -> Option<u32> {
        TAGS.iter().position(|&known| known == tag).and_then(|place| self.0[place])
    }

    fn required(&self, tag: u16) -> Result<u32, Cause> {
        self.get(tag).ok_or_else(|| Cause::damaged(Format::Tiff, format!("its tag {tag} is missing")))
    }
}

/// Numbers of either byte order.
struct Fields<'a> {
    big_endian: bool,
    reader: Reader<'a>,
}

impl Fields<'_> {
    /// The next number of at most 8 bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, Cause> {
        let digits = self.reader.take(bytes)?.iter();
        let join = |number: u64, &digit: &u8| number << 8 | u64::from(digit);
        Ok(if self.big_endian { digits.fold(0, join) } else { digits.rev().fold(0, join) })
    }
}

fn reader(bytes: &[u8]) -> Reader<'_> {
    Reader::new(Format::Tiff, bytes, "the end of its directory")
}
