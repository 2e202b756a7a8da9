//! The forward pass on an NVIDIA device: the decoder and the drawing of tokens there, tower and resampler on the processor.
//!
//! [`Decoder`] begins steps and settles them, one step behind where its caller wants that. All that a step of a number of tokens
//! launches is recorded once, in a graph; what changes from step to step lies in one small block of numbers that is copied
//! before. What a row gets does not depend on its neighbours, to the last bit: products are exact in whole numbers and sums
//! have an order of their own.

mod activations;
mod decoder;
mod graphs;
mod inputs;
mod load;
mod model;
mod places;
mod support;
mod weights;

pub use decoder::{Decoder, Features, Options, Step};
pub use model::Model;
pub use places::{Append, Given, Row};
pub use support::{Unsupported, check};
