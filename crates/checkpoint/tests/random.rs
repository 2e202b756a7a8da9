//! Random checkpoints: the published sizes to the byte, every form readable, and numbers that a model can run on.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{open, small, written};
use karst_checkpoint::random::{self, RandomError, Spec};
use karst_checkpoint::{Dtype, Linear, Quantization, ZeroForm};
use karst_contract::Progress;
use serde_json::Value;

#[test]
fn the_published_sizes_come_out_to_the_byte() {
    let plan = random::plan(&Spec::published()).unwrap();
    assert_eq!(plan.tensors().count(), 1_605);
    assert_eq!(plan.bytes(), 7_114_107_360);
    let bytes = |wanted: &dyn Fn(&str) -> bool| -> u64 {
        plan.tensors().filter(|tensor| wanted(&tensor.name)).map(random::Planned::bytes).sum()
    };
    let part = |name: &str| name.rsplit('.').next().unwrap().to_owned();
    let quantised = |name: &str| matches!(part(name).as_str(), "qweight" | "qzeros" | "scales" | "g_idx");
    assert_eq!(bytes(&quantised), 3_613_851_648);
    assert_eq!(bytes(&|name| quantised(name) && name.contains("layers.17.")), 100_384_768);
    assert_eq!(bytes(&|name| name == "llm.lm_head.weight"), 1_243_119_616);
    assert_eq!(bytes(&|name| name == "llm.model.embed_tokens.weight"), 1_243_119_616);
    assert_eq!(bytes(&|name| name.starts_with("llm.") && name.contains("norm")), 616_448);
    assert_eq!(bytes(&|name| name.starts_with("vpm.")), 2 * 417_792_240);
    assert_eq!(bytes(&|name| name.starts_with("resampler.")), 2 * 88_907_776);
}

#[test]
fn the_published_weights_lie_in_two_shards_split_by_name() {
    let plan = random::plan(&Spec::published()).unwrap();
    let shards: Vec<_> = plan.shards().collect();
    assert_eq!(shards.len(), 2);
    assert_eq!(shards[0].0, "model-00001-of-00002.safetensors");
    let layers = |tensors: &[random::Planned]| -> BTreeSet<String> {
        let layer =
            |name: &str| name.strip_prefix("llm.model.layers.")?.split_once('.').map(|(layer, _)| layer.to_owned());
        tensors.iter().filter_map(|tensor| layer(&tensor.name)).collect()
    };
    let first = shards[0].1.iter().map(random::Planned::bytes).sum::<u64>();
    assert!((4u64 << 30) - first < 20 << 20, "{first}");
    let whole: Vec<_> = layers(shards[0].1).difference(&layers(shards[1].1)).cloned().collect();
    assert_eq!(whole.len(), 18, "{whole:?}");
    assert!(whole.contains(&"10".into()) && !whole.contains(&"9".into()));
    // The unquantised model, in the published count of parameters.
    let dense = Spec { quantization: None, dtype: Dtype::BF16, ..Spec::published() };
    let dense = random::plan(&dense).unwrap();
    assert_eq!((dense.tensors().count(), dense.bytes()), (849, 17_391_790_560));
}

fn forms() -> Vec<Option<Quantization>> {
    let mut forms = vec![None];
    for bits in [4, 8] {
        for group in [None, Some(32), Some(64), Some(128), Some(256)] {
            for (symmetric, act_order) in [(true, false), (false, false), (true, true), (false, true)] {
                for zeros in [ZeroForm::V1, ZeroForm::V2] {
                    forms.push(Some(Quantization { bits, group, symmetric, act_order, zeros }));
                }
            }
        }
    }
    forms
}

#[test]
fn every_form_can_be_written_and_read() {
    for quantization in forms() {
        for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
            let folder = written(&Spec { quantization: quantization.clone(), dtype, ..small() });
            let checkpoint = open(&folder).unwrap();
            assert_eq!(checkpoint.config().quantization, quantization);
            assert!(checkpoint.unused().is_empty());
            for (layer, k, n) in common::linears(&checkpoint) {
                match checkpoint.linear(&layer, k, n).unwrap() {
                    Linear::Dense { weight, .. } => assert_eq!(weight.dtype, dtype),
                    Linear::Gptq(weight) => {
                        let form = quantization.as_ref().unwrap();
                        let groups = form.group.map_or(1, |group| k.div_ceil(group));
                        assert_eq!(weight.order.is_some(), form.act_order && groups > 1, "{form:?}");
                        assert_eq!(weight.zeros.is_some(), !form.symmetric, "{form:?}");
                    }
                }
            }
        }
    }
}

/// Of a layer with K inputs, each output of unit inputs deviates by about one.
#[test]
fn layers_keep_the_size_of_what_passes_through_them() {
    for quantization in forms() {
        let even = quantization.as_ref().is_none_or(|form| form.symmetric);
        let folder = written(&Spec { quantization, ..small() });
        let checkpoint = open(&folder).unwrap();
        for (layer, k, n) in common::linears(&checkpoint) {
            let weight = match checkpoint.linear(&layer, k, n).unwrap() {
                Linear::Dense { weight, .. } => weight.to_finite_f32().unwrap(),
                Linear::Gptq(weight) => weight.dequantise(),
            };
            let square = weight.iter().map(|&weight| f64::from(weight).powi(2)).sum::<f64>() / n as f64;
            let expected = if layer == "llm.lm_head" { 9.0 } else { 1.0 };
            assert!((square / expected - 1.0).abs() < 0.1, "{layer}: {square}");
            // What all weights share would grow from layer to layer, and every prompt would get the same answer.
            let shared = weight.iter().map(|&weight| f64::from(weight)).sum::<f64>() / n as f64;
            assert!(shared.abs() < 0.5 || !even, "{layer}: {shared}");
            assert!(weight.iter().all(|weight| weight.is_finite()));
        }
        let factors = checkpoint.norm("llm.model.norm.weight", 128).unwrap();
        assert!(factors.iter().all(|factor| (0.8..1.2).contains(factor)));
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers_however_they_are_spread() {
    let (one, many) = (written(&small()), common::sharded());
    let (one, many) = (open(&one).unwrap(), open(&many).unwrap());
    assert_eq!(one.names().count(), many.names().count());
    for name in one.names() {
        assert_eq!(one.tensor(name).unwrap(), many.tensor(name).unwrap());
    }
    let other = tempfile::tempdir().unwrap();
    random::write(other.path(), &small(), 2, &mut |_| {}).unwrap();
    let other = open(&other).unwrap();
    let (a, b) = (one.tensor("llm.lm_head.weight").unwrap(), other.tensor("llm.lm_head.weight").unwrap());
    assert_ne!(a.bytes, b.bytes);
    assert_ne!(a.bytes, one.tensor("llm.model.embed_tokens.weight").unwrap().bytes);
}

#[test]
fn files_are_laid_out_as_the_published_ones() {
    let folder = common::sharded();
    for path in common::shards(&folder) {
        let bytes = fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(length % 8, 0);
        let file = common::File::read(&path);
        assert!(!file.header.contains_key("__metadata__"));
        let order: Vec<_> = file.header.iter().map(|(name, entry)| (entry["dtype"] == "F16", name)).collect();
        assert!(order.is_sorted(), "{order:?}");
        for entry in file.header.values() {
            let size = if entry["dtype"] == "F16" { 2 } else { 4 };
            assert_eq!(entry["data_offsets"][0].as_u64().unwrap() % size, 0);
        }
    }
    let index: Value =
        serde_json::from_slice(&fs::read(folder.path().join("model.safetensors.index.json")).unwrap()).unwrap();
    assert_eq!(index["metadata"]["total_size"], open(&folder).unwrap().bytes());
    assert!(index["weight_map"].as_object().unwrap().keys().is_sorted());
}

/// Headers of real models are longer than 64 kB.
#[test]
fn a_long_header_is_written_whole() {
    let mut spec = small();
    spec.decoder.layers = 40;
    let folder = written(&spec);
    let bytes = fs::read(folder.path().join("model.safetensors")).unwrap();
    assert!(u64::from_le_bytes(bytes[..8].try_into().unwrap()) > 1 << 16);
    assert_eq!(open(&folder).unwrap().config().decoder.layers, 40);
}

#[test]
fn the_tokenizer_has_every_byte_and_a_token_for_every_id() {
    let folder = written(&small());
    let checkpoint = open(&folder).unwrap();
    let tokenizer: Value = serde_json::from_slice(checkpoint.tokenizer_json()).unwrap();
    let vocab = tokenizer["model"]["vocab"].as_object().unwrap();
    let mut ids: Vec<u64> = vocab.values().map(|id| id.as_u64().unwrap()).collect();
    let added = tokenizer["added_tokens"].as_array().unwrap();
    ids.extend(added.iter().map(|token| token["id"].as_u64().unwrap()));
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..checkpoint.config().decoder.vocabulary as u64));
    let id =
        |content: &str| added.iter().find(|token| token["content"] == content).unwrap()["id"].as_u64().unwrap() as u32;
    assert_eq!(checkpoint.config().eos, [id("<|im_end|>"), id("<|endoftext|>")]);
    // The letters of byte-level tokenizers, where they are known.
    for (letter, byte) in
        [("!", 33), ("~", 126), ("Ġ", 32), ("Ċ", 10), ("Ā", 0), ("ġ", 127), ("ł", 160), ("Ń", 173), ("ÿ", 255)]
    {
        assert_eq!(vocab[letter], byte, "{letter}");
    }
}

/// The made tokenizer has the added tokens and the rules of the shipped ones, which were made by other code.
#[test]
fn the_tokenizer_is_of_the_family() {
    let folder = written(&small());
    let made: Value = serde_json::from_slice(&fs::read(folder.path().join("tokenizer.json")).unwrap()).unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/tokenizer.json");
    let shipped: Value = serde_json::from_slice(&fs::read(shipped).unwrap()).unwrap();
    for key in ["normalizer", "pre_tokenizer", "post_processor", "decoder", "truncation", "padding"] {
        assert_eq!(made[key], shipped[key], "{key}");
    }
    let tokens = |tokenizer: &Value| -> Vec<Value> {
        let mut tokens = tokenizer["added_tokens"].as_array().unwrap().clone();
        tokens.iter_mut().for_each(|token| token["id"] = Value::Null);
        tokens
    };
    assert_eq!(tokens(&made), tokens(&shipped));
}

#[test]
fn prompts_can_be_made_with_the_tokenizer() {
    let tokenizer = karst_prompt::Tokenizer::from_bytes(open(&written(&small())).unwrap().tokenizer_json()).unwrap();
    assert_eq!(tokenizer.vocabulary_len(), small().decoder.vocabulary);
    let text = "Is \u{1f4a1} <|im_end|> é\u{a0}?\n";
    let ids = tokenizer.encode_text(text);
    assert_eq!((ids.len(), tokenizer.decode(&ids).as_str()), (text.len(), text));
    assert_eq!(tokenizer.encode_with_control("<|im_end|>"), [tokenizer.control().im_end]);
    assert!((0..320).all(|id| tokenizer.token_bytes(id).is_some_and(|bytes| !bytes.is_empty())));
}

#[test]
fn a_given_tokenizer_is_copied() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/tokenizer.json");
    let with = |vocabulary| {
        let mut spec = Spec { tokenizer: Some(path.into()), ..small() };
        spec.decoder.vocabulary = vocabulary;
        let folder = tempfile::tempdir().unwrap();
        random::write(folder.path(), &spec, 1, &mut |_| {}).map(|_| open(&folder).unwrap())
    };
    let checkpoint = with(1_284).unwrap();
    assert_eq!(checkpoint.tokenizer_json(), fs::read(path).unwrap());
    assert_eq!(checkpoint.config().eos, [1_203, 1_201]);
    assert!(matches!(with(1_242), Err(RandomError::Vocabulary { vocabulary: 1_242, tokens: 1_243 })));
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let refused = |spec: Spec| {
        let folder = tempfile::tempdir().unwrap();
        let error = random::write(folder.path(), &spec, 1, &mut |_| {}).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{error}");
        error
    };
    let mut spec = small();
    spec.decoder.kv_heads = 3;
    assert!(matches!(refused(spec), RandomError::Config(_)));
    let mut spec = small();
    spec.decoder.intermediate = 100;
    assert!(matches!(refused(spec), RandomError::NotWhole { n: 100, .. }));
    let mut spec = small();
    spec.decoder.vocabulary = 298;
    assert!(matches!(refused(spec), RandomError::Vocabulary { tokens: 299, .. }));
    assert!(matches!(refused(Spec { dtype: Dtype::I32, ..small() }), RandomError::Dtype { dtype: Dtype::I32 }));
    let folder = written(&small());
    let before = fs::read(folder.path().join("config.json")).unwrap();
    let error = random::write(folder.path(), &Spec::tiny(), 1, &mut |_| {}).unwrap_err();
    assert!(matches!(error, RandomError::NotEmpty { .. }), "{error}");
    assert_eq!(fs::read(folder.path().join("config.json")).unwrap(), before);
}

#[test]
fn progress_reaches_the_total() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen: Vec<Progress> = Vec::new();
    let plan = random::write(folder.path(), &Spec::tiny(), 1, &mut |progress| seen.push(progress)).unwrap();
    assert!(seen.is_sorted_by_key(|progress| progress.done));
    assert_eq!(seen.last().map(|progress| (progress.done, progress.total)), Some((plan.bytes(), plan.bytes())));
    assert_eq!(open(&folder).unwrap().bytes(), plan.bytes());
}

#[test]
fn a_tied_head_is_not_written_twice() {
    let mut spec = small();
    spec.decoder.tied_head = true;
    let folder = written(&spec);
    let checkpoint = open(&folder).unwrap();
    assert!(checkpoint.config().decoder.tied_head);
    assert!(checkpoint.tensor("llm.lm_head.weight").is_err());
}
