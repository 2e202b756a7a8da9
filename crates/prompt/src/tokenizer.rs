//! Text to ids, and ids to bytes.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::control::Control;
use crate::error::TokenizerError;
use crate::form;

/// A byte-level BPE tokenizer of the family, with text and control tokens kept apart.
pub struct Tokenizer {
    /// Knows no added tokens, so that text stays text.
    text: tokenizers::Tokenizer,
    /// Added tokens by their text, and their ids.
    added: HashMap<String, u32>,
    added_ids: HashSet<u32>,
    longest_added: usize,
    control: Control,
    /// The bytes of every token.
    bytes: Vec<Option<Box<[u8]>>>,
    /// The token of every single byte.
    single: [u32; 256],
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// When it differs from the family's form, or lacks a token that prompts or bytes need.
    pub fn from_bytes(file: &[u8]) -> Result<Self, TokenizerError> {
        let mut file: Value = serde_json::from_slice(file).map_err(|error| TokenizerError::Json(error.to_string()))?;
        form::check(&file)?;
        let added = added_tokens(&file)?;
        let mut bytes = vocabulary(&file)?;
        let single = single_bytes(&bytes)?;
        for (token, &id) in &added {
            put(&mut bytes, token, u64::from(id), token.as_bytes().into(), true)?;
        }
        let control = Control::find(&added)?;
        file["added_tokens"] = Value::Array(Vec::new());
        file["post_processor"] = Value::Null;
        let text = tokenizers::Tokenizer::from_bytes(file.to_string())
            .map_err(|error| TokenizerError::Library(error.to_string()))?;
        let added_ids = added.values().copied().collect();
        let longest_added = added.keys().map(String::len).max().unwrap_or(0);
        Ok(Self { text, added, added_ids, longest_added, control, bytes, single })
    }

    /// Ids of text; none of them is an added token's, whatever the text says.
    pub fn encode_text(&self, text: &str) -> Vec<u32> {
        // The library fails only for models that can meet an unknown byte; this one has all 256.
        let encoded = self.text.encode_fast(text, false).expect("a byte-level tokenizer encodes any text");
        let ids = encoded.get_ids();
        if ids.iter().all(|id| !self.added_ids.contains(id)) {
            return ids.to_vec();
        }
        ids.iter().flat_map(|&id| self.without_added(id)).collect()
    }

    /// A token of text; where merges built an added token, its bytes one by one.
    fn without_added(&self, id: u32) -> Vec<u32> {
        if !self.added_ids.contains(&id) {
            return vec![id];
        }
        self.token_bytes(id).unwrap_or_default().iter().map(|&byte| self.single[usize::from(byte)]).collect()
    }

    /// Ids of text in which added tokens are recognised, as the reference reads a whole prompt. For what we write
    /// ourselves, and for comparison; never for what users write.
    pub fn encode_with_control(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.split(text, |piece| match piece {
            Ok(plain) => ids.extend(self.encode_text(plain)),
            Err(id) => ids.push(id),
        });
        ids
    }

    /// Cuts text at added tokens, the longest at each place: `Ok` is plain text, `Err` an added token.
    pub(crate) fn split<'a>(&self, text: &'a str, mut piece: impl FnMut(Result<&'a str, u32>)) {
        let (mut from, mut at) = (0, 0);
        while at < text.len() {
            if let Some((id, length)) = self.added_at(&text[at..]) {
                if from < at {
                    piece(Ok(&text[from..at]));
                }
                piece(Err(id));
                at += length;
                from = at;
            } else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        if from < text.len() {
            piece(Ok(&text[from..]));
        }
    }

    fn added_at(&self, text: &str) -> Option<(u32, usize)> {
        let most = self.longest_added.min(text.len());
        let ends = (1..=most).rev().filter(|&end| text.is_char_boundary(end));
        ends.into_iter().find_map(|end| self.added.get(&text[..end]).map(|&id| (id, end)))
    }

    /// The text of ids, added tokens as they are written; bytes that are no character become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().filter_map(|&id| self.token_bytes(id)).flatten().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The bytes of a token; none for an id that no token has.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.bytes.get(id as usize)?.as_deref()
    }

    /// Ids of the control tokens.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The texts and ids of all added tokens.
    pub fn added_tokens(&self) -> impl Iterator<Item = (&str, u32)> {
        self.added.iter().map(|(token, &id)| (token.as_str(), id))
    }

    /// One more than the greatest id.
    pub fn vocabulary_len(&self) -> usize {
        self.bytes.len()
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({} tokens)", self.bytes.len())
    }
}

/// More tokens than any model has; bounds the table that ids index.
const MAX_TOKENS: u64 = 1 << 22;

fn added_tokens(file: &Value) -> Result<HashMap<String, u32>, TokenizerError> {
    let mut added = HashMap::new();
    for entry in file["added_tokens"].as_array().into_iter().flatten() {
        let token = entry["content"].as_str().unwrap_or_default().to_owned();
        let id = entry["id"].as_u64().unwrap_or(u64::MAX);
        let id = u32::try_from(id).ok().filter(|_| id < MAX_TOKENS && !token.is_empty());
        let Some(id) = id else {
            return Err(TokenizerError::Id { token, id: entry["id"].as_u64().unwrap_or(u64::MAX) });
        };
        if let Some(before) = added.insert(token.clone(), id)
            && before != id
        {
            return Err(TokenizerError::Id { token, id: u64::from(id) });
        }
    }
    Ok(added)
}

/// The bytes of each token of the vocabulary, by id.
fn vocabulary(file: &Value) -> Result<Vec<Option<Box<[u8]>>>, TokenizerError> {
    let tokens = file["model"]["vocab"].as_object().ok_or_else(|| TokenizerError::Form {
        part: "model.vocab",
        expected: "an object".to_owned(),
        found: "something else".to_owned(),
    })?;
    let alphabet = alphabet();
    let mut bytes = Vec::new();
    for (token, id) in tokens {
        put(&mut bytes, token, id.as_u64().unwrap_or(u64::MAX), token_bytes(token, &alphabet), false)?;
    }
    Ok(bytes)
}

fn put(
    table: &mut Vec<Option<Box<[u8]>>>,
    token: &str,
    id: u64,
    bytes: Box<[u8]>,
    replace: bool,
) -> Result<(), TokenizerError> {
    let place = usize::try_from(id).ok().filter(|_| id < MAX_TOKENS);
    let Some(place) = place else { return Err(TokenizerError::Id { token: token.to_owned(), id }) };
    if table.len() <= place {
        table.resize(place + 1, None);
    }
    if table[place].is_some() && !replace {
        return Err(TokenizerError::Id { token: token.to_owned(), id });
    }
    table[place] = Some(bytes);
    Ok(())
}

/// The bytes that a token's letters stand for; a token with any other letter stands for itself.
fn token_bytes(token: &str, alphabet: &HashMap<char, u8>) -> Box<[u8]> {
    let bytes: Option<Vec<u8>> = token.chars().map(|letter| alphabet.get(&letter).copied()).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec()).into()
}

/// The byte that each letter of a byte-level vocabulary stands for: printable bytes stand for themselves, the others, in order,
/// are letters from U+0100 on (GPT-2's `bytes_to_unicode`).
fn alphabet() -> HashMap<char, u8> {
    let mut next = 0x100;
    let mut letter = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or_default()
        }
    };
    (0..=255).map(|byte| (letter(byte), byte)).collect()
}

fn single_bytes(table: &[Option<Box<[u8]>>]) -> Result<[u32; 256], TokenizerError> {
    let mut single = [None; 256];
    for (id, bytes) in table.iter().enumerate() {
        if let Some([byte]) = bytes.as_deref() {
            single[usize::from(*byte)].get_or_insert(id as u32);
        }
    }
    let mut found = [0; 256];
    for (byte, id) in single.iter().enumerate() {
        found[byte] = id.ok_or_else(|| TokenizerError::Missing { token: format!("of the byte 0x{byte:02x}") })?;
    }
    Ok(found)
}
