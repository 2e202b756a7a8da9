//! One tensor as it lies in the file.

use half::{bf16, f16};

use crate::{CheckpointError, Dtype};

const FLOATS: &str = "F32, F16 or BF16";

/// A tensor of a checkpoint: little-endian elements in row-major order, not copied and not necessarily aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor<'a> {
    /// Its name in the checkpoint.
    pub name: &'a str,
    /// The format of its elements.
    pub dtype: Dtype,
    /// Its sides.
    pub shape: &'a [usize],
    /// Its elements.
    pub bytes: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// The elements as `f32`, which holds all three float formats exactly.
    pub fn to_f32(&self) -> Result<Vec<f32>, CheckpointError> {
        match self.dtype {
            Dtype::F32 => Ok(self.elements(f32::from_le_bytes)),
            Dtype::F16 => Ok(self.elements(|bytes| f16::from_le_bytes(bytes).to_f32())),
            Dtype::BF16 => Ok(self.elements(|bytes| bf16::from_le_bytes(bytes).to_f32())),
            found => Err(self.refused(FLOATS, found)),
        }
    }

    /// The elements as `f32`, none of them NaN or infinite.
    pub fn to_finite_f32(&self) -> Result<Vec<f32>, CheckpointError> {
        let numbers = self.to_f32()?;
        match numbers.iter().position(|number| !number.is_finite()) {
            Some(index) => Err(CheckpointError::NonFinite { tensor: self.name.into(), index, value: numbers[index] }),
            None => Ok(numbers),
        }
    }

    /// The elements of a tensor whose format has `N` bytes.
    pub(crate) fn elements<const N: usize, T>(&self, read: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (elements, _) = self.bytes.as_chunks::<N>();
        elements.iter().map(|&bytes| read(bytes)).collect()
    }

    /// The same tensor, if it has `expected` sides.
    pub(crate) fn with_shape(self, expected: &[usize]) -> Result<Self, CheckpointError> {
        if self.shape == expected {
            return Ok(self);
        }
        Err(CheckpointError::Shape { tensor: self.name.into(), expected: expected.into(), found: self.shape.into() })
    }

    /// The same tensor, if its elements are of the format `expected`.
    pub(crate) fn with_dtype(self, expected: Dtype) -> Result<Self, CheckpointError> {
        if self.dtype == expected { Ok(self) } else { Err(self.refused(expected.name(), self.dtype)) }
    }

    /// The same tensor, if its elements are floats that weights may have.
    pub(crate) fn with_floats(self) -> Result<Self, CheckpointError> {
        match self.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(self),
            found => Err(self.refused(FLOATS, found)),
        }
    }

    fn refused(&self, expected: &'static str, found: Dtype) -> CheckpointError {
        CheckpointError::Dtype { tensor: self.name.into(), expected, found }
    }
}
