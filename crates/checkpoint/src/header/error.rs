//! Every way in which a header can be wrong.

use std::io;

use crate::Dtype;

/// What is wrong with the header of a safetensors file. Offsets are counted from the end of the header, as in the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not even a length.
    #[error("the file has {bytes} bytes; eight are needed for the length of the header alone")]
    TooShort {
        /// Length of the file.
        bytes: u64,
    },
    /// Longer than any header of this family.
    #[error("the header is said to have {length} bytes; at most {limit} are allowed")]
    OverLimit {
        /// Length that the file claims.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// Longer than the file.
    #[error("the header is said to have {length} bytes, but only {room} follow")]
    OverFile {
        /// Length that the file claims.
        length: u64,
        /// What follows the length.
        room: u64,
    },
    /// The system cannot read what the file should have.
    #[error("the header cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Not UTF-8.
    #[error("the header is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The first bad byte.
        at: usize,
    },
    /// Something else than `{` comes first.
    #[error("the header begins with {found:?}, not with '{{'")]
    NotObject {
        /// The first character; `None` if the header is empty.
        found: Option<char>,
    },
    /// Not JSON.
    #[error("the header is not valid JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// `__metadata__` stands twice or holds something else than strings.
    #[error("__metadata__ is not one object of strings: {problem}")]
    Metadata {
        /// What it is.
        problem: String,
    },
    /// More tensors than any checkpoint has.
    #[error("the header names more than {limit} tensors")]
    TooManyTensors {
        /// The limit.
        limit: usize,
    },
    /// A name stands twice.
    #[error("tensor {tensor} stands twice in the header")]
    DuplicateTensor {
        /// The name.
        tensor: String,
    },
    /// A tensor is described by something else than dtype, shape and offsets.
    #[error("tensor {tensor} is not described by dtype, shape and data_offsets: {problem}")]
    Entry {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        problem: String,
    },
    /// A format that the specification does not know.
    #[error("tensor {tensor} has the unknown dtype {dtype:?}")]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// The format.
        dtype: String,
    },
    /// The sides multiply to more than 64 bits hold, or than the machine can address.
    #[error("tensor {tensor} of shape {shape:?} is larger than any file")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// Its sides.
        shape: Vec<u64>,
    },
    /// A tensor that does not end on a whole byte.
    #[error("tensor {tensor} of shape {shape:?} and dtype {dtype} does not fill whole bytes")]
    PartOfByte {
        /// The tensor.
        tensor: String,
        /// Its sides.
        shape: Vec<u64>,
        /// Its format.
        dtype: Dtype,
    },
    /// A tensor ends before it begins.
    #[error("tensor {tensor} begins at {begin} and ends at {end}")]
    Reversed {
        /// The tensor.
        tensor: String,
        /// Its first byte.
        begin: u64,
        /// The byte after its last.
        end: u64,
    },
    /// A tensor reaches beyond the file.
    #[error("tensor {tensor} ends at {end}, but only {data} bytes of data follow the header")]
    PastEnd {
        /// The tensor.
        tensor: String,
        /// The byte after its last.
        end: u64,
        /// Bytes of data in the file.
        data: u64,
    },
    /// Shape and format ask for another number of bytes than the offsets give.
    #[error("tensor {tensor} of shape {shape:?} and dtype {dtype} needs {expected} bytes; its offsets give {found}")]
    Size {
        /// The tensor.
        tensor: String,
        /// Its sides.
        shape: Vec<usize>,
        /// Its format.
        dtype: Dtype,
        /// Bytes by shape and format.
        expected: u64,
        /// Bytes by offsets.
        found: u64,
    },
    /// Two tensors share bytes.
    #[error("tensor {tensor} begins at {begin}, before {previous} ends at {end}")]
    Overlap {
        /// The tensor.
        tensor: String,
        /// Its first byte.
        begin: u64,
        /// The tensor before it.
        previous: String,
        /// Where that one ends.
        end: u64,
    },
    /// Bytes between two tensors belong to neither.
    #[error("{bytes} bytes before tensor {tensor} belong to no tensor")]
    Hole {
        /// The tensor after the hole.
        tensor: String,
        /// Length of the hole.
        bytes: u64,
    },
    /// Bytes after the last tensor.
    #[error("{bytes} bytes after the last tensor belong to no tensor")]
    Trailing {
        /// How many.
        bytes: u64,
    },
}
