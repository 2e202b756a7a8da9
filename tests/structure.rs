//! The shape of the workspace: dependencies run in one direction, and `unsafe` stays where it was put.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// A crate may use only what stands before it.
const ORDER: &[&str] =
    &["contract", "media", "vision-input", "prompt", "checkpoint", "kernels", "model", "engine", "node"];

/// The only places that may hold `unsafe`.
const UNSAFE_ALLOWED: &[&str] =
    &["crates/checkpoint/src/map.rs", "crates/node/src/", "crates/kernels/src/", "crates/kernels/tests/"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn crates() -> Vec<String> {
    let folders = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap());
    folders
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

/// The karst crates that `manifest` names before its dev-dependencies.
fn siblings(manifest: &str) -> Vec<&str> {
    let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
    dependencies
        .lines()
        .filter_map(|line| line.strip_prefix("karst-"))
        .map(|line| line.split(['.', ' ', '=']).next().unwrap())
        .collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn a_crate_uses_only_crates_before_it() {
    let place = |name: &str| ORDER.iter().position(|&known| known == name);
    let crates = crates();
    assert!(crates.len() >= 8, "{crates:?}");
    for name in &crates {
        let own = place(name).unwrap_or_else(|| panic!("crate {name} has no place in the order"));
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        for used in siblings(&manifest) {
            let other = place(used).unwrap_or_else(|| panic!("{name} uses {used}, which has no place in the order"));
            assert!(other < own, "{name} uses {used}, which stands after it");
        }
    }
}

#[test]
fn the_order_test_sees_dependencies() {
    let manifest = fs::read_to_string(root().join("crates/engine/Cargo.toml")).unwrap();
    assert!(siblings(&manifest).contains(&"model"), "the manifest is read wrongly: {manifest}");
}

#[test]
fn unsafe_stays_in_its_files() {
    let mut files = Vec::new();
    rust_files(&root().join("crates"), &mut files);
    assert!(files.len() > 30);
    for file in files {
        let name = file.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&file).unwrap();
        let used = text.lines().any(|line| !line.trim_start().starts_with("//") && has_unsafe(line));
        let allowed = UNSAFE_ALLOWED.iter().any(|prefix| name.starts_with(prefix));
        assert!(!used || allowed, "{name} holds unsafe code");
    }
}

fn has_unsafe(line: &str) -> bool {
    ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code)"].iter().any(|form| line.contains(form))
}
