//! What can be wrong with the weights of a product.

use karst_checkpoint::{CheckpointError, Dtype};
use karst_contract::{Code, Coded};

/// Why a product could not be made from its weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinearError {
    /// A weight that is not a matrix, or one without numbers.
    #[error("{tensor} has the shape {shape:?}; a matrix [outputs, inputs] is needed")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A weight of a type that cannot be multiplied with.
    #[error("{tensor} holds {dtype}; F32, F16 or BF16 is needed")]
    Dtype {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A tensor with more or fewer numbers than its product needs.
    #[error("{tensor} has {found} numbers; {expected} are needed")]
    Length {
        /// The tensor.
        tensor: String,
        /// Numbers that it has.
        found: usize,
        /// Numbers that the weight's shape asks for.
        expected: usize,
    },
    /// A quantised weight of a form for which there is no product.
    #[error(
        "a quantised weight of {bits} bits, {inputs} inputs in groups of {group} and {outputs} outputs cannot be used"
    )]
    Form {
        /// Bits of a code.
        bits: u32,
        /// Inputs.
        inputs: usize,
        /// Inputs in a group.
        group: usize,
        /// Outputs.
        outputs: usize,
    },
    /// Infinity or NaN among the weights or scales of an output.
    #[error("{tensor} has a number for output {output} that is not finite")]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// The output.
        output: usize,
    },
    /// A tensor that cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl Coded for LinearError {
    fn code(&self) -> Code {
        match self {
            Self::Checkpoint(error) => error.code(),
            Self::Form { .. } => Code::UnsupportedCheckpoint,
            _ => Code::InvalidCheckpoint,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Checkpoint(error) => error.hint(),
            Self::NonFinite { .. } | Self::Length { .. } => {
                Some("the file is damaged or was cut short; fetch it again".into())
            }
            Self::Form { .. } => Some("use a checkpoint of 4 or 8 bits".into()),
            Self::Shape { .. } | Self::Dtype { .. } => None,
        }
    }
}
