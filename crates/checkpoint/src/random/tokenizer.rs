//! The tokenizer of a random checkpoint: a copy of a given one, or a small one of this family.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use karst_contract::limits;
use serde_json::{Value, json};

use super::{RandomError, Spec};
use crate::json;

/// The tokens of the family that text cannot spell, in the order of the published tokenizer. Those from `<tool_call>` to
/// `</think>` are shown when an answer is decoded, the others are not.
const ADDED: [&str; 43] = [
    "<unk>",
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
    "<image>",
    "</image>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    "<quad>",
    "</quad>",
    "<point>",
    "</point>",
    "<slice>",
    "</slice>",
    "<image_id>",
    "</image_id>",
    "<unit>",
    "</unit>",
];

/// How text is cut before pairs are merged.
const SPLIT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The tokens that end an answer.
const EOS: [&str; 2] = ["<|im_end|>", "<|endoftext|>"];

/// The tokenizer that is written.
pub(super) struct Choice {
    pub(super) json: Vec<u8>,
    pub(super) eos: Vec<u32>,
}

impl Choice {
    pub(super) fn new(spec: &Spec) -> Result<Self, RandomError> {
        match &spec.tokenizer {
            Some(path) => copied(path, spec.decoder.vocabulary),
            None => made(spec.decoder.vocabulary),
        }
    }
}

fn copied(path: &Path, vocabulary: usize) -> Result<Choice, RandomError> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(limits::MAX_JSON_BYTES).read_to_end(&mut bytes));
    file.map_err(|source| RandomError::Read { path: path.into(), source })?;
    let object = json::object(&bytes).map_err(|source| RandomError::TokenizerJson { path: path.into(), source })?;
    let added = object.get("added_tokens").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let id = |token: &Value| token["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    let plain = object.get("model").and_then(|model| model["vocab"].as_object()).map_or(0, serde_json::Map::len);
    let tokens = added.iter().filter_map(id).map(|id| id as usize + 1).fold(plain, usize::max);
    if tokens > vocabulary {
        return Err(RandomError::Vocabulary { vocabulary, tokens });
    }
    let find = |name: &str| added.iter().find(|token| token["content"] == name).and_then(id);
    let missing = |name| RandomError::Tokenizer { path: path.into(), problem: format!("it has no token {name}") };
    let eos = EOS.iter().map(|name| find(name).ok_or_else(|| missing(name))).collect::<Result<_, _>>()?;
    Ok(Choice { json: bytes, eos })
}

/// 256 bytes, words up to the size of the vocabulary so that every token of a random model can be decoded, and last the added
/// tokens. Nothing is merged: text becomes its bytes.
fn made(vocabulary: usize) -> Result<Choice, RandomError> {
    let least = 256 + ADDED.len();
    let Some(words) = vocabulary.checked_sub(least) else {
        return Err(RandomError::Vocabulary { vocabulary, tokens: least });
    };
    let first = (256 + words) as u32;
    let bytes = (0..=u8::MAX).map(|byte| (letter(byte).to_string(), u32::from(byte)));
    let words = (256..first).map(|id| (format!("{}w{id}", letter(b' ')), id));
    let vocab: serde_json::Map<_, _> = bytes.chain(words).map(|(token, id)| (token, id.into())).collect();
    let added: BTreeMap<&str, u32> = ADDED.iter().copied().zip(first..).collect();
    let eos = EOS.iter().map(|name| added[name]).collect();
    Ok(Choice { json: file(&vocab, first).to_string().into_bytes(), eos })
}

/// The letter by which byte-level tokenizers write a byte: itself if it is visible, else one beyond the first 256.
fn letter(byte: u8) -> char {
    let visible = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if visible(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&other| !visible(other)).count() as u32;
    char::from_u32(256 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn file(vocab: &serde_json::Map<String, Value>, first: u32) -> Value {
    let shown =
        ADDED.iter().position(|&name| name == "<tool_call>")..=ADDED.iter().position(|&name| name == "</think>");
    let token = |(place, content): (usize, &&str)| {
        json!({
            "id": first + place as u32, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": !shown.contains(&Some(place)),
        })
    };
    let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let split = json!({ "type": "Split", "pattern": { "Regex": SPLIT }, "behavior": "Isolated", "invert": false });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": ADDED.iter().enumerate().map(token).collect::<Vec<_>>(),
        "normalizer": { "type": "NFC" },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [split, level] },
        "post_processor": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": [],
        },
    })
}
