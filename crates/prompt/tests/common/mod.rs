//! Tokenizers and golden data for the tests.
#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use karst_prompt::Tokenizer;
use serde_json::Value;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

pub fn golden(name: &str) -> Value {
    json(&root().join("tests/golden").join(name))
}

/// The folders of the tiny checkpoints.
pub fn tiny_checkpoints() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/golden/tiny")).unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

pub fn tokenizer(folder: &Path) -> Arc<Tokenizer> {
    Arc::new(Tokenizer::from_bytes(&fs::read(folder.join("tokenizer.json")).unwrap()).unwrap())
}

pub fn demo_bytes() -> Vec<u8> {
    fs::read(root().join("models/demo/tokenizer.json")).unwrap()
}

pub fn demo() -> Arc<Tokenizer> {
    static DEMO: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| tokenizer(&root().join("models/demo")));
    Arc::clone(&DEMO)
}

/// The published tokenizer, which is not part of the project. Says so where it is absent.
pub fn published_bytes() -> Option<Vec<u8>> {
    let path = root().join("../shared/golden/minicpm-v-4_5/tokenizer.json");
    let bytes = fs::read(&path).ok();
    if bytes.is_none() {
        eprintln!("skipped: the published tokenizer is not at {}", path.display());
    }
    bytes
}

pub fn published() -> Option<Arc<Tokenizer>> {
    static PUBLISHED: LazyLock<Option<Arc<Tokenizer>>> =
        LazyLock::new(|| published_bytes().map(|bytes| Arc::new(Tokenizer::from_bytes(&bytes).unwrap())));
    PUBLISHED.clone()
}

/// The demo's tokenizer, and the published one where it is at hand.
pub fn tokenizers() -> Vec<Arc<Tokenizer>> {
    [Some(demo()), published()].into_iter().flatten().collect()
}
