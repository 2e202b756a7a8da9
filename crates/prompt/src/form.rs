//! The form that a tokenizer file must have. A pattern from a foreign file could take for ever on some text, and a foreign
//! normaliser would break the promise that text stays text; so all but the vocabulary is fixed.

use serde_json::{Value, json};

use crate::error::TokenizerError;

/// The published pattern that cuts text into words.
const PATTERN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Checks all parts but the tokens.
pub(crate) fn check(file: &Value) -> Result<(), TokenizerError> {
    expect(file, "/normalizer", "normalizer", &json!({ "type": "NFC" }))?;
    let pre = "/pre_tokenizer";
    for (pointer, part, expected) in [
        ("/type", "pre_tokenizer.type", json!("Sequence")),
        ("/pretokenizers/0/type", "the first pre-tokenizer", json!("Split")),
        ("/pretokenizers/0/pattern", "the pattern", json!({ "Regex": PATTERN })),
        ("/pretokenizers/0/behavior", "the behaviour of the pattern", json!("Isolated")),
        ("/pretokenizers/0/invert", "the inversion of the pattern", json!(false)),
        ("/pretokenizers/1/type", "the second pre-tokenizer", json!("ByteLevel")),
        ("/pretokenizers/1/add_prefix_space", "the added prefix space", json!(false)),
        ("/pretokenizers/1/use_regex", "the second pattern", json!(false)),
        ("/pretokenizers/2", "the third pre-tokenizer", Value::Null),
    ] {
        expect(file, &format!("{pre}{pointer}"), part, &expected)?;
    }
    for (pointer, part, expected) in [
        ("/decoder/type", "decoder.type", json!("ByteLevel")),
        ("/model/type", "model.type", json!("BPE")),
        ("/truncation", "truncation", Value::Null),
        ("/padding", "padding", Value::Null),
        ("/model/dropout", "model.dropout", Value::Null),
        ("/model/unk_token", "model.unk_token", Value::Null),
    ] {
        expect(file, pointer, part, &expected)?;
    }
    for (pointer, part) in [
        ("/model/continuing_subword_prefix", "model.continuing_subword_prefix"),
        ("/model/end_of_word_suffix", "model.end_of_word_suffix"),
    ] {
        let found = file.pointer(pointer).unwrap_or(&Value::Null);
        if !found.is_null() && found != "" {
            return Err(differs(part, "nothing", found));
        }
    }
    for (pointer, part) in [
        ("/model/byte_fallback", "model.byte_fallback"),
        ("/model/ignore_merges", "model.ignore_merges"),
        ("/model/fuse_unk", "model.fuse_unk"),
    ] {
        let found = file.pointer(pointer).unwrap_or(&Value::Bool(false));
        if found != false {
            return Err(differs(part, "false", found));
        }
    }
    Ok(())
}

fn expect(file: &Value, pointer: &str, part: &'static str, expected: &Value) -> Result<(), TokenizerError> {
    let found = file.pointer(pointer).unwrap_or(&Value::Null);
    if found == expected { Ok(()) } else { Err(differs(part, &expected.to_string(), found)) }
}

fn differs(part: &'static str, expected: &str, found: &Value) -> TokenizerError {
    let found: String = found.to_string().chars().take(200).collect();
    TokenizerError::Form { part, expected: expected.to_owned(), found }
}
