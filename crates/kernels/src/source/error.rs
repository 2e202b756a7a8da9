//! Why weights cannot be packed.

use crate::kind::{Kind, SUBGROUP};
use crate::layout::LayoutError;

/// Why weights cannot be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A side is not what it must be.
    #[error("{tensor}: {what} {found}, expected {expected}")]
    Size {
        /// The layer.
        tensor: String,
        /// Which side or list.
        what: &'static str,
        /// What it must be.
        expected: usize,
        /// What it is.
        found: usize,
    },
    /// Codes of another width.
    #[error("{tensor}: codes of {bits} bits; kernels multiply codes of 4 and of 8")]
    Bits {
        /// The layer.
        tensor: String,
        /// Their width.
        bits: usize,
    },
    /// Groups that end within what shares a scale.
    #[error("{tensor}: groups of {group} inputs; kernels need a multiple of {SUBGROUP}, or one group")]
    Group {
        /// The layer.
        tensor: String,
        /// Inputs a group.
        group: usize,
    },
    /// Groups of act-order that have more or fewer members than they should.
    #[error(
        "{tensor}: group {index} has no room for input {input} (act-order); kernels need whole groups of {group} inputs"
    )]
    Order {
        /// The layer.
        tensor: String,
        /// The first input that finds its group full.
        input: usize,
        /// Its group.
        index: u32,
        /// Inputs a group.
        group: usize,
    },
    /// A layout whose tiles do not hold the weights.
    #[error("{tensor} needs tiles of kind {needed:?}; the layout has {kind:?}")]
    Kind {
        /// The first layer of the layout.
        tensor: String,
        /// The kind of the layout's tiles.
        kind: Kind,
        /// The kind that holds the layers.
        needed: Kind,
    },
    /// Layers that read the same input and cannot be in one layout.
    #[error("{tensor} and {other} read the same input, but {difference}")]
    Different {
        /// The one.
        tensor: String,
        /// The other.
        other: String,
        /// In what they differ.
        difference: &'static str,
    },
    /// There is no layout of these sides.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Refuses a side or list of another length.
pub(crate) fn size(tensor: &str, what: &'static str, expected: usize, found: usize) -> Result<(), PackError> {
    let error = || PackError::Size { tensor: tensor.to_owned(), what, expected, found };
    if expected == found { Ok(()) } else { Err(error()) }
}
