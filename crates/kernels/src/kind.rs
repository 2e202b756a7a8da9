//! How a tile, 16 outputs x 128 or 64 inputs, holds its weights.
//!
//! A warp multiplies a tile with the matrix instructions m16n8k16 (numbers) or m16n8k32 (bytes, which codes of 4 bits
//! become). Lane `l` loads 16 bytes that stand at `l * 16` of a 512-byte part and are its four registers, with
//! outputs `l / 4` and `l / 4 + 8`. Which inputs a register has is free, if the activations agree: a lane takes
//! neighbours, so that a tile is made of whole words of a checkpoint.

/// Slots a CTA: parts of K, one a warp.
pub const SLOTS: usize = 16;
/// Outputs a tile.
pub const TILE_ROWS: usize = 16;
/// Inputs that share a scale and a zero point in tiles of 8-bit codes.
pub(crate) const SUBGROUP: usize = 32;

/// How a tile holds its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Codes of 4 bits less 8, as numbers with a sign, and 16 `f16` scales, one an output: 1056 bytes for 128 inputs.
    Int4,
    /// Codes of 8 bits, an `f16` scale and an 8-bit zero point for each output and 32 inputs: 2240 bytes for 128 inputs.
    Int8,
    /// `f16` numbers: 2048 bytes for 64 inputs.
    F16,
    /// `bf16` numbers: 2048 bytes for 64 inputs.
    Bf16,
}

impl Kind {
    /// Inputs a tile.
    pub const fn width(self) -> usize {
        match self {
            Self::Int4 | Self::Int8 => 128,
            Self::F16 | Self::Bf16 => 64,
        }
    }

    /// Bytes a tile, a multiple of 16.
    pub const fn tile_bytes(self) -> usize {
        match self {
            Self::Int4 => 1024 + 16 * 2,
            Self::Int8 => 2048 + 4 * 16 * 2 + 4 * 16,
            Self::F16 | Self::Bf16 => 2048,
        }
    }

    /// Bytes a stage.
    pub const fn stage_bytes(self) -> usize {
        SLOTS * self.tile_bytes()
    }

    /// Inputs that share a scale; none where there are no scales.
    pub(crate) const fn scaled(self) -> Option<usize> {
        match self {
            Self::Int4 => Some(128),
            Self::Int8 => Some(SUBGROUP),
            Self::F16 | Self::Bf16 => None,
        }
    }

    /// The bit of a tile where the weight of an output and an input of it begins, that is its byte times 8 and the place
    /// within.
    pub(crate) const fn weight_bit(self, row: usize, input: usize) -> usize {
        match self {
            // Two parts of 64 inputs. A lane has 16 neighbours; the nibbles of a register alternate between its first and
            // its last eight, so that a shift by four bits and a mask give bytes of neighbours.
            Self::Int4 => {
                let (part, lane, e) = (input / 64, input % 64 / 16, input % 16);
                word(part, row, lane, e % 8 / 4) * 8 + e % 4 * 8 + e / 8 * 4
            }
            // Four parts of 32 inputs, a lane has 8 neighbours.
            Self::Int8 => {
                let (part, lane, b) = (input / 32, input % 32 / 8, input % 8);
                word(part, row, lane, b / 4) * 8 + b % 4 * 8
            }
            // Four parts of 16 inputs, a lane has 4 neighbours.
            Self::F16 | Self::Bf16 => {
                let (part, lane, b) = (input / 16, input % 16 / 4, input % 4);
                word(part, row, lane, b / 2) * 8 + b % 2 * 16
            }
        }
    }

    /// The byte of a tile where the scale of an output for an input begins.
    pub(crate) const fn scale_byte(self, row: usize, input: usize) -> Option<usize> {
        match self {
            Self::Int4 => Some(1024 + pair(row) * 2),
            Self::Int8 => Some(2048 + input / SUBGROUP * 32 + pair(row) * 2),
            Self::F16 | Self::Bf16 => None,
        }
    }

    /// The byte of a tile with the zero point of an output for an input, where they are stored.
    pub(crate) const fn zero_byte(self, row: usize, input: usize) -> Option<usize> {
        match self {
            Self::Int8 => Some(2176 + input / SUBGROUP * 16 + pair(row)),
            Self::Int4 | Self::F16 | Self::Bf16 => None,
        }
    }
}

/// The byte of a register: of one of the parts of 512 bytes, of the lane of an output with its `lane`-th inputs, of the first
/// or second half of these inputs.
const fn word(part: usize, row: usize, lane: usize, half: usize) -> usize {
    part * 512 + ((row % 8) * 4 + lane) * 16 + (half * 2 + row / 8) * 4
}

/// The place of an output among what there is one of for each: the two outputs of a lane are neighbours.
const fn pair(row: usize) -> usize {
    row % 8 * 2 + row / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [(Kind, usize); 4] = [(Kind::Int4, 4), (Kind::Int8, 8), (Kind::F16, 16), (Kind::Bf16, 16)];

    #[test]
    fn every_bit_of_a_tile_has_one_meaning() {
        for (kind, bits) in KINDS {
            let mut taken = vec![0; kind.tile_bytes() * 8];
            let mut take = |bit: usize, bits: usize| taken[bit..bit + bits].iter_mut().for_each(|times| *times += 1);
            for row in 0..TILE_ROWS {
                (0..kind.width()).for_each(|input| take(kind.weight_bit(row, input), bits));
                for input in (0..kind.width()).step_by(kind.scaled().unwrap_or(kind.width())) {
                    let _ = kind.scale_byte(row, input).is_some_and(|byte| (take(byte * 8, 16), true).1);
                    let _ = kind.zero_byte(row, input).is_some_and(|byte| (take(byte * 8, 8), true).1);
                }
            }
            assert!(taken.iter().all(|&times| times == 1), "{kind:?}");
        }
    }

    /// The formulas that the products are written for, once more in their own words.
    #[test]
    fn the_places_are_those_that_the_products_read() {
        for row in 0..TILE_ROWS {
            for kk in 0..128 {
                let (h, e, tig) = (kk / 64, kk % 16, kk % 64 / 16);
                let (at, shift, lane) = (h * 4 + (e % 8 / 4) * 2 + row / 8, e % 4 * 8 + e / 8 * 4, (row % 8) * 4 + tig);
                assert_eq!(Kind::Int4.weight_bit(row, kk), ((at / 4) * 512 + lane * 16 + (at % 4) * 4) * 8 + shift);
                let (j, tig, b) = (kk / 32, kk % 32 / 8, kk % 8);
                let (at, lane) = ((b / 4) * 2 + row / 8, (row % 8) * 4 + tig);
                assert_eq!(Kind::Int8.weight_bit(row, kk), (j * 512 + lane * 16 + at * 4 + b % 4) * 8);
                assert_eq!(Kind::Int8.scale_byte(row, kk), Some(2048 + j * 32 + (row % 8) * 4 + (row / 8) * 2));
                assert_eq!(Kind::Int8.zero_byte(row, kk), Some(2176 + j * 16 + (row % 8) * 2 + row / 8));
            }
            for kk in 0..64 {
                let (u, tig, b) = (kk / 16, kk % 16 / 4, kk % 4);
                let (at, lane) = ((b / 2) * 2 + row / 8, (row % 8) * 4 + tig);
                assert_eq!(Kind::Bf16.weight_bit(row, kk), (u * 512 + lane * 16 + at * 4 + b % 2 * 2) * 8);
            }
            assert_eq!(Kind::Int4.scale_byte(row, 0), Some(1024 + (row % 8) * 4 + (row / 8) * 2));
        }
    }
}
