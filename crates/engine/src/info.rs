//! What was opened, and on what.

use std::path::Path;

use karst_checkpoint::{Checkpoint, Config};

use crate::backend::{Description, Memory};

/// What an engine is. It does not change.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// What computes.
    pub device: DeviceInfo,
    /// What is computed.
    pub model: ModelInfo,
    /// What is reserved.
    pub memory: Memory,
    /// What a request may ask for.
    pub limits: LimitsInfo,
}

/// The device, and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// As it is chosen: `cpu`, `cuda:0`.
    pub name: String,
    /// In words.
    pub description: String,
    /// Why this one.
    pub why: String,
}

/// The checkpoint's shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name of its folder.
    pub name: String,
    /// How the decoder's weights are stored.
    pub quantization: String,
    /// Bytes of its tensors.
    pub bytes: u64,
    /// L.
    pub layers: usize,
    /// H.
    pub hidden: usize,
    /// N.
    pub heads: usize,
    /// K.
    pub kv_heads: usize,
    /// V.
    pub vocabulary: usize,
    /// Layers of the tower.
    pub vision_layers: usize,
    /// Width of the tower.
    pub vision_hidden: usize,
    /// Longest context the model was made for.
    pub max_positions: usize,
}

/// What a request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsInfo {
    /// Tokens of a prompt and its answer.
    pub max_context: usize,
    /// Requests that run at once.
    pub max_requests: usize,
    /// Requests that may wait.
    pub max_waiting: usize,
    /// Tokens of all running requests together that the cache holds.
    pub cache_tokens: usize,
    /// Most slices of a picture that names no number.
    pub max_slices: u32,
}

impl Info {
    pub(crate) fn of(
        folder: &Path,
        checkpoint: &Checkpoint,
        (device, why): (String, String),
        description: &Description,
        limits: LimitsInfo,
    ) -> Self {
        let device = DeviceInfo { name: device, description: description.device.clone(), why };
        let model = ModelInfo::of(name(folder), checkpoint.config(), checkpoint.bytes());
        Self { device, model, memory: description.memory, limits }
    }
}

impl ModelInfo {
    fn of(name: String, config: &Config, bytes: u64) -> Self {
        let (decoder, vision) = (&config.decoder, &config.vision);
        Self {
            name,
            quantization: quantization(config),
            bytes,
            layers: decoder.layers,
            hidden: decoder.hidden,
            heads: decoder.heads,
            kv_heads: decoder.kv_heads,
            vocabulary: decoder.vocabulary,
            vision_layers: vision.used_layers(),
            vision_hidden: vision.hidden,
            max_positions: decoder.max_positions,
        }
    }
}

/// The folder's own name; `.` and `..` are looked up.
fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    whole.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn quantization(config: &Config) -> String {
    let Some(form) = &config.quantization else { return "none".to_owned() };
    let group = form.group.map_or("one group".to_owned(), |group| format!("groups of {group}"));
    let symmetric = if form.symmetric { "symmetric" } else { "asymmetric" };
    let order = if form.act_order { ", activation order" } else { "" };
    format!("GPTQ int{}, {group}, {symmetric}{order}", form.bits)
}
