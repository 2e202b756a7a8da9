//! `model.safetensors.index.json`: the shard of each tensor.

use std::collections::{BTreeMap, BTreeSet};

use karst_contract::limits;
use serde_json::{Map, Value};

use super::ShardError;
use crate::folder::Folder;
use crate::header::Entry;
use crate::{CheckpointError, json};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// Names listed in an error before it says "and so on".
const EXAMPLES: usize = 5;

/// The shard of each tensor, or one file that holds them all.
pub(super) enum Index {
    Listed(BTreeMap<String, String>),
    Single,
}

impl Index {
    /// Reads the index. Without one, `model.safetensors` holds everything; with one, only the shards it names are looked at.
    pub(super) fn read(folder: &Folder) -> Result<Self, CheckpointError> {
        let Some(bytes) = folder.read(INDEX, limits::MAX_JSON_BYTES)? else {
            return match folder.find(SINGLE)? {
                Some(_) => Ok(Self::Single),
                None => Err(ShardError::NoWeights { folder: folder.path().display().to_string() }.into()),
            };
        };
        let index = json::object(&bytes).map_err(|source| CheckpointError::Json { file: INDEX, source })?;
        Ok(Self::Listed(listed(&index)?))
    }

    /// The names of all shards, each once.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::Listed(map) => map.values().map(String::as_str).collect::<BTreeSet<_>>(),
            Self::Single => BTreeSet::from([SINGLE]),
        }
        .into_iter()
    }

    /// Proves that each tensor of the index is once in the shards, in the one that the index names, and that no other is.
    pub(super) fn compare<'a>(
        &self,
        shards: impl Iterator<Item = (&'a str, &'a BTreeMap<String, Entry>)>,
    ) -> Result<(), ShardError> {
        let Self::Listed(listed) = self else { return Ok(()) };
        let mut found: BTreeMap<&str, &str> = BTreeMap::new();
        for (shard, tensors) in shards {
            for tensor in tensors.keys() {
                if let Some(first) = found.insert(tensor, shard) {
                    let (tensor, first, second) = (tensor.clone(), first.to_owned(), shard.to_owned());
                    return Err(ShardError::TwoShards { tensor, first, second });
                }
            }
            left_over(shard, tensors, listed)?;
        }
        listed.iter().try_for_each(|(tensor, listed)| agree(tensor, listed, found.get(tensor.as_str()).copied()))
    }
}

fn left_over(
    shard: &str,
    tensors: &BTreeMap<String, Entry>,
    listed: &BTreeMap<String, String>,
) -> Result<(), ShardError> {
    let others: Vec<&String> = tensors.keys().filter(|tensor| !listed.contains_key(*tensor)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let tensors = others.iter().take(EXAMPLES).map(|&name| name.clone()).collect();
    Err(ShardError::LeftOver { shard: shard.into(), count: others.len(), tensors })
}

fn agree(tensor: &str, listed: &str, found: Option<&str>) -> Result<(), ShardError> {
    let (tensor, listed) = (tensor.to_owned(), listed.to_owned());
    match found {
        Some(found) if found == listed => Ok(()),
        Some(found) => Err(ShardError::WrongShard { tensor, listed, found: found.into() }),
        None => Err(ShardError::Absent { tensor, listed }),
    }
}

fn listed(index: &Map<String, Value>) -> Result<BTreeMap<String, String>, ShardError> {
    let map = index.get("weight_map").and_then(Value::as_object).ok_or(ShardError::NoWeightMap)?;
    if map.len() > limits::MAX_TENSORS {
        return Err(ShardError::TooManyTensors { found: map.len(), limit: limits::MAX_TENSORS });
    }
    let listed = map.iter().map(shard_of).collect::<Result<BTreeMap<_, _>, _>>()?;
    let shards = listed.values().collect::<BTreeSet<_>>().len();
    if shards > limits::MAX_SHARDS {
        return Err(ShardError::TooManyShards { found: shards, limit: limits::MAX_SHARDS });
    }
    Ok(listed)
}

fn shard_of((tensor, shard): (&String, &Value)) -> Result<(String, String), ShardError> {
    match shard.as_str() {
        Some(shard) if shard.ends_with(".safetensors") => Ok((tensor.clone(), shard.into())),
        Some(shard) => Err(ShardError::NotSafetensors { shard: shard.into() }),
        None => Err(ShardError::NotName { tensor: tensor.clone(), found: json::kind(shard) }),
    }
}
