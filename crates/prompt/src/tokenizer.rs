//! Text to ids by a tokenizer that knows no control token, and ids to bytes by a table.

mod alphabet;
mod error;
mod form;
mod table;
mod vocabulary;
mod words;

use std::collections::HashMap;
use std::fmt;

use karst_contract::limits;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{TokenizerBuilder, TokenizerImpl};

use crate::control::Control;
pub use error::TokenizerError;
use table::Table;
use vocabulary::Vocabulary;
use words::Words;

/// Normalisation, the split into words and merges; nothing is added after them and nothing is decoded by them.
type ContentTokenizer = TokenizerImpl<BPE, NFC, Words, ByteLevel, ByteLevel>;

/// The tokenizer of a checkpoint.
///
/// Added tokens, which is what control tokens are, stand in a table of their own. The tokenizer for content has neither
/// them nor any merge that leads to one of them, so that there is no text whose ids hold one.
pub struct Tokenizer {
    content: ContentTokenizer,
    table: Table,
    added: HashMap<String, u32>,
    control: Control,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file is damaged, lacks a control token, or tokenises in another way than the published model's: its pattern
    /// is compared with the known one and never run.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let (length, limit) = (bytes.len() as u64, limits::MAX_JSON_BYTES);
        if length > limit {
            return Err(TokenizerError::TooLong { bytes: length, limit });
        }
        form::check(bytes)?;
        let vocabulary = Vocabulary::read(bytes)?;
        let control = Control::find(|token| vocabulary.control(token))?;
        let table = Table::new(vocabulary.all());
        let (content, added) = vocabulary.split()?;
        Ok(Self { content: content_tokenizer(content)?, table, added, control })
    }

    /// The ids of text that is only text, whatever it says: none of them is an added token's. Takes time in proportion to
    /// the text, about a second for a megabyte.
    ///
    /// # Panics
    /// Never: every byte has a token, and that is all that the tokenizer's parts could miss.
    pub fn encode_text(&self, text: &str) -> Vec<u32> {
        let encoding = self.content.encode_fast(text, false).expect("byte-level merges take any text");
        encoding.get_ids().to_vec()
    }

    /// The ids of text in which added tokens mean themselves, as the reference reads everything. Only to compare with it:
    /// foreign text must never come here.
    pub fn encode_with_control(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        while let Some((before, id, after)) = self.next_added(rest) {
            ids.append(&mut self.encode_text(before));
            ids.push(id);
            rest = after;
        }
        ids.append(&mut self.encode_text(rest));
        ids
    }

    /// The first added token in `text`, the longest one there, with what stands around it.
    fn next_added<'t>(&self, text: &'t str) -> Option<(&'t str, u32, &'t str)> {
        let longest_at = |(at, _): (usize, char)| {
            let begins = self.added.iter().filter(|(token, _)| text[at..].starts_with(token.as_str()));
            begins.max_by_key(|(token, _)| token.len()).map(|(token, id)| (&text[..at], *id, &text[at + token.len()..]))
        };
        text.char_indices().find_map(longest_at)
    }

    /// The text of `ids`, control tokens included. Bytes that are no character become U+FFFD, ids beyond the vocabulary
    /// nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().filter_map(|&id| self.token_bytes(id)).flatten().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The bytes of a token; a character's bytes may be spread over several tokens.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.table.bytes(id)
    }

    /// The ids of the control tokens.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Every added token with its id, in no order.
    pub fn added_tokens(&self) -> impl Iterator<Item = (&str, u32)> {
        self.added.iter().map(|(token, &id)| (token.as_str(), id))
    }

    /// One more than the largest id.
    pub fn vocabulary_len(&self) -> usize {
        self.table.len()
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("vocabulary_len", &self.vocabulary_len()).finish_non_exhaustive()
    }
}

fn content_tokenizer(model: BPE) -> Result<ContentTokenizer, TokenizerError> {
    let builder = TokenizerBuilder::new().with_model(model).with_normalizer(Some(NFC));
    builder.with_pre_tokenizer(Some(Words::new()?)).build().map_err(TokenizerError::library)
}
