//! The one way of tokenising that karst knows: NFC, a split by the published pattern, byte-level BPE.
//!
//! A file may only agree with it. No foreign pattern is ever compiled: nested quantifiers in one would hold a thread for
//! ever.

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::TokenizerError;

/// How the published tokenizer splits text; `words` splits so.
pub(super) const PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// Characters of a foreign value that an error shows.
const SHOWN: usize = 160;

#[derive(Deserialize)]
struct Form {
    #[serde(default)]
    truncation: Value,
    #[serde(default)]
    padding: Value,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default)]
    kind: Value,
    #[serde(default)]
    dropout: Value,
    #[serde(default)]
    unk_token: Value,
    #[serde(default)]
    continuing_subword_prefix: Value,
    #[serde(default)]
    end_of_word_suffix: Value,
    #[serde(default)]
    byte_fallback: Value,
    #[serde(default)]
    ignore_merges: Value,
}

/// Checks every part of a file but its tokens and merges.
pub(super) fn check(bytes: &[u8]) -> Result<(), TokenizerError> {
    let form: Form = serde_json::from_slice(bytes)?;
    is("truncation", &form.truncation, &[Value::Null])?;
    is("padding", &form.padding, &[Value::Null])?;
    is("normalizer", &form.normalizer, &[json!({ "type": "NFC" })])?;
    is("pre_tokenizer", &form.pre_tokenizer, &[known_pre_tokenizer()])?;
    // Either may say how offsets or a space before the text are treated, but not for ids and not here.
    is("post_processor", kind(&form.post_processor), &[Value::Null, json!("ByteLevel")])?;
    is("decoder", kind(&form.decoder), &[json!("ByteLevel")])?;
    form.model.check()
}

impl Model {
    fn check(&self) -> Result<(), TokenizerError> {
        let (nothing, off) = ([Value::Null, json!("")], [Value::Null, json!(false)]);
        is("model type", &self.kind, &[json!("BPE")])?;
        is("model's dropout", &self.dropout, &[Value::Null])?;
        is("model's unk_token", &self.unk_token, &[Value::Null])?;
        is("model's continuing_subword_prefix", &self.continuing_subword_prefix, &nothing)?;
        is("model's end_of_word_suffix", &self.end_of_word_suffix, &nothing)?;
        is("model's byte_fallback", &self.byte_fallback, &off)?;
        is("model's ignore_merges", &self.ignore_merges, &off)
    }
}

fn known_pre_tokenizer() -> Value {
    let split = json!({ "type": "Split", "pattern": { "Regex": PATTERN }, "behavior": "Isolated", "invert": false });
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    json!({ "type": "Sequence", "pretokenizers": [split, bytes] })
}

fn kind(value: &Value) -> &Value {
    value.get("type").unwrap_or(value)
}

fn is(part: &'static str, found: &Value, known: &[Value]) -> Result<(), TokenizerError> {
    if known.contains(found) {
        return Ok(());
    }
    let expected = known.last().map(Value::to_string).unwrap_or_default();
    Err(TokenizerError::Form { part, found: found.to_string().chars().take(SHOWN).collect(), expected })
}
