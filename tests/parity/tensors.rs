//! Tensors that the reference left beside its tables.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

/// A tensor: `f32` as they are, bytes as their values.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Tensor {
    /// Row `index` of the first dimension.
    pub fn row(&self, index: usize) -> &[f32] {
        let width: usize = self.shape[1..].iter().product();
        &self.values[index * width..(index + 1) * width]
    }
}

/// All tensors of all safetensors files that lie in `folder` itself.
pub fn beside(folder: &Path) -> HashMap<String, Tensor> {
    let mut tensors = HashMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a folder entry").path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            tensors.extend(read(&path));
        }
    }
    tensors
}

/// All tensors of one file.
pub fn read(path: &Path) -> HashMap<String, Tensor> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.tensors().into_iter().map(|(name, view)| (name, tensor(&view))).collect()
}

fn tensor(view: &safetensors::tensor::TensorView<'_>) -> Tensor {
    let values = match view.dtype() {
        Dtype::U8 => view.data().iter().map(|&byte| f32::from(byte)).collect(),
        Dtype::F32 => view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        other => panic!("golden tensors are F32 or U8, not {other:?}"),
    };
    Tensor { shape: view.shape().to_vec(), values }
}

/// The largest difference, relative to the largest value of the reference; infinite when the lengths differ.
pub fn relative_error(ours: &[f32], reference: &[f32]) -> f64 {
    if ours.len() != reference.len() {
        return f64::INFINITY;
    }
    let scale = reference.iter().fold(0f64, |scale, &x| scale.max(f64::from(x).abs()));
    let error = ours.iter().zip(reference).fold(0f64, |worst, (&a, &b)| {
        let difference = (f64::from(a) - f64::from(b)).abs();
        if difference.is_nan() { f64::INFINITY } else { worst.max(difference) }
    });
    if error == 0.0 { 0.0 } else { error / scale }
}
