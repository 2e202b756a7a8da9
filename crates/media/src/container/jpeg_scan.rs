//! How many coded blocks a JPEG's scans hold, and whether their data can hold them.
//!
//! A decoder fills up with grey what a scan lacks. A Huffman code has at least one bit, so a block of a sequential scan
//! takes at least two, one for its DC value and one for the end of the block, and a block of a progressive scan of DC
//! values takes one. A scan with fewer bits is cut short, or its header lies about the sides.

use super::checked;
use super::reader::Reader;
use crate::error::Cause;
use crate::format::Format;

/// The start-of-frame codes whose scans are Huffman-coded and not lossless.
const BASELINE: u8 = 0xc0;
const EXTENDED: u8 = 0xc1;
const PROGRESSIVE: u8 = 0xc2;

/// Samples along a block's side.
const BLOCK: u64 = 8;

/// A component's sampling factors and whether its DC values were seen.
#[derive(Debug)]
struct Component {
    id: u8,
    across: u64,
    down: u64,
    covered: bool,
}

/// The frame header: sides and components.
#[derive(Debug)]
pub(super) struct FrameHeader {
    code: u8,
    pub(super) sides: (u32, u32),
    components: Vec<Component>,
}

/// A scan's header: the components in it, by their place in the frame header, and its first coefficient.
#[derive(Debug)]
pub(super) struct Scan {
    components: Vec<usize>,
    first_coefficient: u8,
}

impl FrameHeader {
    pub(super) fn parse(code: u8, segment: &[u8]) -> Result<Self, Cause> {
        let mut reader = Reader::part(Format::Jpeg, segment, "the end of its frame header");
        reader.u8()?;
        let (height, width) = (u32::from(reader.u16_be()?), u32::from(reader.u16_be()?));
        let sides = checked(width, height)?;
        let count = reader.u8()?;
        let components = (0..count).map(|_| component(&mut reader)).collect::<Result<_, _>>()?;
        Ok(Self { code, sides, components })
    }

    /// Counts `coded` bytes of data for `scan`.
    pub(super) fn cover(&mut self, scan: &Scan, coded: usize) -> Result<(), Cause> {
        let blocks = self.blocks(scan);
        let least_bits = match self.code {
            BASELINE | EXTENDED => 2 * blocks,
            PROGRESSIVE if scan.first_coefficient == 0 => blocks,
            _ => 0,
        };
        if (coded as u64) * 8 < least_bits {
            let problem = format!("a scan of {blocks} blocks has only {coded} bytes");
            return Err(Cause::damaged(Format::Jpeg, problem));
        }
        if scan.first_coefficient == 0 {
            scan.components.iter().for_each(|&k| self.components[k].covered = true);
        }
        Ok(())
    }

    pub(super) fn check_covered(&self) -> Result<(), Cause> {
        let covered = self.components.iter().filter(|component| component.covered).count();
        let count = self.components.len();
        if covered == count {
            return Ok(());
        }
        Err(Cause::damaged(Format::Jpeg, format!("only {covered} of its {count} components have a scan")))
    }

    /// Blocks in `scan`: all of a component that stands alone, whole units of all components otherwise (T.81, A.2).
    fn blocks(&self, scan: &Scan) -> u64 {
        let (width, height) = (u64::from(self.sides.0), u64::from(self.sides.1));
        let most = |factor: fn(&Component) -> u64| self.components.iter().map(factor).max().unwrap_or(1);
        let (across, down) = (most(|c| c.across), most(|c| c.down));
        if let [k] = scan.components[..] {
            let alone = &self.components[k];
            let columns = (width * alone.across).div_ceil(across).div_ceil(BLOCK);
            return columns * (height * alone.down).div_ceil(down).div_ceil(BLOCK);
        }
        let units = width.div_ceil(BLOCK * across) * height.div_ceil(BLOCK * down);
        units * scan.components.iter().map(|&k| self.components[k].across * self.components[k].down).sum::<u64>()
    }
}

impl Scan {
    pub(super) fn parse(frame: &FrameHeader, segment: &[u8]) -> Result<Self, Cause> {
        let mut reader = Reader::part(Format::Jpeg, segment, "the end of a scan's header");
        let count = reader.u8()?;
        let components = (0..count).map(|_| named(&mut reader, frame)).collect::<Result<_, _>>()?;
        Ok(Self { components, first_coefficient: reader.u8()? })
    }
}

fn component(reader: &mut Reader<'_>) -> Result<Component, Cause> {
    let [id, factors, _table] = reader.array()?;
    let (across, down) = (u64::from(factors >> 4), u64::from(factors & 15));
    if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
        return Err(Cause::damaged(Format::Jpeg, format!("a component is sampled {across} x {down}")));
    }
    Ok(Component { id, across, down, covered: false })
}

/// The component that the next entry of a scan's header names.
fn named(reader: &mut Reader<'_>, frame: &FrameHeader) -> Result<usize, Cause> {
    let [id, _tables] = reader.array()?;
    let place = frame.components.iter().position(|component| component.id == id);
    place.ok_or_else(|| Cause::damaged(Format::Jpeg, format!("a scan names the component {id}, which does not exist")))
}
