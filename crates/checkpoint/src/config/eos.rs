//! The tokens that end an answer.

use serde_json::Value;

use super::ConfigError;
use super::fields::Fields;

/// Most tokens that end an answer: the published model has two.
const MAX_EOS: usize = 64;

const KEY: &str = "eos_token_id";

/// The generation's file first, as it names more of them; then the model's.
pub(super) fn read(config: Fields<'_>, generation: Fields<'_>, vocabulary: usize) -> Result<Vec<u32>, ConfigError> {
    let expected = "a token id or a list of them";
    let fields = if generation.get(KEY).is_some() { generation } else { config };
    let value = fields.get(KEY).ok_or_else(|| fields.missing(KEY, expected))?;
    let ids = match value {
        Value::Array(list) if list.len() <= MAX_EOS => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    if ids.is_empty() {
        return Err(fields.wrong(KEY, expected, value));
    }
    ids.iter().map(|id| token(fields, id, vocabulary)).collect()
}

fn token(fields: Fields<'_>, id: &Value, vocabulary: usize) -> Result<u32, ConfigError> {
    let token = id.as_u64().filter(|&id| id < vocabulary as u64).and_then(|id| u32::try_from(id).ok());
    token.ok_or_else(|| fields.wrong(KEY, format_args!("a token id below {vocabulary}"), id))
}
