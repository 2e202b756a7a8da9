//! Every tensor of a random checkpoint with its shape, its contents and its shard.

use serde_json::{Value, json};

use super::fill::{self, Fill};
use super::{RandomError, Spec};
use crate::layout::{Kind, Part};
use crate::{Dtype, Quantization};

/// Standard deviation of the logits: far enough apart that an answer is more than noise.
const LOGITS: f64 = 3.0;

/// Standard deviation of a layer's scales, of their mean.
const SPREAD: f64 = 0.25;

/// A tensor that is to be written.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// The format of its elements.
    pub dtype: Dtype,
    /// Its sides.
    pub shape: Vec<usize>,
    pub(super) fill: Fill,
}

impl Planned {
    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().map(|&side| side as u64).product::<u64>() * self.dtype.bits() / 8
    }
}

/// All tensors, in the order in which they lie in their shards.
#[derive(Debug, Clone)]
pub struct Plan {
    shards: Vec<Vec<Planned>>,
}

impl Plan {
    pub(super) fn new(spec: &Spec) -> Result<Self, RandomError> {
        if !matches!(spec.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(RandomError::Dtype { dtype: spec.dtype });
        }
        let mut tensors = Vec::new();
        for part in spec.parts() {
            tensors.extend(planned(spec, part)?);
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let mut shards = spread(tensors, spec.shard_bytes);
        // Within a file the format's own writer sorts by element size first, so that all tensors lie aligned.
        let rank = |dtype: Dtype| [Dtype::F32, Dtype::I32, Dtype::BF16, Dtype::F16].iter().position(|&d| d == dtype);
        shards.iter_mut().for_each(|shard| shard.sort_by_key(|tensor| rank(tensor.dtype)));
        Ok(Self { shards })
    }

    /// All tensors.
    pub fn tensors(&self) -> impl Iterator<Item = &Planned> {
        self.shards.iter().flatten()
    }

    /// The shards with their file names.
    pub fn shards(&self) -> impl Iterator<Item = (String, &[Planned])> {
        let name = |shard| match self.shards.len() {
            1 => "model.safetensors".into(),
            count => format!("model-{:05}-of-{count:05}.safetensors", shard + 1),
        };
        self.shards.iter().enumerate().map(move |(shard, tensors)| (name(shard), tensors.as_slice()))
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors().map(Planned::bytes).sum()
    }

    /// The index, if there is more than one shard.
    pub(super) fn index(&self) -> Option<Value> {
        if self.shards.len() == 1 {
            return None;
        }
        let names = |(shard, tensors): (String, &[Planned])| {
            let shard = Value::from(shard);
            tensors.iter().map(|tensor| (tensor.name.clone(), shard.clone())).collect::<Vec<_>>()
        };
        let mut map: Vec<_> = self.shards().flat_map(names).collect();
        map.sort_by(|a, b| a.0.cmp(&b.0));
        let map: serde_json::Map<_, _> = map.into_iter().collect();
        Some(json!({ "metadata": { "total_size": self.bytes() }, "weight_map": map }))
    }
}

/// Fills one shard after the other in the order of names.
fn spread(tensors: Vec<Planned>, most: u64) -> Vec<Vec<Planned>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0;
    for tensor in tensors {
        if filled > 0 && filled + tensor.bytes() > most {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += tensor.bytes();
        shards.last_mut().expect("there is always a shard").push(tensor);
    }
    shards
}

fn planned(spec: &Spec, part: Part) -> Result<Vec<Planned>, RandomError> {
    let Part { name, kind } = part;
    let numbers = |name: String, shape: Vec<usize>, centre, deviation| Planned {
        name,
        dtype: spec.dtype,
        shape,
        fill: Fill::numbers(spec.dtype, centre, deviation),
    };
    let keeping = |inputs: usize| 1.0 / (inputs as f64).sqrt();
    Ok(match kind {
        Kind::Norm(length) => vec![numbers(name, vec![length], 1.0, 0.1)],
        Kind::Bias(length) => vec![numbers(name, vec![length], 0.0, 0.05)],
        Kind::Table(shape) => {
            let deviation = if name.starts_with("llm.") { LOGITS * keeping(shape[1]) } else { 1.0 };
            vec![numbers(name, shape, 0.0, deviation)]
        }
        Kind::Matrix(shape) => {
            let inputs = shape[1..].iter().product();
            vec![numbers(name, shape, 0.0, keeping(inputs))]
        }
        Kind::Linear { k, n, quantisable: true, .. } if spec.quantization.is_some() => quantised(spec, &name, k, n)?,
        Kind::Linear { k, n, bias, .. } => {
            let gain = if name == "llm.lm_head" { LOGITS } else { 1.0 };
            let bias = bias.then(|| numbers(format!("{name}.bias"), vec![n], 0.0, 0.05));
            let weight = numbers(format!("{name}.weight"), vec![n, k], 0.0, gain * keeping(k));
            [weight].into_iter().chain(bias).collect()
        }
    })
}

fn quantised(spec: &Spec, layer: &str, k: usize, n: usize) -> Result<Vec<Planned>, RandomError> {
    let Some(form) = &spec.quantization else { return Ok(Vec::new()) };
    let codes = 32 / form.bits as usize;
    if !k.is_multiple_of(codes) || !n.is_multiple_of(codes) {
        return Err(RandomError::NotWhole { layer: layer.into(), k, n, bits: form.bits, codes });
    }
    let group = form.group.map_or(k, |group| group.min(k));
    let groups = k.div_ceil(group);
    let part = |part: &str, dtype, shape: &[usize], fill| {
        let name = format!("{layer}.{part}");
        Planned { name, dtype, shape: shape.into(), fill }
    };
    let (scales, scale) = (spec.dtype, scale(form, k));
    let bias = spec.zero_biases.then(|| part("bias", spec.dtype, &[n], Fill::Zeros));
    let parts = [
        part("g_idx", Dtype::I32, &[k], Fill::Groups { inputs: k, group, shuffled: form.act_order }),
        part("qweight", Dtype::I32, &[k / codes, n], Fill::Codes { bits: form.bits }),
        part("qzeros", Dtype::I32, &[groups, n / codes], Fill::ZeroPoints(form.clone())),
        part("scales", scales, &[groups, n], Fill::numbers(scales, scale, SPREAD * scale)),
    ];
    Ok(parts.into_iter().chain(bias).collect())
}

/// The step between codes with which a layer of `k` inputs keeps the size of what passes through it.
fn scale(form: &Quantization, k: usize) -> f64 {
    1.0 / (fill::variance(form) * (1.0 + SPREAD * SPREAD) * k as f64).sqrt()
}
