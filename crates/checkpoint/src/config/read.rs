//! From the configuration files to a checked [`Config`].

use karst_contract::limits;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::{Config, ConfigError, DecoderConfig, Preprocessing, ResamplerConfig, VisionConfig, eos, quantization};
use crate::folder::Folder;
use crate::{CheckpointError, json};

pub(super) const CONFIG: &str = "config.json";
pub(super) const PREPROCESSOR: &str = "preprocessor_config.json";
pub(super) const GENERATION: &str = "generation_config.json";
pub(super) const QUANTIZE: &str = "quantize_config.json";

/// Width of a head of the resampler, which has no key of its own: there are `hidden / 128` heads.
const RESAMPLER_HEAD: usize = 128;

/// Sides beyond these multiply to more than any machine holds, and within them no product of two overflows.
const MAX_LAYERS: usize = 1_024;
const MAX_WIDTH: usize = 1 << 20;
const MAX_HEADS: usize = 4_096;
const MAX_VOCABULARY: usize = 1 << 24;
const MAX_POSITIONS: usize = 1 << 24;

/// Reads `config.json` and the files beside it that may be absent.
pub(crate) fn read(folder: &Folder) -> Result<Config, CheckpointError> {
    let config = folder.read_needed(CONFIG, limits::MAX_CONFIG_BYTES)?;
    let config = json::object(&config).map_err(|source| CheckpointError::Json { file: CONFIG, source })?;
    let [preprocessor, generation, quantize] = [PREPROCESSOR, GENERATION, QUANTIZE].map(|file| optional(folder, file));
    Ok(check(&config, preprocessor?.as_ref(), generation?.as_ref(), quantize?.as_ref())?)
}

fn optional(folder: &Folder, file: &'static str) -> Result<Option<Map<String, Value>>, CheckpointError> {
    let bytes = folder.read(file, limits::MAX_CONFIG_BYTES)?;
    let object = bytes.map(|bytes| json::object(&bytes)).transpose();
    object.map_err(|source| CheckpointError::Json { file, source })
}

/// Holds the files' objects against types, ranges and each other.
pub(crate) fn check(
    config: &Map<String, Value>,
    preprocessor: Option<&Map<String, Value>>,
    generation: Option<&Map<String, Value>>,
    quantize: Option<&Map<String, Value>>,
) -> Result<Config, ConfigError> {
    let fields = Fields::new(CONFIG, config);
    family(fields)?;
    let decoder = decoder(fields)?;
    let empty = Map::new();
    let preprocessor = Fields::new(PREPROCESSOR, preprocessor.unwrap_or(&empty));
    let generation = Fields::new(GENERATION, generation.unwrap_or(&empty));
    let queries = fields.integer_or("query_num", 1..=4_096, 64)?;
    let heads = decoder.hidden / RESAMPLER_HEAD;
    Ok(Config {
        vision: vision(fields)?,
        resampler: ResamplerConfig {
            queries,
            hidden: decoder.hidden,
            heads,
            batched: fields.flag_or("batch_3d_resampler", true)?,
        },
        preprocessing: preprocessing(fields, preprocessor, queries)?,
        eos: eos::read(fields, generation, decoder.vocabulary)?,
        quantization: quantization::read(fields, quantize)?,
        decoder,
    })
}

/// Refuses other models by name, before anything else of their configuration is held against this one's.
fn family(fields: Fields<'_>) -> Result<(), ConfigError> {
    match fields.text("model_type")? {
        Some("minicpmv") => {}
        Some(other) => return Err(fields.unsupported("model_type", other, "minicpmv")),
        None => return Err(fields.missing("model_type", "minicpmv")),
    }
    match fields.get("version") {
        Some(Value::Number(version)) if version.as_f64() == Some(4.5) => Ok(()),
        Some(Value::String(version)) if version == "4.5" => Ok(()),
        Some(other) => Err(fields.unsupported("version", other, "4.5")),
        None => Err(fields.missing("version", "4.5")),
    }
}

fn decoder(fields: Fields<'_>) -> Result<DecoderConfig, ConfigError> {
    fields.only("hidden_act", "silu")?;
    fields.only_flag("attention_bias", false)?;
    fields.only_flag("use_sliding_window", false)?;
    let hidden = fields.integer("hidden_size", RESAMPLER_HEAD..=MAX_WIDTH)?;
    fields.divisible("hidden_size", hidden, "the width of a head of the resampler", RESAMPLER_HEAD)?;
    let heads = fields.integer("num_attention_heads", 1..=MAX_HEADS)?;
    let kv_heads = fields.integer("num_key_value_heads", 1..=MAX_HEADS)?;
    fields.divisible("num_attention_heads", heads, "num_key_value_heads", kv_heads)?;
    let head_dim = fields.integer_or("head_dim", 2..=1_024, 128)?;
    fields.divisible("head_dim", head_dim, "a pair of rotated numbers", 2)?;
    Ok(DecoderConfig {
        layers: fields.integer("num_hidden_layers", 1..=MAX_LAYERS)?,
        hidden,
        heads,
        kv_heads,
        head_dim,
        intermediate: fields.integer("intermediate_size", 1..=MAX_WIDTH)?,
        vocabulary: fields.integer("vocab_size", 1..=MAX_VOCABULARY)?,
        rms_norm_eps: fields.number_or("rms_norm_eps", 1e-12..=1e-1, 1e-6)?,
        rope_theta: rope_theta(fields)?,
        max_positions: fields.integer_or("max_position_embeddings", 1..=MAX_POSITIONS, 32_768)?,
        tied_head: fields.flag_or("tie_word_embeddings", false)?,
        attention_bias: false,
    })
}

/// The base of the rotary frequencies, which newer files keep in `rope_parameters`. It has no default: a model that runs
/// with another one than it was trained with speaks, but not sense.
fn rope_theta(fields: Fields<'_>) -> Result<f64, ConfigError> {
    if let Some(scaling) = fields.get("rope_scaling") {
        return Err(fields.unsupported("rope_scaling", super::fields::short(scaling), "null"));
    }
    let rope = match fields.below("rope_parameters", "rope_parameters.")? {
        Some(parameters) => {
            parameters.only("rope_type", "default")?;
            parameters
        }
        None => fields,
    };
    let range = 1.0..=1e12;
    let theta = rope.get("rope_theta").ok_or_else(|| rope.missing("rope_theta", "the base of the rotary frequencies"));
    theta.and_then(|_| rope.number_or("rope_theta", range, f64::NAN))
}

fn vision(fields: Fields<'_>) -> Result<VisionConfig, ConfigError> {
    let drop_last_layer = fields.flag_or("drop_vision_last_layer", true)?;
    let vision = fields.below("vision_config", "vision_config.")?;
    let vision = vision.ok_or_else(|| fields.missing("vision_config", "an object"))?;
    vision.only("hidden_act", "gelu_pytorch_tanh")?;
    vision.integer_or("num_channels", 3..=3, 3)?;
    let hidden = vision.integer("hidden_size", 1..=MAX_WIDTH)?;
    let heads = vision.integer("num_attention_heads", 1..=MAX_HEADS)?;
    vision.divisible("hidden_size", hidden, "num_attention_heads", heads)?;
    let patch_size = patch_size(vision)?;
    let least = 1 + usize::from(drop_last_layer);
    Ok(VisionConfig {
        layers: vision.integer("num_hidden_layers", least..=MAX_LAYERS)?,
        hidden,
        heads,
        intermediate: vision.integer("intermediate_size", 1..=MAX_WIDTH)?,
        image_size: vision.integer("image_size", patch_size..=1 << 14)?,
        patch_size,
        drop_last_layer,
        layer_norm_eps: vision.number_or("layer_norm_eps", 1e-12..=1e-1, 1e-6)?,
    })
}

/// The side of a patch, which pictures are cut by before a model is known.
fn patch_size(fields: Fields<'_>) -> Result<usize, ConfigError> {
    fields.integer_or("patch_size", 14..=14, 14)
}

/// How pictures are cut: the preprocessor's file first, as in the reference, then `slice_config`, then its classes' defaults.
fn preprocessing(fields: Fields<'_>, preprocessor: Fields<'_>, queries: usize) -> Result<Preprocessing, ConfigError> {
    let empty = Map::new();
    let slices = fields.below("slice_config", "slice_config.")?.unwrap_or(Fields::new(CONFIG, &empty));
    [fields, slices, preprocessor].map(patch_size).into_iter().try_for_each(|size| size.map(|_| ()))?;
    [fields, preprocessor].map(|file| file.only_flag("slice_mode", true)).into_iter().collect::<Result<(), _>>()?;
    ["norm_mean", "norm_std"].map(|key| halves(preprocessor, key)).into_iter().collect::<Result<(), _>>()?;
    let rows = preprocessor.integer_or("image_feature_size", 1..=4_096, queries)?;
    if rows != queries {
        let (first, second) = (queries.to_string(), rows.to_string());
        let field = "the number of rows of a picture (query_num, image_feature_size)";
        return Err(ConfigError::Contradiction { field, first_file: CONFIG, first, second_file: PREPROCESSOR, second });
    }
    let either = |key, range: std::ops::RangeInclusive<usize>, default| {
        let inner = slices.integer_or(key, range.clone(), default)?;
        preprocessor.integer_or(key, range, inner).map(|number| number as u32)
    };
    Ok(Preprocessing {
        scale_resolution: either("scale_resolution", 14..=1 << 14, 448)?,
        max_slices: either("max_slice_nums", 1..=limits::MAX_SLICES as usize, 9)?,
        patch_size: 14,
        use_image_id: preprocessor.flag_or("use_image_id", fields.flag_or("use_image_id", true)?)?,
    })
}

/// Refuses a mean or deviation other than 0.5 for each colour.
fn halves(fields: Fields<'_>, key: &str) -> Result<(), ConfigError> {
    let Some(found) = fields.get(key) else { return Ok(()) };
    let list = found.as_array().ok_or_else(|| fields.wrong(key, "a list of three numbers", found))?;
    if list.len() == 3 && list.iter().all(|number| number.as_f64() == Some(0.5)) {
        return Ok(());
    }
    Err(fields.unsupported(key, super::fields::short(found), "[0.5,0.5,0.5]"))
}
