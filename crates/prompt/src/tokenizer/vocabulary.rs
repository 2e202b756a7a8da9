//! Tokens, ids and merges of a file, checked against each other.

use std::collections::HashMap;
use std::fmt;

use karst_contract::limits;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use tokenizers::models::bpe::{BPE, Vocab};

use super::alphabet;
use super::error::TokenizerError;

#[derive(Deserialize)]
pub(super) struct Vocabulary {
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

#[derive(Deserialize)]
struct Model {
    vocab: Entries,
    merges: Vec<Merge>,
}

/// Tokens with their ids as they stand in the file, so that one that stands there twice can be seen.
struct Entries(Vec<(String, u32)>);

/// Two tokens that become one, written as a pair, or in older files with a space between them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

impl Vocabulary {
    /// Reads and checks tokens and ids.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let vocabulary: Self = serde_json::from_slice(bytes)?;
        vocabulary.check()?;
        Ok(vocabulary)
    }

    /// Every token: an added one may also be listed among the others, with the same id.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, u32)> {
        let others = self.model.vocab.0.iter().map(|(token, id)| (token.as_str(), *id));
        others.chain(self.added_tokens.iter().map(|added| (added.content.as_str(), added.id)))
    }

    /// The id of a control token, which must be an added one.
    pub(super) fn control(&self, token: &'static str) -> Result<u32, TokenizerError> {
        match self.added_tokens.iter().find(|added| added.content == token) {
            None => Err(TokenizerError::MissingControl { token }),
            Some(added) if added.lstrip || added.rstrip => Err(TokenizerError::Greedy { token }),
            Some(added) => Ok(added.id),
        }
    }

    fn check(&self) -> Result<(), TokenizerError> {
        let mut ids: HashMap<&str, u32> = HashMap::new();
        let mut tokens: HashMap<u32, &str> = HashMap::new();
        let limit = limits::MAX_VOCABULARY;
        for (token, id) in self.all() {
            if token.is_empty() {
                return Err(TokenizerError::EmptyToken { id });
            }
            if id >= limit {
                return Err(TokenizerError::IdTooLarge { token: token.to_owned(), id, limit });
            }
            if let Some(first) = ids.insert(token, id).filter(|&first| first != id) {
                return Err(TokenizerError::TwoIds { token: token.to_owned(), first, second: id });
            }
            if let Some(first) = tokens.insert(id, token).filter(|&first| first != token) {
                return Err(TokenizerError::SharedId { id, first: first.to_owned(), second: token.to_owned() });
            }
        }
        Ok(())
    }

    /// The model for content, which has no added token and cannot make one, and the added tokens.
    pub(super) fn split(self) -> Result<(BPE, HashMap<String, u32>), TokenizerError> {
        let added: HashMap<_, _> = self.added_tokens.into_iter().map(|added| (added.content, added.id)).collect();
        let Model { vocab, merges } = self.model;
        let vocab: Vocab = vocab.0.into_iter().filter(|(token, _)| !added.contains_key(token)).collect();
        if let Some((byte, _)) = alphabet::characters().find(|(_, written)| !vocab.contains_key(&written.to_string())) {
            return Err(TokenizerError::MissingByte { byte });
        }
        let merges = content_merges(merges, &vocab, &added)?;
        let model = BPE::builder().vocab_and_merges(vocab, merges).build().map_err(TokenizerError::library)?;
        Ok((model, added))
    }
}

/// The merges without those that make or take an added token; the order of the others, which is their rank, stays.
fn content_merges(
    merges: Vec<Merge>,
    vocab: &Vocab,
    added: &HashMap<String, u32>,
) -> Result<Vec<(String, String)>, TokenizerError> {
    let mut kept = Vec::new();
    for (index, merge) in merges.into_iter().enumerate() {
        let (left, right) = merge.pair();
        let made = format!("{left}{right}");
        let tokens = [&left, &right, &made];
        if tokens.iter().any(|token| added.contains_key(*token)) {
            continue;
        }
        if !tokens.iter().all(|token| vocab.contains_key(*token)) {
            return Err(TokenizerError::Merge { index, left, right });
        }
        kept.push((left, right));
    }
    Ok(kept)
}

impl Merge {
    fn pair(self) -> (String, String) {
        match self {
            Self::Pair(left, right) => (left, right),
            Self::Line(line) => {
                let (left, right) = line.split_once(' ').unwrap_or((&line, ""));
                (left.to_owned(), right.to_owned())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntryVisitor)
    }
}
