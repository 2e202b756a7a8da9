//! The published shapes (8 billion weights) on this machine: a random checkpoint of 7 GB is written, loaded and run.
//!
//! Takes minutes and room on the disk, so it runs when asked for:
//! `cargo test --release -p karst-model --test published -- --ignored --nocapture`

#![cfg(target_os = "linux")] // peak memory is read from /proc
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::cell::Cell;
use std::fs;
use std::time::{Duration, Instant};

use common::{Session, best};
use karst_checkpoint::{Checkpoint, random};
use karst_contract::Frame;
use karst_model::cpu::{Logits, Model, Options};
use karst_vision_input::{Pack, Settings, Size, plan, views};

/// Bytes that `field` of the process's status says.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    let took = start.elapsed();
    println!("{what}: {took:.2?}, now {:.2} GB, peak {:.2} GB", gb(status("VmRSS")), gb(status("VmHWM")));
    (done, took)
}

fn gb(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[test]
#[ignore = "writes 7 GB and takes minutes"]
fn the_published_shapes_load_and_decode_within_10_gb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("published");
    let spec = random::Spec { shard_bytes: 1 << 30, ..random::Spec::published() };
    timed("write", || random::write(&path, &spec, 1, &mut |_| {}).unwrap());
    fs::write("/proc/self/clear_refs", "5").unwrap(); // the peak counts from here
    let checkpoint = Checkpoint::open(&path).unwrap();
    let shown = Cell::new(0);
    let progress = |step: karst_contract::Progress| shown.set(shown.get().max(step.done * 100 / step.total));
    let (mut model, _) = timed("load", || Model::load(&checkpoint, &Options::default(), &progress).unwrap());
    assert_eq!(shown.get(), 100);
    drop(checkpoint);
    println!("{:?}, {} threads", model.memory(), model.threads());
    let settings = Settings::default();
    let slicing = plan(Size { width: 448, height: 448 }, 1, &settings).unwrap();
    let rgb: Vec<u8> = (0..448 * 448 * 3).map(|i| (i * 31 % 251) as u8).collect();
    let views = views(&Frame::new(448, 448, rgb).unwrap(), &slicing, &settings);
    let pack = Pack { views: vec![0], times: None };
    let (features, _) = timed("one view of 1024 patches", || model.encode(&views, &[pack]).unwrap());
    let prompt: Vec<u32> = (0..96).map(|i| i * 1009 % 150_000).collect();
    let mut session = Session::on(0, 256);
    let placed = [(8, features.packs[0].as_slice())];
    let (logits, _) = timed("96 tokens of a prompt", || session.append(&mut model, &prompt, &placed, Logits::Last));
    let mut last = best(&logits[0]);
    let (_, took) = timed("16 tokens of an answer", || {
        for _ in 0..16 {
            last = best(&session.append(&mut model, &[last], &[], Logits::Last)[0]);
        }
    });
    let weights = model.memory().decoder as f64 - 151_748.0 * 4_096.0 * 2.0; // of the embedding one row is read
    println!(
        "{:.2} tokens/s, weights read at {:.1} GB/s",
        16.0 / took.as_secs_f64(),
        16e-9 * weights / took.as_secs_f64()
    );
    assert!(status("VmHWM") < 10_000_000_000, "peak {:.2} GB", gb(status("VmHWM")));
}
