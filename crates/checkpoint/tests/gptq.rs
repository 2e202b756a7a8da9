//! Quantised layers: every form is read exactly, and what is wrong is named.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::borrow::Cow;

use common::{File, change, edit, open, small, written};
use half::{bf16, f16};
use karst_checkpoint::random::Spec;
use karst_checkpoint::{CheckpointError, Dtype, Gptq, GptqError, Linear, Quantization, ZeroForm};
use karst_contract::{Code, Coded};
use serde_json::json;
use tempfile::TempDir;

const LAYER: &str = "llm.model.layers.0.mlp.down_proj";
const K: usize = 256;
const N: usize = 128;

fn form(bits: u32, group: Option<usize>, symmetric: bool, act_order: bool, zeros: ZeroForm) -> Quantization {
    Quantization { bits, group, symmetric, act_order, zeros }
}

fn quantised(form: Quantization) -> TempDir {
    written(&Spec { quantization: Some(form), ..small() })
}

/// The published form.
fn plain() -> TempDir {
    quantised(form(4, Some(128), true, false, ZeroForm::V1))
}

fn layer(folder: &TempDir) -> Result<Vec<f32>, CheckpointError> {
    match open(folder)?.linear(LAYER, K, N)? {
        Linear::Gptq(weight) => Ok(weight.dequantise()),
        Linear::Dense { .. } => panic!("dense"),
    }
}

fn named(part: &str) -> String {
    format!("{LAYER}.{part}")
}

/// The error after one change to the file; without it the layer is read.
fn broken(folder: &TempDir, work: impl FnOnce(&mut File)) -> CheckpointError {
    layer(folder).unwrap();
    change(folder, work);
    layer(folder).unwrap_err()
}

fn put(file: &mut File, part: &str, index: usize, bytes: &[u8]) {
    file.tensor(&named(part))[index * bytes.len()..][..bytes.len()].copy_from_slice(bytes);
}

#[test]
fn w10_scales_that_are_not_finite_or_negative_are_named() {
    let bad = [f16::NAN, f16::INFINITY, f16::NEG_INFINITY, f16::from_f32(-1e-3), -f16::MIN_POSITIVE_SUBNORMAL];
    for (index, value) in bad.into_iter().enumerate() {
        let error = broken(&plain(), |file| put(file, "scales", index + 130, &value.to_le_bytes()));
        let CheckpointError::Gptq(GptqError::Scale { tensor, index: found, .. }) = &error else { panic!("{error}") };
        assert_eq!((tensor.as_str(), *found), (named("scales").as_str(), index + 130));
        assert_eq!(error.code(), Code::InvalidCheckpoint);
    }
}

#[test]
fn w10_subnormal_and_zero_scales_are_scales() {
    for value in [f16::MIN_POSITIVE_SUBNORMAL, f16::ZERO, f16::NEG_ZERO, f16::MAX] {
        let folder = plain();
        change(&folder, |file| {
            put(file, "scales", 5, &value.to_le_bytes());
            put(file, "qweight", 5, &0xfedc_ba90_u32.to_le_bytes());
        });
        let expected = [-8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0].map(|steps| steps * value.to_f32());
        assert_eq!(layer(&folder).unwrap()[5 * K..][..8], expected, "{value}");
    }
}

#[test]
fn w10_norms_that_are_not_finite_are_named() {
    let name = "llm.model.layers.0.self_attn.k_norm.weight";
    for value in [f16::NAN, f16::INFINITY] {
        let folder = plain();
        assert_eq!(open(&folder).unwrap().norm(name, 64).unwrap().len(), 64);
        change(&folder, |file| file.tensor(name)[2 * 9..][..2].copy_from_slice(&value.to_le_bytes()));
        let error = open(&folder).unwrap().norm(name, 64).unwrap_err();
        assert_eq!(error.to_string(), format!("tensor {name} holds {} at index 9", value.to_f32()));
    }
}

#[test]
fn w10_wider_scales_are_rounded_to_half_and_refused_beyond_it() {
    let scale = 0.001_234_567_f32;
    let wide = |dtype: &'static str, bytes: Vec<u8>| {
        let folder = plain();
        change(&folder, |file| file.replace(&named("scales"), Some((dtype, &[2, N], bytes))));
        match open(&folder)?.linear(LAYER, K, N)? {
            Linear::Gptq(weight) => Ok(weight.scales[3]),
            Linear::Dense { .. } => panic!("dense"),
        }
    };
    let f32s = |scale: f32| scale.to_le_bytes().repeat(2 * N);
    assert_eq!(wide("F32", f32s(scale)).unwrap(), f16::from_f32(scale));
    let brain = bf16::from_f32(scale);
    assert_eq!(wide("BF16", brain.to_le_bytes().repeat(2 * N)).unwrap().to_f32(), brain.to_f32());
    for bad in [f32::NAN, f32::INFINITY, -1e-3] {
        assert!(matches!(wide("F32", f32s(bad)), Err(CheckpointError::Gptq(GptqError::Scale { index: 0, .. }))));
    }
    let error = wide("F32", f32s(1e5)).unwrap_err();
    assert!(matches!(error, CheckpointError::Gptq(GptqError::LargeScale { .. })), "{error}");
    assert!(matches!(wide("I32", f32s(1.0)), Err(CheckpointError::Dtype { found: Dtype::I32, .. })));
}

#[test]
fn w11_groups_that_do_not_exist_are_named() {
    for group in [2, 3, -1, i32::MIN, i32::MAX] {
        let error = broken(&plain(), |file| put(file, "g_idx", 200, &group.to_le_bytes()));
        let CheckpointError::Gptq(GptqError::Group { tensor, input: 200, group: found, groups: 2 }) = &error else {
            panic!("{error}")
        };
        assert_eq!((tensor.as_str(), *found), (named("g_idx").as_str(), group));
    }
}

/// The layer's rows in another order of inputs are the same rows.
#[test]
fn w11_any_order_of_inputs_is_read() {
    let folder = plain();
    let before = layer(&folder).unwrap();
    let order: Vec<usize> = (0..K).map(|k| (k * 37 + 11) % K).collect(); // 37 and 256 share no divisor
    change(&folder, |file| {
        let codes = file.tensor(&named("qweight")).to_vec();
        let word = |k: usize, n: usize| u32::from_le_bytes(codes[4 * (k / 8 * N + n)..][..4].try_into().unwrap());
        for n in 0..N {
            for row in 0..K / 8 {
                let code = |place: usize| word(order[row * 8 + place], n) >> (order[row * 8 + place] % 8 * 4) & 15;
                let packed = (0..8).fold(0, |packed, place| packed | code(place) << (4 * place));
                put(file, "qweight", row * N + n, &packed.to_le_bytes());
            }
        }
        order.iter().enumerate().for_each(|(at, &k)| put(file, "g_idx", at, &(k as u32 / 128).to_le_bytes()));
    });
    let after = layer(&folder).unwrap();
    for n in 0..N {
        order.iter().enumerate().for_each(|(at, &k)| assert_eq!(after[n * K + at], before[n * K + k]));
    }
}

#[test]
fn w11_group_indices_may_be_absent_only_without_act_order() {
    let folder = plain();
    let before = layer(&folder).unwrap();
    change(&folder, |file| file.replace(&named("g_idx"), None));
    assert_eq!(layer(&folder).unwrap(), before);
    let error =
        broken(&quantised(form(4, Some(128), true, true, ZeroForm::V1)), |file| file.replace(&named("g_idx"), None));
    assert_eq!(error.to_string(), format!("the checkpoint has no tensor {}", named("g_idx")));
}

#[test]
fn w11_parts_of_the_wrong_shape_or_type_are_named() {
    let parts: [(&str, &str, &[usize], usize); 8] = [
        ("qzeros", "I32", &[1, N / 8], 4),
        ("qzeros", "I32", &[2, N / 8 + 1], 4),
        ("qzeros", "F32", &[2, N / 8], 4),
        ("scales", "F16", &[3, N], 2),
        ("scales", "F16", &[2 * N], 2),
        ("g_idx", "I32", &[K - 1], 4),
        ("g_idx", "I64", &[K], 8),
        ("qweight", "U32", &[K / 8, N], 4),
    ];
    for (part, dtype, shape, size) in parts {
        let error = broken(&plain(), |file| {
            let bytes = vec![1; shape.iter().product::<usize>() * size];
            file.replace(&named(part), Some((dtype, shape, bytes)));
        });
        assert!(matches!(error, CheckpointError::Shape { .. } | CheckpointError::Dtype { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("tensor {} ", named(part))), "{error}");
    }
    for part in ["qzeros", "scales"] {
        let error = broken(&plain(), |file| file.replace(&named(part), None));
        assert_eq!(error.to_string(), format!("the checkpoint has no tensor {}", named(part)));
    }
}

#[test]
fn w11_sides_that_do_not_fill_words_are_named() {
    let checkpoint = plain();
    let checkpoint = open(&checkpoint).unwrap();
    for (k, n, what) in [(252, N, "252 inputs"), (K, 124, "124 outputs"), (0, N, "0 inputs")] {
        let error = checkpoint.linear(LAYER, k, n).unwrap_err();
        assert!(matches!(error, CheckpointError::Gptq(GptqError::NotWhole { .. })), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    assert!(matches!(checkpoint.linear(LAYER, K + 8, N), Err(CheckpointError::Shape { .. })));
}

#[test]
fn w11_a_last_group_may_be_shorter_and_a_group_larger_than_the_layer_is_one() {
    for (group, groups) in [(None, 1), (Some(96), 3), (Some(32), 8), (Some(64), 4), (Some(256), 1), (Some(1024), 1)] {
        for bits in [4, 8] {
            let folder = quantised(form(bits, group, false, false, ZeroForm::V1));
            let checkpoint = open(&folder).unwrap();
            let Linear::Gptq(weight) = checkpoint.linear(LAYER, K, N).unwrap() else { panic!("dense") };
            assert_eq!((weight.groups(), weight.scales.len()), (groups, groups * N), "{group:?}");
            assert_eq!(weight.group_of(K - 1), groups - 1);
            assert_eq!(weight.dequantise().len(), K * N);
        }
    }
}

#[test]
fn w11_a_file_of_the_other_form_of_zero_points_is_refused() {
    for (declared, name) in [(ZeroForm::V1, "gptq_v2"), (ZeroForm::V2, "gptq")] {
        for bits in [4, 8] {
            let folder = quantised(form(bits, Some(128), true, false, declared));
            layer(&folder).unwrap();
            std::fs::remove_file(folder.path().join("quantize_config.json")).unwrap();
            edit(&folder, "config.json", |config| config["quantization_config"]["checkpoint_format"] = json!(name));
            let error = layer(&folder).unwrap_err();
            assert!(matches!(error, CheckpointError::Gptq(GptqError::OtherForm { .. })), "{error}");
            assert!(error.to_string().ends_with(&format!("but {name} is declared")), "{error}");
        }
    }
}

#[test]
fn w11_a_zero_point_off_the_middle_is_no_symmetric_layer() {
    // Zero point 9 of output 10 in group 1: word 1 of the group's row, place 2.
    let error = broken(&plain(), |file| put(file, "qzeros", N / 8 + 1, &0x7777_7877u32.to_le_bytes()));
    let expected = GptqError::NotSymmetric { tensor: named("qzeros"), group: 1, output: 10, zero: 9, middle: 8 };
    assert!(matches!(&error, CheckpointError::Gptq(found) if *found == expected), "{error}");
}

/// Stored less one, the highest code stands for zero. Adding one to the whole word would carry into its neighbour.
#[test]
fn w11_the_highest_stored_zero_point_wraps_within_its_field() {
    for (bits, zeros, expected) in [(4, 0xffff_f0ffu32, [0, 0, 1, 0]), (8, 0xff00_ff7f, [128, 0, 1, 0])] {
        let folder = quantised(form(bits, None, false, false, ZeroForm::V1));
        change(&folder, |file| put(file, "qzeros", 0, &zeros.to_le_bytes()));
        let checkpoint = open(&folder).unwrap();
        let Linear::Gptq(weight) = checkpoint.linear(LAYER, K, N).unwrap() else { panic!("dense") };
        assert_eq!(weight.zeros.as_ref().unwrap()[..4], expected);
        assert_eq!(
            weight.dequantise()[0],
            (weight.code(0, 0) as f32 - f32::from(expected[0])) * weight.scales[0].to_f32()
        );
    }
}

#[test]
fn zero_points_that_are_all_the_middle_are_not_kept() {
    for symmetric in [true, false] {
        let folder = plain();
        std::fs::remove_file(folder.path().join("quantize_config.json")).unwrap();
        edit(&folder, "config.json", |config| config["quantization_config"]["sym"] = json!(symmetric));
        let checkpoint = open(&folder).unwrap();
        assert!(matches!(checkpoint.linear(LAYER, K, N).unwrap(), Linear::Gptq(Gptq { zeros: None, .. })));
    }
}

#[test]
fn biases_of_zeros_are_dropped_and_others_refused() {
    let folder = written(&Spec { zero_biases: true, ..small() });
    assert!(open(&folder).unwrap().tensor(&named("bias")).is_ok());
    assert!(open(&folder).unwrap().unused().is_empty());
    layer(&folder).unwrap();
    change(&folder, |file| put(file, "bias", 3, &f16::ONE.to_le_bytes()));
    let error = layer(&folder).unwrap_err();
    assert!(matches!(error, CheckpointError::Gptq(GptqError::Bias { index: 3, value: 1.0, .. })), "{error}");
    assert_eq!(error.code(), Code::UnsupportedCheckpoint);
}

#[test]
fn codes_beside_numbers_are_refused() {
    let error = broken(&plain(), |file| {
        file.replace(&named("weight"), Some(("F16", &[N, K], vec![0; 2 * N * K])));
    });
    assert!(matches!(error, CheckpointError::Gptq(GptqError::Both { .. })), "{error}");
}

#[test]
fn a_quantised_head_is_found_by_its_codes() {
    let folder = plain();
    change(&folder, |file| {
        for part in ["qweight", "qzeros", "scales", "g_idx"] {
            let (shape, bytes): (&[usize], usize) = match part {
                "qweight" => (&[16, 320], 4 * 16 * 320),
                "qzeros" => (&[1, 40], 4 * 40),
                "scales" => (&[1, 320], 2 * 320),
                _ => (&[128], 4 * 128),
            };
            let fill = if part == "g_idx" { 0 } else { 0x77 };
            let bytes = if part == "scales" { f16::ONE.to_le_bytes().repeat(320) } else { vec![fill; bytes] };
            let dtype = if part == "scales" { "F16" } else { "I32" };
            file.replace(&format!("llm.lm_head.{part}"), Some((dtype, shape, bytes)));
        }
        file.replace("llm.lm_head.weight", None);
    });
    let checkpoint = open(&folder).unwrap();
    let Linear::Gptq(head) = checkpoint.linear("llm.lm_head", 128, 320).unwrap() else { panic!("dense") };
    assert!(head.dequantise().iter().all(|&weight| weight == -1.0));
    assert!(checkpoint.unused().is_empty());
}

/// Tensors of odd length before the codes put them where no `u32` may lie.
#[test]
fn codes_that_are_not_aligned_are_read_all_the_same() {
    let folder = plain();
    let before = layer(&folder).unwrap();
    for shift in 1..4 {
        change(&folder, |file| file.replace("a", Some(("U8", &[shift], vec![9; shift]))));
        let checkpoint = open(&folder).unwrap();
        let Linear::Gptq(weight) = checkpoint.linear(LAYER, K, N).unwrap() else { panic!("dense") };
        assert_eq!(weight.dequantise(), before);
        assert_eq!(checkpoint.unused(), ["a"]);
    }
}

#[test]
fn aligned_codes_are_not_copied() {
    let folder = plain();
    let checkpoint = open(&folder).unwrap();
    let Linear::Gptq(weight) = checkpoint.linear(LAYER, K, N).unwrap() else { panic!("dense") };
    assert!(matches!(weight.qweight, Cow::Borrowed(_)));
}

/// Packing codes and reading them is the identity for every shape of the model, at full size.
#[test]
fn w12_packed_codes_are_read_back_for_every_shape_of_the_model() {
    let spec = Spec::published().decoder;
    let (h, q, kv, i) = (spec.hidden, spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim, spec.intermediate);
    for (k, n) in [(h, q), (h, kv), (q, h), (h, i), (i, h)] {
        for bits in [4, 8] {
            let per_word = 32 / bits as usize;
            let code = |k: usize, n: usize| {
                (k.wrapping_mul(2_654_435_761) ^ n.wrapping_mul(40_503)) as u32 >> 7 & ((1 << bits) - 1)
            };
            let mut words = vec![0; k / per_word * n];
            for row in 0..k {
                let place = (row % per_word) as u32 * bits;
                words[row / per_word * n..][..n]
                    .iter_mut()
                    .enumerate()
                    .for_each(|(n, word)| *word |= code(row, n) << place);
            }
            let (scales, order, zeros) = (vec![f16::ONE; n], None, None);
            let weight = Gptq { bits, k, n, group: k, order, qweight: words.into(), zeros, scales };
            assert!((0..k).all(|k| (0..n).all(|n| weight.code(n, k) == code(k, n))), "{k} x {n}, {bits} bits");
        }
    }
}
