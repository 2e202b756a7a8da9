//! One linear layer of the checkpoint, quantised or not.

use crate::{Gptq, Tensor};

/// The weight of a linear layer with K inputs and N outputs.
#[derive(Debug, Clone)]
pub enum Linear<'a> {
    /// Numbers as they are.
    Dense {
        /// [N, K].
        weight: Tensor<'a>,
        /// [N].
        bias: Option<Tensor<'a>>,
    },
    /// Codes of 4 or 8 bits.
    Gptq(Gptq<'a>),
}
