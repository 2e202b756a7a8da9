//! A layer of numbers.

use super::error::{PackError, size};
use super::float::Float;
use crate::kind::Kind;

/// A layer of finite numbers.
#[derive(Debug, Clone, Copy)]
pub struct Dense<'a> {
    /// Its name, for errors.
    pub name: &'a str,
    /// K.
    pub inputs: usize,
    /// N.
    pub outputs: usize,
    /// The format of its numbers.
    pub float: Float,
    /// [N, K] Little-endian numbers.
    pub bytes: &'a [u8],
}

impl Dense<'_> {
    /// The kind of tile that holds it.
    ///
    /// # Errors
    /// When it has more or fewer numbers than its sides say.
    pub fn kind(&self) -> Result<Kind, PackError> {
        size(self.name, "bytes", self.inputs * self.outputs * self.float.bytes(), self.bytes.len())?;
        Ok(if self.float == Float::F16 { Kind::F16 } else { Kind::Bf16 })
    }
}
