//! Hostile numbers are refused before anything of their size is allocated. One test, so that the process's peak is its own.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{edit, file, refused, sharded, small, written};
use karst_checkpoint::header::Header;
use serde_json::json;

/// The most memory that this process had so far, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn absurd_numbers_fail_fast_and_without_allocation() {
    let folder = written(&small());
    let many = sharded();
    let (start, before) = (Instant::now(), peak());
    for length in [1u64 << 24, 1 << 40, u64::MAX >> 1] {
        assert!(Header::read(&length.to_le_bytes()[..], u64::MAX).is_err());
    }
    let sides = format!(r#"{{"a":{{"dtype":"F32","shape":[{}1],"data_offsets":[0,4]}}}}"#, "1,".repeat(4_000_000));
    assert!(Header::read(&file(&sides, &[0; 4])[..], 12 + sides.len() as u64).is_err());
    drop(sides);
    for (key, value) in [
        ("num_hidden_layers", 1_000_000_000u64),
        ("num_hidden_layers", 1_024),
        ("hidden_size", 1 << 20),
        ("vocab_size", 1 << 24),
        ("intermediate_size", 1 << 20),
        ("num_attention_heads", 1 << 12),
        ("max_position_embeddings", 1 << 62),
        ("query_num", 4_096),
    ] {
        edit(&folder, "config.json", |config| {
            config["was"] = config[key].take();
            config[key] = json!(value);
        });
        refused(&folder);
        edit(&folder, "config.json", |config| config[key] = config["was"].take());
    }
    common::open(&folder).unwrap();
    edit(&many, "model.safetensors.index.json", |index| {
        let map = (0..200_000).map(|i| (format!("t{i}"), json!(format!("{i}.safetensors")))).collect();
        index["weight_map"] = serde_json::Value::Object(map);
    });
    refused(&many);
    let (grown, took) = (peak() - before, start.elapsed());
    println!("{} MiB more, {took:?}", grown >> 20);
    // The largest file above has 8 MB, and the index of 200,000 names is made and read here.
    assert!(grown < 96 << 20, "{} MiB", grown >> 20);
    assert!(took < Duration::from_secs(20), "{took:?}");
}
