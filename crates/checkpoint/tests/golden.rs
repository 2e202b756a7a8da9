//! The checkpoints that the project ships: all open, and every layer of them can be read.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use karst_checkpoint::{Checkpoint, Gptq, Linear, Quantization, ZeroForm};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tiny() -> Vec<(String, Checkpoint)> {
    let folders = fs::read_dir(project().join("tests/golden/tiny")).unwrap().map(|entry| entry.unwrap());
    folders.map(|entry| (entry.file_name().into_string().unwrap(), Checkpoint::open(&entry.path()).unwrap())).collect()
}

#[test]
fn every_layer_of_every_checkpoint_dequantises() {
    let checkpoints = tiny();
    assert!(checkpoints.len() >= 7, "{} were found", checkpoints.len());
    for (name, checkpoint) in &checkpoints {
        let mut quantised = 0;
        for (layer, k, n) in common::linears(checkpoint) {
            match checkpoint.linear(&layer, k, n).unwrap() {
                Linear::Dense { weight, .. } => assert_eq!(weight.to_finite_f32().unwrap().len(), n * k),
                Linear::Gptq(weight) => {
                    quantised += 1;
                    assert_eq!(weight.dequantise(), plainly(checkpoint, &layer, k, n), "{name}: {layer}");
                }
            }
            assert!(checkpoint.linear(&layer, k, n + 8).is_err());
        }
        let layers = checkpoint.config().decoder.layers;
        assert_eq!(quantised, if name == "bf16" { 0 } else { 7 * layers }, "{name}");
    }
}

/// The weight [N, K] read from the raw tensors bit by bit, by other code than the crate's.
fn plainly(checkpoint: &Checkpoint, layer: &str, k: usize, n: usize) -> Vec<f32> {
    let form = checkpoint.config().quantization.as_ref().unwrap();
    let part = |part: &str| checkpoint.tensor(&format!("{layer}.{part}")).unwrap();
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[4 * at..][..4].try_into().unwrap());
    let (codes, zeros, order) = (part("qweight").bytes, part("qzeros").bytes, part("g_idx").bytes);
    let scales = part("scales").to_f32().unwrap();
    let (bits, per_word) = (form.bits as usize, 32 / form.bits as usize);
    let field = |word: u32, place: usize| (0..bits).map(|bit| (word >> (place * bits + bit) & 1) << bit).sum::<u32>();
    let mut weight = vec![f32::NAN; n * k];
    for input in 0..k {
        let group = word(order, input) as usize;
        for output in 0..n {
            let code = field(word(codes, input / per_word * n + output), input % per_word);
            let stored = field(word(zeros, group * (n / per_word) + output / per_word), output % per_word);
            let zero = if form.zeros == ZeroForm::V1 { (stored + 1) % (1 << bits) } else { stored };
            weight[output * k + input] = (f64::from(code) - f64::from(zero)) as f32 * scales[group * n + output];
        }
    }
    weight
}

fn gptq<'a>(checkpoint: &'a Checkpoint, layer: &str, k: usize, n: usize) -> Gptq<'a> {
    match checkpoint.linear(layer, k, n).unwrap() {
        Linear::Gptq(weight) => weight,
        Linear::Dense { .. } => panic!("{layer} is dense"),
    }
}

#[test]
fn each_form_is_read_as_what_it_is() {
    for (name, checkpoint) in tiny() {
        let form =
            |bits, group, symmetric, act_order, zeros| Some(Quantization { bits, group, symmetric, act_order, zeros });
        let expected = match name.as_str() {
            "gptq-sym-g128" | "gptq-drop-last-vision-layer" => form(4, Some(128), true, false, ZeroForm::V1),
            "gptq-actorder-asym-g128" => form(4, Some(128), false, true, ZeroForm::V1),
            "gptq-v2-g32" => form(4, Some(32), true, false, ZeroForm::V2),
            "gptq-g-1" => form(4, None, true, false, ZeroForm::V1),
            "gptq-8bit-g128" => form(8, Some(128), true, false, ZeroForm::V1),
            "bf16" => None,
            other => panic!("{other} is not known to this test"),
        };
        assert_eq!(checkpoint.config().quantization, expected, "{name}");
        let Some(form) = expected else { continue };
        let (hidden, inner) = (checkpoint.config().decoder.hidden, checkpoint.config().decoder.intermediate);
        let down = gptq(&checkpoint, "llm.model.layers.0.mlp.down_proj", inner, hidden);
        assert_eq!(down.zeros.is_none(), form.symmetric, "{name}");
        assert_eq!(down.order.is_some(), form.act_order, "{name}");
        assert_eq!(down.groups(), form.group.map_or(1, |group| inner / group), "{name}");
        assert!(checkpoint.unused().is_empty(), "{name}: {:?}", checkpoint.unused());
    }
}

#[test]
fn the_dropped_vision_layer_is_honoured() {
    for (name, checkpoint) in tiny() {
        let vision = &checkpoint.config().vision;
        let dropped = name == "gptq-drop-last-vision-layer";
        assert_eq!(vision.drop_last_layer, dropped, "{name}");
        assert_eq!(vision.used_layers(), vision.layers - usize::from(dropped), "{name}");
    }
}

#[test]
fn the_demo_model_opens() {
    let checkpoint = Checkpoint::open(&project().join("models/demo")).unwrap();
    assert_eq!(checkpoint.config().eos, [1203, 1201]);
    assert_eq!(checkpoint.config().preprocessing.max_slices, 9);
    assert!(checkpoint.unused().is_empty());
    for (layer, k, n) in common::linears(&checkpoint) {
        checkpoint.linear(&layer, k, n).unwrap();
    }
}

/// The published configuration is not ours to ship; where it lies beside the project, it must be accepted.
#[test]
fn the_published_configuration_is_accepted() {
    let published = project().join("../shared/golden/minicpm-v-4_5");
    if !published.is_dir() {
        eprintln!("skipped: {} is absent", published.display());
        return;
    }
    // It has no weights, so what is missing must be the first shard and nothing before it.
    let error = Checkpoint::open(&published).unwrap_err().to_string();
    assert!(error.ends_with("has no file model-00001-of-00004.safetensors"), "{error}");
}
