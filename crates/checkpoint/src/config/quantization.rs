//! How linear layers are quantised: from `config.json`, from `quantize_config.json`, or from both if they agree.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::read::{CONFIG, QUANTIZE};
use super::{ConfigError, Quantization, ZeroForm};

/// Largest group of inputs; no layer has more inputs.
const MAX_GROUP: usize = 1 << 20;

pub(super) fn read(
    config: Fields<'_>,
    quantize: Option<&Map<String, Value>>,
) -> Result<Option<Quantization>, ConfigError> {
    let inner = config.below("quantization_config", "quantization_config.")?.map(one).transpose()?;
    let beside = quantize.map(|map| one(Fields::new(QUANTIZE, map))).transpose()?;
    match (inner, beside) {
        (Some(inner), Some(beside)) => agree(&inner, &beside).map(|()| Some(inner)),
        (inner, beside) => Ok(inner.or(beside)),
    }
}

fn one(fields: Fields<'_>) -> Result<Quantization, ConfigError> {
    method(fields)?;
    let bits = fields.integer("bits", 2..=16)?;
    if !matches!(bits, 4 | 8) {
        return Err(fields.unsupported("bits", bits, "4 or 8"));
    }
    Ok(Quantization {
        bits: bits as u32,
        group: group(fields)?,
        symmetric: fields.flag_or("sym", true)?,
        act_order: fields.flag_or("desc_act", false)?,
        zeros: zeros(fields)?,
    })
}

/// Refuses what is not GPTQ, and what would quantise some layers otherwise than the rest.
fn method(fields: Fields<'_>) -> Result<(), ConfigError> {
    fields.only("quant_method", "gptq")?;
    fields.only("pack_dtype", "int32")?;
    fields.only_flag("is_marlin_format", false)?;
    let Some(dynamic) = fields.get("dynamic") else { return Ok(()) };
    let rules = dynamic.as_object().ok_or_else(|| fields.wrong("dynamic", "an object", dynamic))?;
    // A rule `-:pattern` leaves layers unquantised, which their tensors tell; any other gives them other bits or groups.
    match rules.keys().find(|rule| !rule.starts_with("-:")) {
        Some(rule) => Err(fields.unsupported("dynamic", format_args!("{rule:?}"), "one form for all layers")),
        None => Ok(()),
    }
}

fn group(fields: Fields<'_>) -> Result<Option<usize>, ConfigError> {
    if fields.get("group_size").and_then(Value::as_i64) == Some(-1) {
        return Ok(None);
    }
    let group = fields.integer("group_size", 1..=MAX_GROUP);
    group.map(Some).map_err(|error| match error {
        ConfigError::Value { file, field, expected, found } => {
            ConfigError::Value { file, field, expected: format!("-1 or {expected}"), found }
        }
        other => other,
    })
}

/// `checkpoint_format`, which newer tools also call `format`. Absent means the first form.
fn zeros(fields: Fields<'_>) -> Result<ZeroForm, ConfigError> {
    let key = if fields.get("checkpoint_format").is_some() { "checkpoint_format" } else { "format" };
    match fields.text(key)? {
        None | Some("gptq") => Ok(ZeroForm::V1),
        Some("gptq_v2") => Ok(ZeroForm::V2),
        Some(other) => Err(fields.unsupported(key, other, "gptq or gptq_v2")),
    }
}

fn agree(inner: &Quantization, beside: &Quantization) -> Result<(), ConfigError> {
    let pairs = [
        ("bits", inner.bits.to_string(), beside.bits.to_string()),
        ("group_size", group_words(inner.group), group_words(beside.group)),
        ("sym", inner.symmetric.to_string(), beside.symmetric.to_string()),
        ("desc_act", inner.act_order.to_string(), beside.act_order.to_string()),
        ("checkpoint_format", inner.zeros.name().into(), beside.zeros.name().into()),
    ];
    match pairs.into_iter().find(|(_, inner, beside)| inner != beside) {
        Some((field, first, second)) => {
            Err(ConfigError::Contradiction { field, first_file: CONFIG, first, second_file: QUANTIZE, second })
        }
        None => Ok(()),
    }
}

fn group_words(group: Option<usize>) -> String {
    group.map_or_else(|| "-1".into(), |group| group.to_string())
}

impl ZeroForm {
    /// The value of `checkpoint_format`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "gptq",
            Self::V2 => "gptq_v2",
        }
    }
}
