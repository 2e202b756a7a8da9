//! Configuration files. Each wrong value stands beside the right one that it replaced.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::fs;

use common::{edit, open, refused, small, written};
use karst_checkpoint::random::Spec;
use karst_checkpoint::{CheckpointError, ConfigError};
use karst_contract::{Code, Coded};
use serde_json::{Value, json};
use tempfile::TempDir;

const CONFIG: &str = "config.json";

/// Sets the key at `path` (keys joined by `/`); `None` takes it away.
fn set(value: &mut Value, path: &str, new: Option<Value>) {
    let (parent, key) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = if parent.is_empty() { value } else { value.pointer_mut(&format!("/{parent}")).unwrap() };
    let object = parent.as_object_mut().unwrap();
    match new {
        Some(new) => object.insert(key.into(), new),
        None => object.shift_remove(key),
    };
}

/// The outcome with one value changed; the file is put back afterwards.
fn with(folder: &TempDir, file: &str, path: &str, new: Option<Value>) -> Result<(), CheckpointError> {
    let before = fs::read(folder.path().join(file)).unwrap();
    edit(folder, file, |value| set(value, path, new));
    let outcome = open(folder).map(|_| ());
    fs::write(folder.path().join(file), before).unwrap();
    outcome
}

/// What no whole number of a model can be.
fn nonsense() -> Vec<Value> {
    let text = "[0,-1,1.5,2147483648,9223372036854775808,18446744073709551616,1e300,\"4\",null,true,[4],{}]";
    serde_json::from_str(text).unwrap()
}

#[test]
fn w9_every_number_has_a_range_and_is_named() {
    let folder = written(&small());
    open(&folder).unwrap();
    for key in [
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
        "vision_config/num_hidden_layers",
        "vision_config/hidden_size",
        "vision_config/num_attention_heads",
        "vision_config/intermediate_size",
        "vision_config/image_size",
    ] {
        let field = key.replace('/', ".");
        for value in nonsense() {
            let error = with(&folder, CONFIG, key, Some(value.clone())).unwrap_err();
            let CheckpointError::Config(ConfigError::Value { field: named, .. }) = &error else {
                panic!("{key} = {value}: {error}")
            };
            assert_eq!(*named, field, "{value}");
            assert_eq!(error.code(), Code::InvalidCheckpoint);
        }
        let error = with(&folder, CONFIG, key, None).unwrap_err();
        assert!(matches!(error, CheckpointError::Config(ConfigError::Missing { .. })), "{key}: {error}");
        assert!(error.to_string().contains(&field), "{error}");
        // One is a number like any other, but these weights have another, where the number shows in their shapes.
        let config: Value = serde_json::from_slice(&fs::read(folder.path().join(CONFIG)).unwrap()).unwrap();
        let fits = *config.pointer(&format!("/{key}")).unwrap() == 1 || key == "vision_config/num_attention_heads";
        assert_eq!(with(&folder, CONFIG, key, Some(json!(1))).is_ok(), fits, "{key}");
    }
}

#[test]
fn w9_numbers_with_a_default_have_a_range_too() {
    let folder = written(&small());
    for key in ["max_position_embeddings", "query_num", "head_dim", "patch_size", "vision_config/patch_size"] {
        for value in nonsense().into_iter().filter(|value| !value.is_null()) {
            let outcome = with(&folder, CONFIG, key, Some(value.clone()));
            assert!(matches!(outcome, Err(CheckpointError::Config(ConfigError::Value { .. }))), "{key} = {value}");
        }
    }
    for key in ["rms_norm_eps", "rope_theta", "vision_config/layer_norm_eps"] {
        for value in [json!(0), json!(-1e-6), json!("1e-6"), json!(1e300), json!([])] {
            let outcome = with(&folder, CONFIG, key, Some(value.clone()));
            assert!(matches!(outcome, Err(CheckpointError::Config(ConfigError::Value { .. }))), "{key} = {value}");
        }
    }
    for key in ["tie_word_embeddings", "drop_vision_last_layer", "use_image_id"] {
        let outcome = with(&folder, CONFIG, key, Some(json!("yes")));
        assert!(matches!(outcome, Err(CheckpointError::Config(ConfigError::Value { .. }))), "{key}");
    }
    open(&folder).unwrap();
}

#[test]
fn w9_numbers_that_must_divide_are_named_together() {
    let folder = written(&Spec::tiny());
    let error = with(&folder, CONFIG, "num_key_value_heads", Some(json!(3))).unwrap_err().to_string();
    assert_eq!(error, "config.json: num_attention_heads is 4, which num_key_value_heads (3) does not divide");
    for (key, value) in [("hidden_size", 192), ("head_dim", 127), ("vision_config/num_attention_heads", 5)] {
        let error = with(&folder, CONFIG, key, Some(json!(value))).unwrap_err();
        assert!(matches!(error, CheckpointError::Config(ConfigError::NotDivisible { .. })), "{error}");
    }
}

#[test]
fn w9_a_configuration_of_another_size_than_the_weights_is_refused() {
    let folder = written(&small());
    for (key, value) in [
        ("num_hidden_layers", 2),
        ("hidden_size", 256),
        ("vocab_size", 321),
        ("intermediate_size", 264),
        ("num_attention_heads", 4),
        ("head_dim", 128),
        ("query_num", 5),
        ("vision_config/image_size", 42),
        ("vision_config/num_hidden_layers", 2),
    ] {
        if key == "query_num" {
            edit(&folder, "preprocessor_config.json", |value| set(value, "image_feature_size", None));
        }
        let error = with(&folder, CONFIG, key, Some(json!(value))).unwrap_err();
        assert!(
            matches!(error, CheckpointError::MissingTensor { .. } | CheckpointError::Shape { .. }),
            "{key}: {error}"
        );
        assert!(error.hint().unwrap().contains("different models"));
    }
    open(&folder).unwrap();
}

#[test]
fn other_models_and_forms_are_refused_by_name() {
    let folder = written(&small());
    for (file, key, value, part) in [
        (CONFIG, "model_type", json!("minicpmo"), "model_type is minicpmo; only minicpmv"),
        (CONFIG, "version", json!(2.6), "version is 2.6; only 4.5"),
        (CONFIG, "version", json!("4.6"), "version is \"4.6\"; only 4.5"),
        (CONFIG, "hidden_act", json!("gelu"), "hidden_act is gelu; only silu"),
        (CONFIG, "attention_bias", json!(true), "attention_bias is true; only false"),
        (CONFIG, "use_sliding_window", json!(true), "use_sliding_window is true; only false"),
        (CONFIG, "slice_mode", json!(false), "slice_mode is false; only true"),
        (
            CONFIG,
            "rope_scaling",
            json!({"type": "yarn", "factor": 4}),
            "rope_scaling is {\"type\":\"yarn\",\"factor\":4}",
        ),
        (
            CONFIG,
            "rope_parameters",
            json!({"rope_type": "yarn", "rope_theta": 1e6}),
            "rope_parameters.rope_type is yarn",
        ),
        (CONFIG, "vision_config/hidden_act", json!("relu"), "vision_config.hidden_act is relu"),
        (CONFIG, "quantization_config/bits", json!(3), "quantization_config.bits is 3; only 4 or 8"),
        (CONFIG, "quantization_config/bits", json!(2), "quantization_config.bits is 2; only 4 or 8"),
        (
            CONFIG,
            "quantization_config/quant_method",
            json!("awq"),
            "quantization_config.quant_method is awq; only gptq",
        ),
        (CONFIG, "quantization_config/checkpoint_format", json!("marlin"), "checkpoint_format is marlin; only gptq or"),
        (CONFIG, "quantization_config/checkpoint_format", json!("gptq_p"), "checkpoint_format is gptq_p; only gptq or"),
        (
            CONFIG,
            "quantization_config/checkpoint_format",
            json!("bitblas"),
            "checkpoint_format is bitblas; only gptq or",
        ),
        (CONFIG, "quantization_config/is_marlin_format", json!(true), "is_marlin_format is true"),
        (CONFIG, "quantization_config/pack_dtype", json!("int16"), "pack_dtype is int16; only int32"),
        (CONFIG, "quantization_config/dynamic", json!({"+:.*down.*": {"bits": 8}}), "dynamic is \"+:.*down.*\""),
        ("preprocessor_config.json", "norm_mean", json!([0.48, 0.45, 0.4]), "norm_mean is [0.48,0.45,0.4]; only"),
        ("preprocessor_config.json", "norm_std", json!([0.5, 0.5]), "norm_std is [0.5,0.5]; only"),
        ("preprocessor_config.json", "slice_mode", json!(false), "slice_mode is false"),
    ] {
        let error = with(&folder, file, key, Some(value)).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.code(), Code::UnsupportedCheckpoint, "{error}");
    }
    open(&folder).unwrap();
}

#[test]
fn what_the_file_must_say_itself_has_no_default() {
    let folder = written(&small());
    for key in ["model_type", "version", "rope_theta", "vision_config", "quantization_config/bits"] {
        let error = with(&folder, CONFIG, key, None).unwrap_err();
        assert!(matches!(error, CheckpointError::Config(ConfigError::Missing { .. })), "{key}: {error}");
    }
}

#[test]
fn absent_keys_take_the_defaults_of_the_reference() {
    let folder = written(&small());
    fs::remove_file(folder.path().join("preprocessor_config.json")).unwrap();
    fs::remove_file(folder.path().join("generation_config.json")).unwrap();
    edit(&folder, CONFIG, |config| {
        for key in [
            "query_num",
            "rms_norm_eps",
            "max_position_embeddings",
            "tie_word_embeddings",
            "hidden_act",
            "drop_vision_last_layer",
            "slice_config",
            "vision_config/layer_norm_eps",
            "vision_config/patch_size",
        ] {
            set(config, key, None);
        }
        config["version"] = json!("4.5");
        config["query_num"] = json!(4);
        // The last layer is dropped unless the file says otherwise, so that two are needed for one.
        config["vision_config"]["num_hidden_layers"] = json!(2);
    });
    let checkpoint = open(&folder).unwrap();
    let config = checkpoint.config();
    assert!(config.vision.drop_last_layer);
    assert_eq!((config.vision.used_layers(), config.vision.patch_size, config.vision.layer_norm_eps), (1, 14, 1e-6));
    assert_eq!((config.decoder.rms_norm_eps, config.decoder.max_positions), (1e-6, 32_768));
    assert!(!config.decoder.tied_head && !config.decoder.attention_bias);
    let cut = &config.preprocessing;
    assert_eq!((cut.scale_resolution, cut.max_slices, cut.patch_size, cut.use_image_id), (448, 9, 14, true));
    assert_eq!(config.eos.len(), 1);
    assert_eq!(config.resampler.heads, 1);
}

#[test]
fn the_preprocessor_s_file_comes_before_slice_config() {
    let folder = written(&small());
    edit(&folder, CONFIG, |config| config["slice_config"] = json!({"max_slice_nums": 4, "scale_resolution": 336}));
    edit(&folder, "preprocessor_config.json", |file| {
        set(file, "scale_resolution", None);
        file["max_slice_nums"] = json!(2);
        file["use_image_id"] = json!(false);
    });
    let cut = open(&folder).unwrap().config().preprocessing.clone();
    assert_eq!((cut.scale_resolution, cut.max_slices, cut.use_image_id), (336, 2, false));
    for (key, value) in [("max_slice_nums", 37), ("max_slice_nums", 0), ("scale_resolution", 13), ("patch_size", 16)] {
        let error = with(&folder, "preprocessor_config.json", key, Some(json!(value))).unwrap_err();
        assert!(error.to_string().starts_with(&format!("preprocessor_config.json: {key} is {value}")), "{error}");
    }
    let error = with(&folder, "preprocessor_config.json", "image_feature_size", Some(json!(96))).unwrap_err();
    assert!(matches!(error, CheckpointError::Config(ConfigError::Contradiction { .. })), "{error}");
}

#[test]
fn the_end_of_an_answer_is_one_token_or_several() {
    let folder = written(&small());
    let eos = |value: Value| {
        edit(&folder, "generation_config.json", |file| file["eos_token_id"] = value);
        open(&folder).map(|checkpoint| checkpoint.config().eos.clone())
    };
    assert_eq!(eos(json!([3, 1])).unwrap(), [3, 1]);
    assert_eq!(eos(json!(5)).unwrap(), [5]);
    for wrong in
        [json!([]), json!(-1), json!(320), json!([1, 320]), json!("1"), json!([[1]]), json!(1.5), json!(vec![1; 99])]
    {
        let error = eos(wrong.clone()).unwrap_err();
        assert!(error.to_string().starts_with("generation_config.json: eos_token_id is "), "{wrong}: {error}");
    }
    edit(&folder, CONFIG, |config| config["eos_token_id"] = json!(7));
    assert_eq!(eos(Value::Null).unwrap(), [7]);
    edit(&folder, CONFIG, |config| set(config, "eos_token_id", None));
    assert!(matches!(eos(Value::Null), Err(CheckpointError::Config(ConfigError::Missing { .. }))));
}

#[test]
fn quantize_config_is_the_second_source() {
    let folder = written(&small());
    let both = open(&folder).unwrap().config().quantization.clone();
    edit(&folder, CONFIG, |config| set(config, "quantization_config", None));
    assert_eq!(open(&folder).unwrap().config().quantization, both);
    fs::remove_file(folder.path().join("quantize_config.json")).unwrap();
    let error = refused(&folder).to_string();
    assert!(
        error.contains(".qweight is quantised, but neither config.json nor quantize_config.json says how"),
        "{error}"
    );
}

#[test]
fn two_sources_that_contradict_are_both_named() {
    let folder = written(&small());
    for (key, value) in [
        ("bits", json!(8)),
        ("group_size", json!(64)),
        ("group_size", json!(-1)),
        ("sym", json!(false)),
        ("desc_act", json!(true)),
        ("checkpoint_format", json!("gptq_v2")),
    ] {
        let error = with(&folder, "quantize_config.json", key, Some(value.clone())).unwrap_err();
        assert!(matches!(error, CheckpointError::Config(ConfigError::Contradiction { .. })), "{error}");
        let text = error.to_string();
        assert!(text.contains(key) && text.contains("config.json") && text.contains("quantize_config.json"), "{text}");
    }
    // Without the key the first form is meant, which is what the other file says.
    with(&folder, "quantize_config.json", "checkpoint_format", None).unwrap();
    with(&folder, "quantize_config.json", "damp_percent", Some(json!(0.1))).unwrap();
}

#[test]
fn groups_are_minus_one_or_a_number_of_inputs() {
    let folder = written(&small());
    fs::remove_file(folder.path().join("quantize_config.json")).unwrap();
    for value in [json!(0), json!(-2), json!(1.5), json!("128"), json!(1u64 << 63), json!(true), Value::Null] {
        let error = with(&folder, CONFIG, "quantization_config/group_size", Some(value.clone())).unwrap_err();
        assert!(
            error.to_string().contains("group_size") && error.to_string().contains("-1 or a whole number"),
            "{error}"
        );
    }
    with(&folder, CONFIG, "quantization_config/group_size", Some(json!(-1))).unwrap();
}

#[test]
fn newer_files_keep_the_rotary_base_in_rope_parameters() {
    let folder = written(&small());
    edit(&folder, CONFIG, |config| {
        set(config, "rope_theta", None);
        config["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 5e5});
    });
    assert_eq!(open(&folder).unwrap().config().decoder.rope_theta, 5e5);
}

#[test]
fn layers_that_a_rule_leaves_unquantised_are_no_reason_to_refuse() {
    let folder = written(&small());
    with(&folder, CONFIG, "quantization_config/dynamic", Some(json!({"-:.*vpm.*": {}}))).unwrap();
}

#[test]
fn w9_a_file_that_is_no_object_or_too_long_is_refused() {
    for file in [CONFIG, "preprocessor_config.json", "generation_config.json", "quantize_config.json"] {
        let folder = written(&small());
        for text in ["", "[]", "null", "{", "{\"a\":1,\"a\":2}", "\u{feff}{}", "NaN"] {
            fs::write(folder.path().join(file), text).unwrap();
            let error = refused(&folder);
            assert!(matches!(error, CheckpointError::Json { file: named, .. } if named == file), "{text:?}: {error}");
        }
        let whole = written(&small());
        let mut text = fs::read_to_string(whole.path().join(file)).unwrap();
        for length in 0..text.len() {
            fs::write(folder.path().join(file), &text[..length]).unwrap();
            assert!(open(&folder).is_err(), "{file} was accepted with {length} of {} bytes", text.len());
        }
        fs::write(folder.path().join(file), &text).unwrap();
        open(&folder).unwrap();
        text.push_str(&" ".repeat(1 << 20));
        fs::write(folder.path().join(file), &text).unwrap();
        assert!(refused(&folder).to_string().contains("at most 1048576 are allowed"));
    }
}

#[test]
fn w13_nothing_in_the_folder_is_executed_or_resolved() {
    let folder = written(&small());
    let before = open(&folder).unwrap();
    let (config, names) = (before.config().clone(), before.names().map(String::from).collect::<Vec<_>>());
    for file in ["modeling_minicpmv.py", "model.pt", "pytorch_model.bin", "chat_template.jinja", "training_args.bin"] {
        fs::write(folder.path().join(file), "import os; os.abort()").unwrap();
    }
    edit(&folder, CONFIG, |config| {
        config["auto_map"] = json!({"AutoModel": "modeling_minicpmv.MiniCPMV", "AutoConfig": "../../x.Y"});
        config["_name_or_path"] = json!("/etc/passwd");
        config["_attn_implementation_internal"] = json!("evil/kernel");
        config["quantization_config"]["model_name_or_path"] = json!("http://127.0.0.1/x");
        config["unknown"] = json!({"deep": [[[[1]]]]});
    });
    let after = open(&folder).unwrap();
    assert_eq!(*after.config(), config);
    assert_eq!(after.names().collect::<Vec<_>>(), names);
    for name in after.names() {
        assert_eq!(after.tensor(name).unwrap(), before.tensor(name).unwrap());
    }
}

#[test]
fn a_tokenizer_over_the_limit_is_refused() {
    let folder = written(&small());
    let tokenizer = fs::OpenOptions::new().write(true).open(folder.path().join("tokenizer.json")).unwrap();
    tokenizer.set_len((64 << 20) + 1).unwrap();
    assert!(refused(&folder).to_string().starts_with("tokenizer.json has 67108865 bytes"));
}
