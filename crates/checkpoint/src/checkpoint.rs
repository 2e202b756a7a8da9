//! A folder with a model, opened and proven.

use std::path::{Path, PathBuf};

use karst_contract::limits;

use crate::config::{self, Config};
use crate::folder::Folder;
use crate::gptq::{GptqError, Parts};
use crate::layout::{self, Kind, Part};
use crate::map::Access;
use crate::shards::Shards;
use crate::{CheckpointError, Linear, Tensor};

/// An open checkpoint: every shard is whole, and every tensor that the configuration implies is there with its shape.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    config: Config,
    tokenizer: Vec<u8>,
    shards: Shards,
}

impl Checkpoint {
    /// Opens a folder. The shards are mapped; see [`Access::Mapped`] for what that asks of the user.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        Self::open_with(folder, Access::default())
    }

    /// Opens a folder and reads its shards as `access` says.
    pub fn open_with(folder: &Path, access: Access) -> Result<Self, CheckpointError> {
        let folder = Folder::open(folder)?;
        let config = config::read(&folder)?;
        let tokenizer = folder.read_needed("tokenizer.json", limits::MAX_JSON_BYTES)?;
        let shards = Shards::open(&folder, access)?;
        let checkpoint = Self { folder: folder.path().into(), config, tokenizer, shards };
        checkpoint.parts().try_for_each(|part| checkpoint.prove(&part))?;
        Ok(checkpoint)
    }

    /// The folder, with links followed.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the configuration files say.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The bytes of `tokenizer.json`.
    pub fn tokenizer_json(&self) -> &[u8] {
        &self.tokenizer
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shards.names()
    }

    /// The names of the tensors that the model does not use, sorted.
    pub fn unused(&self) -> Vec<&str> {
        let mut used: Vec<String> = self.parts().map(|part| part.name).collect();
        used.sort_unstable();
        let known = |name: &str| used.binary_search_by(|used| used.as_str().cmp(name)).is_ok();
        let layer = |name: &str| name.rsplit_once('.').is_some_and(|(layer, _)| known(layer));
        self.names().filter(|name| !known(name) && !layer(name)).collect()
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.shards.bytes()
    }

    /// Bytes of the tensors whose names begin with `prefix`.
    pub fn bytes_under(&self, prefix: &str) -> u64 {
        let names = self.names().filter(|name| name.starts_with(prefix));
        names.filter_map(|name| self.tensor(name).ok()).map(|tensor| tensor.bytes.len() as u64).sum()
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, CheckpointError> {
        self.shards.get(name).ok_or_else(|| CheckpointError::MissingTensor { tensor: name.into() })
    }

    /// A tensor of a shape that the configuration implies.
    pub fn expect(&self, name: &str, shape: &[usize]) -> Result<Tensor<'_>, CheckpointError> {
        self.tensor(name)?.with_shape(shape)
    }

    /// The factors of a norm: finite, and not all zero.
    pub fn norm(&self, name: &str, length: usize) -> Result<Vec<f32>, CheckpointError> {
        let factors = self.expect(name, &[length])?.to_finite_f32()?;
        match factors.iter().all(|&factor| factor == 0.0) {
            true => Err(CheckpointError::AllZero { tensor: name.into() }),
            false => Ok(factors),
        }
    }

    /// The linear layer `prefix` of `k` inputs and `n` outputs. It is quantised if it has codes, whatever the configuration
    /// says of it. Codes, scales, zero points and groups of a quantised one are proven.
    pub fn linear(&self, prefix: &str, k: usize, n: usize) -> Result<Linear<'_>, CheckpointError> {
        let Some(qweight) = self.part(prefix, "qweight") else { return self.dense(prefix, k, n) };
        if self.part(prefix, "weight").is_some() {
            return Err(GptqError::Both { layer: prefix.into() }.into());
        }
        let no_form = || GptqError::NoQuantization { tensor: qweight.name.into() };
        let form = self.config.quantization.as_ref().ok_or_else(no_form)?;
        let g_idx = self.part(prefix, "g_idx");
        if g_idx.is_none() && form.act_order {
            return Err(CheckpointError::MissingTensor { tensor: format!("{prefix}.g_idx") });
        }
        let parts = Parts {
            qweight,
            qzeros: self.tensor(&format!("{prefix}.qzeros"))?,
            scales: self.tensor(&format!("{prefix}.scales"))?,
            g_idx,
            bias: self.part(prefix, "bias"),
        };
        parts.check(k, n, form).map(Linear::Gptq)
    }

    /// Gives back the memory that the pages of `prefix` take: of the tensor of this name, and of those whose names go on
    /// with a dot after it. For a loader that has copied them; using them again reads them again.
    pub fn release(&self, prefix: &str) {
        self.shards.release(prefix);
    }

    fn dense(&self, prefix: &str, k: usize, n: usize) -> Result<Linear<'_>, CheckpointError> {
        let weight = self.expect(&format!("{prefix}.weight"), &[n, k])?.with_floats()?;
        let bias = self.part(prefix, "bias").map(|bias| bias.with_shape(&[n])?.with_floats()).transpose()?;
        Ok(Linear::Dense { weight, bias })
    }

    fn part(&self, prefix: &str, part: &str) -> Option<Tensor<'_>> {
        self.shards.get(&format!("{prefix}.{part}"))
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        layout::parts(&self.config.decoder, &self.config.vision, &self.config.resampler)
    }

    /// Proves that a part is there with its shape, so that nobody sizes memory by a configuration that lies. Quantised layers
    /// are proven in full when they are asked for.
    fn prove(&self, part: &Part) -> Result<(), CheckpointError> {
        let name = &part.name;
        match part.kind {
            Kind::Norm(length) | Kind::Bias(length) => self.expect(name, &[length]).map(|_| ()),
            Kind::Table(ref shape) | Kind::Matrix(ref shape) => self.expect(name, shape).map(|_| ()),
            Kind::Linear { n, bias: true, .. } if self.part(name, "bias").is_none() => {
                Err(CheckpointError::MissingTensor { tensor: format!("{name}.bias ({n} numbers)") })
            }
            Kind::Linear { k, n, .. } => match (self.part(name, "qweight"), &self.config.quantization) {
                (Some(codes), Some(form)) => codes.with_shape(&[k * form.bits as usize / 32, n]).map(|_| ()),
                (Some(codes), None) => Err(GptqError::NoQuantization { tensor: codes.name.into() }.into()),
                (None, _) => self.dense(name, k, n).map(|_| ()),
            },
        }
    }
}
