//! Checkpoints and files for tests: small, whole, and each broken in one place.

#![allow(dead_code)] // each test binary uses its own part

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use karst_checkpoint::random::{self, Spec};
use karst_checkpoint::{Checkpoint, CheckpointError, DecoderConfig, VisionConfig};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The smallest model that has every kind of tensor; about 600 kB.
pub fn small() -> Spec {
    let tiny = Spec::tiny();
    let decoder = DecoderConfig {
        layers: 1,
        hidden: 128,
        heads: 2,
        kv_heads: 1,
        head_dim: 64,
        intermediate: 256,
        vocabulary: 320,
        ..tiny.decoder
    };
    let vision = VisionConfig { layers: 1, hidden: 32, heads: 2, intermediate: 64, image_size: 28, ..tiny.vision };
    Spec { decoder, vision, queries: 4, ..tiny }
}

/// A whole checkpoint in a folder of its own.
pub fn written(spec: &Spec) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    random::write(folder.path(), spec, 1, &mut |_| {}).unwrap();
    folder
}

/// The small checkpoint in several shards.
pub fn sharded() -> TempDir {
    written(&Spec { shard_bytes: 200_000, ..small() })
}

pub fn open(folder: &TempDir) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(folder.path())
}

/// The words of the error, with its kind.
pub fn refused(folder: &TempDir) -> CheckpointError {
    match open(folder) {
        Err(error) => error,
        Ok(_) => panic!("the checkpoint was opened"),
    }
}

/// Changes a JSON file of the folder.
pub fn edit(folder: &TempDir, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.path().join(file);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// The paths of the shards, in the order of their names.
pub fn shards(folder: &TempDir) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut shards: Vec<_> = files.filter(|path| path.extension().is_some_and(|name| name == "safetensors")).collect();
    shards.sort();
    shards
}

/// A safetensors file taken apart: the header's entries and the data behind it.
pub struct File {
    pub header: Map<String, Value>,
    pub data: Vec<u8>,
}

impl File {
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let (length, rest) = bytes.split_at(8);
        let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        Self { header: serde_json::from_slice(header).unwrap(), data: data.into() }
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, file(&Value::from(self.header.clone()).to_string(), &self.data)).unwrap();
    }

    /// The bytes of a tensor, to be changed in place.
    pub fn tensor(&mut self, name: &str) -> &mut [u8] {
        let offsets = &self.header[name]["data_offsets"];
        let at = |i: usize| offsets[i].as_u64().unwrap() as usize;
        let range = at(0)..at(1);
        &mut self.data[range]
    }

    /// Takes a tensor apart from the others and puts another in its place.
    pub fn replace(&mut self, name: &str, new: Option<(&str, &[usize], Vec<u8>)>) {
        let mut tensors: BTreeMap<String, (Value, Value, Vec<u8>)> = BTreeMap::new();
        for (other, entry) in self.header.clone() {
            let bytes = self.tensor(&other).to_vec();
            tensors.insert(other, (entry["dtype"].clone(), entry["shape"].clone(), bytes));
        }
        tensors.remove(name);
        if let Some((dtype, shape, bytes)) = new {
            tensors.insert(name.into(), (dtype.into(), json!(shape), bytes));
        }
        (self.header, self.data) = (Map::new(), Vec::new());
        for (name, (dtype, shape, bytes)) in tensors {
            let begin = self.data.len();
            self.data.extend(bytes);
            let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [begin, self.data.len()] });
            self.header.insert(name, entry);
        }
    }
}

/// A safetensors file of these parts, right or wrong.
pub fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Changes the only shard of a checkpoint.
pub fn change(folder: &TempDir, change: impl FnOnce(&mut File)) {
    let path = folder.path().join("model.safetensors");
    let mut file = File::read(&path);
    change(&mut file);
    file.write(&path);
}

/// Every linear layer of the model: name, K, N.
pub fn linears(checkpoint: &Checkpoint) -> Vec<(String, usize, usize)> {
    let config = checkpoint.config();
    let (decoder, vision) = (&config.decoder, &config.vision);
    let (h, i, v) = (decoder.hidden, decoder.intermediate, vision.hidden);
    let (q, kv) = (decoder.heads * decoder.head_dim, decoder.kv_heads * decoder.head_dim);
    let mut linears = vec![
        ("llm.lm_head".into(), h, decoder.vocabulary),
        ("resampler.kv_proj".into(), v, config.resampler.hidden),
        ("resampler.attn.out_proj".into(), h, h),
    ];
    for layer in 0..decoder.layers {
        let name = |module: &str| format!("llm.model.layers.{layer}.{module}");
        linears.extend(
            [("q", h, q), ("k", h, kv), ("v", h, kv), ("o", q, h)]
                .map(|(part, k, n)| (name(&format!("self_attn.{part}_proj")), k, n)),
        );
        linears.extend(
            [("gate", h, i), ("up", h, i), ("down", i, h)]
                .map(|(part, k, n)| (name(&format!("mlp.{part}_proj")), k, n)),
        );
    }
    for layer in 0..vision.used_layers() {
        let name = |module: &str| format!("vpm.encoder.layers.{layer}.{module}");
        linears
            .extend(["q_proj", "k_proj", "v_proj", "out_proj"].map(|part| (name(&format!("self_attn.{part}")), v, v)));
        linears.extend([(name("mlp.fc1"), v, vision.intermediate), (name("mlp.fc2"), vision.intermediate, v)]);
    }
    linears
}
