//! Formats of numbers.

use half::{bf16, f16};

/// A format of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Float {
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// IEEE single precision.
    F32,
}

impl Float {
    /// Bytes a number.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// Number `at` of little-endian numbers.
    pub(crate) fn read(self, bytes: &[u8], at: usize) -> f32 {
        let two = || [bytes[at * 2], bytes[at * 2 + 1]];
        match self {
            Self::F16 => f16::from_le_bytes(two()).to_f32(),
            Self::Bf16 => bf16::from_le_bytes(two()).to_f32(),
            Self::F32 => f32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[at * 4 + byte])),
        }
    }
}
