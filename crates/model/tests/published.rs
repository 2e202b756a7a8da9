//! The published shapes (8 billion weights) on this machine: a random checkpoint of 7 GB is written, loaded and run.
//!
//! Takes minutes and room on the disk, so it runs when asked for:
//! `cargo test --release -p karst-model --test published -- --ignored --nocapture`

#![cfg(target_os = "linux")] // peak memory is read from /proc
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::cell::Cell;
use std::fs;
use std::time::Instant;

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

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    println!("{what}: {:.2?}, now {:.2} GB, peak {:.2} GB", start.elapsed(), gb(status("VmRSS")), gb(status("VmHWM")));
    done
}

fn gb(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[test]
#[ignore = "writes 7 GB and takes minutes"]
fn the_published_shapes_load_and_decode_within_10_gb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("published");
    timed("write", || random::write(&path, &random::Spec::published(), 1, &mut |_| {}).unwrap());
    fs::write("/proc/self/clear_refs", "5").unwrap(); // the peak counts from here
    let checkpoint = Checkpoint::open(&path).unwrap();
    let shown = Cell::new(0);
    let progress = |step: karst_contract::Progress| shown.set(shown.get().max(step.done * 100 / step.total));
    let mut model = timed("load", || Model::load(&checkpoint, &Options::default(), &progress).unwrap());
    assert_eq!(shown.get(), 100);
    drop(checkpoint);
    println!("{:?}, {} threads", model.memory(), model.threads());
    let settings = Settings::default();
    let slicing = plan(Size { width: 448, height: 448 }, 1, &settings).unwrap();
    let rgb: Vec<u8> = (0..448 * 448 * 3).map(|i| (i * 31 % 251) as u8).collect();
    let views = views(&Frame::new(448, 448, rgb).unwrap(), &slicing, &settings);
    let pack = Pack { views: vec![0], times: None };
    let features = timed("one view of 1024 patches", || model.vision().encode(&views, &[pack]).unwrap());
    let prompt: Vec<u32> = (0..96).map(|i| i * 1009 % 150_000).collect();
    let mut session = Session::on(0, 256);
    let placed = [(8, features.packs[0].as_slice())];
    let logits = timed("96 tokens of a prompt", || session.append(&mut model, &prompt, &placed, Logits::Last));
    let mut last = best(&logits[0]);
    let mut fastest = f64::INFINITY; // other programs only ever make a token slower
    timed("16 tokens of an answer", || {
        for _ in 0..16 {
            let start = Instant::now();
            last = best(&session.append(&mut model, &[last], &[], Logits::Last)[0]);
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
    });
    let weights = model.memory().decoder as f64 - 151_748.0 * 4_096.0 * 2.0; // of the embedding one row is read
    println!("at best {:.2} tokens/s, weights read at {:.1} GB/s", 1.0 / fastest, 1e-9 * weights / fastest);
    assert!(status("VmHWM") < 10_000_000_000, "peak {:.2} GB", gb(status("VmHWM")));
}
