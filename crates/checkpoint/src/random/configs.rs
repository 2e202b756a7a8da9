//! The configuration files of a random checkpoint.

use serde_json::{Map, Value, json};

use super::{RandomError, Spec};
use crate::config;
use crate::{Quantization, ZeroForm};

/// The files beside the shards.
pub(super) struct Configs {
    config: Map<String, Value>,
    preprocessor: Map<String, Value>,
    generation: Map<String, Value>,
    quantize: Option<Map<String, Value>>,
}

impl Configs {
    pub(super) fn new(spec: &Spec, eos: &[u32]) -> Self {
        let quantize = spec.quantization.as_ref().map(quantization);
        let mut config = decoder(spec, eos);
        config.extend(vision(spec));
        config.extend(quantize.iter().map(|quantize| ("quantization_config".into(), Value::from(quantize.clone()))));
        let generation = object(json!({ "eos_token_id": eos, "do_sample": false }));
        Self { config, preprocessor: preprocessor(spec), generation, quantize }
    }

    /// Holds them against the rules by which they will be read.
    pub(super) fn check(&self) -> Result<(), RandomError> {
        let parts = (Some(&self.preprocessor), Some(&self.generation), self.quantize.as_ref());
        config::check(&self.config, parts.0, parts.1, parts.2)?;
        Ok(())
    }

    /// Names and contents.
    pub(super) fn files(&self) -> Vec<(&'static str, String)> {
        let quantize = self.quantize.as_ref().map(|quantize| ("quantize_config.json", quantize));
        let always = [
            ("config.json", &self.config),
            ("preprocessor_config.json", &self.preprocessor),
            ("generation_config.json", &self.generation),
        ];
        let text = |map: &Map<String, Value>| Value::from(map.clone()).to_string();
        always.into_iter().chain(quantize).map(|(name, map)| (name, text(map))).collect()
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => unreachable!("{other} is written as an object below"),
    }
}

fn decoder(spec: &Spec, eos: &[u32]) -> Map<String, Value> {
    let decoder = &spec.decoder;
    object(json!({
        "version": 4.5,
        "architectures": ["MiniCPMV"],
        "model_type": "minicpmv",
        "attention_bias": decoder.attention_bias,
        "eos_token_id": eos.first(),
        "head_dim": decoder.head_dim,
        "hidden_act": "silu",
        "hidden_size": decoder.hidden,
        "intermediate_size": decoder.intermediate,
        "max_position_embeddings": decoder.max_positions,
        "num_attention_heads": decoder.heads,
        "num_hidden_layers": decoder.layers,
        "num_key_value_heads": decoder.kv_heads,
        "rms_norm_eps": decoder.rms_norm_eps,
        "rope_scaling": null,
        "rope_theta": decoder.rope_theta,
        "tie_word_embeddings": decoder.tied_head,
        "torch_dtype": "bfloat16",
        "use_sliding_window": false,
        "vocab_size": decoder.vocabulary,
    }))
}

fn vision(spec: &Spec) -> Map<String, Value> {
    let vision = &spec.vision;
    object(json!({
        "batch_3d_resampler": true,
        "drop_vision_last_layer": vision.drop_last_layer,
        "image_size": 448,
        "patch_size": vision.patch_size,
        "query_num": spec.queries,
        "slice_config": { "max_slice_nums": 9, "patch_size": vision.patch_size, "model_type": "minicpmv" },
        "slice_mode": true,
        "vision_config": {
            "hidden_size": vision.hidden,
            "image_size": vision.image_size,
            "intermediate_size": vision.intermediate,
            "layer_norm_eps": vision.layer_norm_eps,
            "model_type": "siglip",
            "num_attention_heads": vision.heads,
            "num_hidden_layers": vision.layers,
            "patch_size": vision.patch_size,
        },
    }))
}

fn preprocessor(spec: &Spec) -> Map<String, Value> {
    object(json!({
        "image_processor_type": "MiniCPMVImageProcessor",
        "max_slice_nums": 9,
        "scale_resolution": 448,
        "patch_size": spec.vision.patch_size,
        "use_image_id": true,
        "image_feature_size": spec.queries,
        "slice_mode": true,
        "norm_mean": [0.5, 0.5, 0.5],
        "norm_std": [0.5, 0.5, 0.5],
    }))
}

fn quantization(form: &Quantization) -> Map<String, Value> {
    object(json!({
        "bits": form.bits,
        "group_size": form.group.map_or(json!(-1), Value::from),
        "damp_percent": 0.01,
        "desc_act": form.act_order,
        "static_groups": false,
        "sym": form.symmetric,
        "true_sequential": true,
        "quant_method": "gptq",
        "checkpoint_format": ZeroForm::name(form.zeros),
    }))
}
