//! Products with a model's weights: `out [T, N] = x [T, K] * W^T + bias`, activations and results in `f32`.
//!
//! Takes a [`karst_checkpoint::Linear`]: GPTQ codes of 4 or 8 bits (any group, symmetric or not, act-order or not) or dense
//! numbers. Weights stay in the width in which they are stored; each is turned into `f32` exactly, in a register or, where
//! many rows share it, in a strip that stays in the nearest cache.
//!
//! The one decision: there is one arithmetic, `f32` with the group's scale applied to the group's sum, and it is the fast
//! one too. On two cores a row takes 1.0 to 1.3 times as long as reading the weights, so products of rounded activations
//! (8 or 16 bits) would gain nothing where memory is the limit. Each output is summed in one order, whatever the number of
//! rows or threads: a row's result depends on the row alone, to the last bit.
//!
//! ```
//! use karst_checkpoint::{Dtype, Tensor};
//! use karst_model::cpu::linear::Linear;
//!
//! let bytes: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|number| number.to_le_bytes()).collect();
//! let weight = Tensor { name: "w", dtype: Dtype::F32, shape: &[2, 3], bytes: &bytes };
//! let linear = Linear::dense(&weight, None)?;
//! let mut out = [0.0; 2];
//! linear.forward(&[1.0, 0.0, -1.0], &mut out);
//! assert_eq!(out, [-2.0, -2.0]);
//! # Ok::<(), karst_model::cpu::linear::LinearError>(())
//! ```

mod activations;
mod codes;
mod error;
mod kernel;
mod lanes;
mod layout;
mod line;
mod matrix;
mod pack;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;

use karst_checkpoint::Tensor;

pub use error::LinearError;

use matrix::{Matrix, Path};

/// A weight `[N, K]`, packed for products, with its bias.
pub struct Linear {
    matrix: Matrix,
}

impl Linear {
    /// Packs a weight of a checkpoint.
    pub fn load(source: &karst_checkpoint::Linear<'_>) -> Result<Linear, LinearError> {
        match source {
            karst_checkpoint::Linear::Dense { weight, bias } => Linear::dense(weight, bias.as_ref()),
            karst_checkpoint::Linear::Gptq(source) => {
                let packed = pack::gptq(source)?;
                Ok(Linear { matrix: Matrix::new(packed, source.k, source.n, None) })
            }
        }
    }

    /// Packs a dense weight `[N, K]`. Half-precision numbers stay in 16 bits.
    pub fn dense(weight: &Tensor<'_>, bias: Option<&Tensor<'_>>) -> Result<Linear, LinearError> {
        let (outputs, inputs) = match *weight.shape {
            [outputs, inputs] if outputs.min(inputs) > 0 => (outputs, inputs),
            _ => return Err(LinearError::Shape { tensor: weight.name.into(), shape: weight.shape.into() }),
        };
        let bias = bias.map(|bias| numbers(bias, outputs)).transpose()?;
        Ok(Linear { matrix: Matrix::new(pack::dense(weight, outputs, inputs)?, inputs, outputs, bias) })
    }

    /// K.
    pub fn inputs(&self) -> usize {
        self.matrix.inputs()
    }

    /// N.
    pub fn outputs(&self) -> usize {
        self.matrix.outputs()
    }

    /// Bytes of memory that the weights take.
    pub fn bytes(&self) -> usize {
        self.matrix.bytes()
    }

    /// Computes `out [T, N]` from `x [T, K]`, on the threads of the current rayon pool. A caller of many products does best
    /// to run inside that pool (`ThreadPool::install`): waking it from outside costs some microseconds each time.
    ///
    /// # Panics
    ///
    /// If the lengths are not `T * K` and `T * N` for one T.
    pub fn forward(&self, x: &[f32], out: &mut [f32]) {
        self.forward_on(Path::best(), x, out);
    }

    fn forward_on(&self, path: Path, x: &[f32], out: &mut [f32]) {
        let (rows, inputs, outputs) = (x.len() / self.inputs(), self.inputs(), self.outputs());
        assert_eq!(x.len(), rows * inputs, "activations of a product with {inputs} inputs");
        assert_eq!(out.len(), rows * outputs, "results of a product with {outputs} outputs for {rows} rows");
        self.matrix.multiply(path, x, out);
    }
}

/// A bias, which must have `expected` numbers.
fn numbers(bias: &Tensor<'_>, expected: usize) -> Result<Vec<f32>, LinearError> {
    let numbers = bias.to_finite_f32()?;
    if numbers.len() == expected {
        return Ok(numbers);
    }
    Err(LinearError::Length { tensor: bias.name.into(), found: numbers.len(), expected })
}
