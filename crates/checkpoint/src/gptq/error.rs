//! What can be wrong with the tensors of a quantised layer.

use karst_contract::{Code, Coded};

/// Why a quantised layer cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GptqError {
    /// There are codes, but no configuration says how to read them.
    #[error("tensor {tensor} is quantised, but neither config.json nor quantize_config.json says how")]
    NoQuantization {
        /// The codes.
        tensor: String,
    },
    /// The layer is there twice.
    #[error("layer {layer} has both codes (.qweight) and numbers (.weight)")]
    Both {
        /// The layer.
        layer: String,
    },
    /// A side is not a whole number of packed words.
    #[error(
        "{tensor}: the layer has {side} {what}, which is no multiple of the {codes} codes of {bits} bits in a word"
    )]
    NotWhole {
        /// The codes.
        tensor: String,
        /// `inputs` or `outputs`.
        what: &'static str,
        /// How many.
        side: usize,
        /// Codes in a word.
        codes: usize,
        /// Bits of a code.
        bits: u32,
    },
    /// An input's group does not exist.
    #[error("tensor {tensor} puts input {input} into group {group}, but there are {groups} groups")]
    Group {
        /// The group indices.
        tensor: String,
        /// The input.
        input: usize,
        /// Its group.
        group: i32,
        /// How many there are.
        groups: usize,
    },
    /// A scale is NaN, infinite or negative.
    #[error("tensor {tensor} holds the scale {value} at index {index}")]
    Scale {
        /// The scales.
        tensor: String,
        /// Where among them.
        index: usize,
        /// What stands there.
        value: f32,
    },
    /// A scale is finite but more than half precision holds.
    #[error("tensor {tensor} holds the scale {value} at index {index}; at most 65504 is supported")]
    LargeScale {
        /// The scales.
        tensor: String,
        /// Where among them.
        index: usize,
        /// What stands there.
        value: f32,
    },
    /// Zero points are stored in the form that the configuration does not declare.
    #[error("tensor {tensor} holds {found} everywhere, the middle as {other} stores it, but {declared} is declared")]
    OtherForm {
        /// The zero points.
        tensor: String,
        /// The stored value.
        found: u32,
        /// The form it belongs to.
        other: &'static str,
        /// The form that the configuration declares.
        declared: &'static str,
    },
    /// A symmetric layer has a zero point that is not in the middle.
    #[error(
        "sym is declared, but tensor {tensor} has the zero point {zero} at group {group}, output {output}; {middle} is the middle"
    )]
    NotSymmetric {
        /// The zero points.
        tensor: String,
        /// The group.
        group: usize,
        /// The output.
        output: usize,
        /// The zero point.
        zero: u32,
        /// The middle code.
        middle: u32,
    },
    /// A quantised layer has a bias that is not zero.
    #[error("tensor {tensor} holds {value} at index {index}; quantised layers of this model have no bias")]
    Bias {
        /// The bias.
        tensor: String,
        /// Where in it.
        index: usize,
        /// What stands there.
        value: f32,
    },
    /// A run of zero bytes that no quantiser writes.
    #[error(
        "tensor {tensor} holds nothing but zero bytes from byte {at} on for {bytes} bytes: a part of the file is missing"
    )]
    Hole {
        /// The codes.
        tensor: String,
        /// Where in the tensor.
        at: usize,
        /// How many at least.
        bytes: usize,
    },
}

impl Coded for GptqError {
    fn code(&self) -> Code {
        match self {
            Self::Bias { .. } | Self::LargeScale { .. } => Code::UnsupportedCheckpoint,
            _ => Code::InvalidCheckpoint,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::OtherForm { .. } => Some("set checkpoint_format to the form that the file has".into()),
            Self::NotSymmetric { .. } => Some("set sym to false if the weights were quantised so".into()),
            Self::Hole { .. } | Self::Scale { .. } => Some("the file is damaged; fetch it again".into()),
            _ => None,
        }
    }
}
