//! The model on a processor: tower, prefill and decoding, on random weights of the published widths.
//!
//! A few layers stand for all, since every layer costs the same; the weights are far larger than the caches. Decoding reads every
//! weight once a token, so it stands beside a plain read of as many bytes by the same threads, in the same run.

#![allow(missing_docs, reason = "criterion's macros make public functions without documentation")]

use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use karst_benches::{machine, read_seconds, time};
use karst_checkpoint::Checkpoint;
use karst_checkpoint::random::{self, Spec};
use karst_contract::Frame;
use karst_model::cpu::{Logits, Model, Options, Row};
use karst_vision_input::{Settings, Size, View, plan, views};

const LAYERS: usize = 4;
const VISION_LAYERS: usize = 3;
const VOCABULARY: usize = 32_768;
const PREFILL: usize = 256;

/// Times each token is decoded; the best counts, because other programs only ever make it slower.
const ROUNDS: usize = 12;

fn model(folder: &Path) -> Model {
    let mut spec = Spec::published();
    spec.decoder.layers = LAYERS;
    spec.decoder.vocabulary = VOCABULARY;
    spec.vision.layers = VISION_LAYERS;
    random::write(folder, &spec, 1, &mut |_| {}).expect("a checkpoint");
    let checkpoint = Checkpoint::open(folder).expect("a checkpoint");
    Model::load(&checkpoint, &Options::default(), &|_| {}).expect("a model")
}

/// One view of the usual size, 32 x 32 patches.
fn view() -> View {
    let rgb: Vec<u8> = (0..448 * 448 * 3u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let frame = Frame::new(448, 448, rgb).expect("a frame");
    let settings = Settings::default();
    let slicing = plan(Size { width: 448, height: 448 }, 1, &settings).expect("a square");
    views(&frame, &slicing, &settings).remove(0)
}

fn forward(model: &mut Model, past: usize, ids: &[u32]) {
    let blocks: Vec<u32> = (0..model.blocks() as u32).collect();
    let row = Row { blocks: &blocks, past, ids, features: &[], logits: Logits::Last };
    model.forward(&[row]).expect("finite logits");
}

fn criterion_cases(criterion: &mut Criterion) {
    println!("{}", machine());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut model = model(folder.path());
    let view = [view()];
    let mut group =
        criterion.benchmark_group(format!("{VISION_LAYERS} of 27 vision layers, {LAYERS} of 36 decoder layers"));
    group.sample_size(10);
    group.bench_function("tower, a view of 32 x 32 patches", |bencher| bencher.iter(|| model.vision().tower(&view)));
    let prompt: Vec<u32> = (0..PREFILL as u32).collect();
    group.bench_function(format!("prefill of {PREFILL} tokens"), |bencher| {
        bencher.iter(|| forward(&mut model, 0, &prompt));
    });
    group.finish();
    decode_beside_a_read(&mut model);
}

/// The bound that decoding must keep: at most twice the time of a plain read.
fn decode_beside_a_read(model: &mut Model) {
    // Of the embedding one row is read.
    let embedding = (VOCABULARY * model.hidden() * 2) as u64;
    let bytes = model.memory().decoder - embedding;
    let words = vec![1u64; (bytes / 8) as usize];
    let (mut read, mut decode) = (f64::INFINITY, f64::INFINITY);
    for round in 0..ROUNDS {
        read = read.min(read_seconds(&words, 1));
        decode = decode.min(time(|| forward(model, PREFILL + round, &[7])).as_secs_f64());
    }
    let speed = |seconds: f64| bytes as f64 / seconds / 1e9;
    println!(
        "decode, batch 1, {LAYERS} of 36 layers and a head of {VOCABULARY} tokens: {:.0} MB a token",
        bytes as f64 / 1e6
    );
    println!("  plain read  {:8.2} ms  {:6.1} GB/s", read * 1e3, speed(read));
    println!("  decode      {:8.2} ms  {:6.1} GB/s  {:.2} times the read", decode * 1e3, speed(decode), decode / read);
}

criterion_group!(benches, criterion_cases);
criterion_main!(benches);
