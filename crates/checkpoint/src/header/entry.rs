//! Where one tensor lies, and the proof that all of them together fill the file.

use std::collections::BTreeMap;
use std::ops::Range;

use super::HeaderError;
use crate::Dtype;

/// Where a tensor lies in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Format of its elements.
    pub dtype: Dtype,
    /// Its sides.
    pub shape: Vec<usize>,
    /// First byte and the byte after the last, counted from the start of the file.
    pub bytes: Range<u64>,
}

/// Bits of a tensor, if 64 bits hold their number.
pub(super) fn bits(shape: &[u64], dtype: Dtype) -> Option<u64> {
    shape.iter().try_fold(dtype.bits(), |total, &side| total.checked_mul(side))
}

/// Proves that tensors which end within the `data_bytes` after `start` fill them: without overlap, hole or rest.
pub(super) fn prove(tensors: &BTreeMap<String, Entry>, start: u64, data_bytes: u64) -> Result<(), HeaderError> {
    let mut order: Vec<(&String, &Entry)> = tensors.iter().collect();
    order.sort_by_key(|(_, entry)| (entry.bytes.start, entry.bytes.end));
    let mut previous = "the header";
    let mut reached = start;
    for (name, entry) in order {
        let (begin, end) = (entry.bytes.start, entry.bytes.end);
        if begin < reached {
            let (tensor, previous) = (name.clone(), previous.to_owned());
            return Err(HeaderError::Overlap { tensor, begin: begin - start, previous, end: reached - start });
        }
        if begin > reached {
            return Err(HeaderError::Hole { tensor: name.clone(), bytes: begin - reached });
        }
        (previous, reached) = (name, end);
    }
    match data_bytes - (reached - start) {
        0 => Ok(()),
        bytes => Err(HeaderError::Trailing { bytes }),
    }
}
