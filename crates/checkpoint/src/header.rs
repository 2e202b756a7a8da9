//! The header of a safetensors file: eight bytes of length, that many bytes of JSON, then the tensors without a gap.

mod entry;
mod error;
mod parse;

use std::collections::BTreeMap;
use std::io::Read;

use karst_contract::limits;

pub use entry::Entry;
pub use error::HeaderError;

/// Bytes of the length that stands first.
const PREFIX: u64 = 8;

/// A header whose every number is proven against the length of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    tensors: BTreeMap<String, Entry>,
    data_bytes: u64,
}

impl Header {
    /// Reads and proves the header of a file of `file_bytes` bytes.
    pub fn read(mut source: impl Read, file_bytes: u64) -> Result<Self, HeaderError> {
        let mut length = [0; PREFIX as usize];
        let room = file_bytes.checked_sub(PREFIX).ok_or(HeaderError::TooShort { bytes: file_bytes })?;
        source.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > limits::MAX_HEADER_BYTES {
            return Err(HeaderError::OverLimit { length, limit: limits::MAX_HEADER_BYTES });
        }
        let data_bytes = room.checked_sub(length).ok_or(HeaderError::OverFile { length, room })?;
        let mut text = vec![0; length as usize];
        source.read_exact(&mut text)?;
        let tensors = parse::tensors(&text, PREFIX + length, data_bytes)?;
        entry::prove(&tensors, PREFIX + length, data_bytes)?;
        Ok(Self { tensors, data_bytes })
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Entry> {
        &self.tensors
    }

    /// The tensors, which are not copied; none are left.
    pub(crate) fn take_tensors(&mut self) -> BTreeMap<String, Entry> {
        std::mem::take(&mut self.tensors)
    }

    /// Bytes of all tensors.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }
}
