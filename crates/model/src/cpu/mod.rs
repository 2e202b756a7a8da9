//! The forward pass on a CPU, in f32.
//!
//! [`linear`] multiplies with weights, `candle` with activations (attention), and everything that works on one row at a time
//! (norms, rotation, activations) is a plain loop that the compiler turns into the widest instructions of the machine it
//! runs on. [`Model`] ties them together; `load` alone knows the names of tensors.

mod activation;
mod attention;
mod cache;
mod decoder;
mod embedding;
pub mod linear;
mod load;
mod model;
mod norm;
mod paged;
mod resampler;
mod rope;
mod row;
mod softmax;
mod tower;
mod unbatched;
mod vector;
mod vision;

pub use model::{Memory, Model, Options};
pub use resampler::Encoded;
pub use row::{Logits, Row};
pub use vision::{Features, Vision};

/// `x` [T, K] times the weight -> [T, N].
fn product(x: &[f32], weight: &linear::Linear) -> Vec<f32> {
    let mut out = vec![0.0; x.len() / weight.inputs() * weight.outputs()];
    if !x.is_empty() {
        weight.forward(x, &mut out);
    }
    out
}
