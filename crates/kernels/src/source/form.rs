//! The form of a quantised layer.

use super::error::{PackError, size};
use crate::kind::SUBGROUP;

/// The form of a quantised layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Bits of a code: 4 or 8.
    pub bits: usize,
    /// K.
    pub inputs: usize,
    /// N.
    pub outputs: usize,
    /// Inputs in a group; the last group may be shorter.
    pub group: usize,
}

impl Form {
    /// Groups of inputs.
    pub const fn groups(&self) -> usize {
        self.inputs.div_ceil(self.group)
    }

    /// Codes a word.
    pub const fn codes_per_word(&self) -> usize {
        32 / self.bits
    }

    /// The code that means zero where none is stored.
    pub const fn middle(&self) -> u8 {
        1 << (self.bits - 1)
    }

    /// Whether every group begins where one of `inputs` neighbours begins that share a scale in a tile.
    pub(crate) const fn is_whole_in(&self, inputs: usize) -> bool {
        self.group > 0 && (self.group >= self.inputs || self.group.is_multiple_of(inputs))
    }

    pub(crate) fn check(&self, tensor: &str) -> Result<(), PackError> {
        if self.bits != 4 && self.bits != 8 {
            return Err(PackError::Bits { tensor: tensor.to_owned(), bits: self.bits });
        }
        if !self.is_whole_in(SUBGROUP) {
            return Err(PackError::Group { tensor: tensor.to_owned(), group: self.group });
        }
        let whole = self.inputs.next_multiple_of(self.codes_per_word());
        size(tensor, "inputs", whole, self.inputs)
    }
}
