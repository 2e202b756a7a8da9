//! Which shard holds which tensor. Every shard's length and header are proven before the first is mapped.

mod error;
mod index;

use std::collections::BTreeMap;
use std::fs::File;

use crate::folder::Folder;
use crate::header::{Entry, Header};
use crate::map::{Access, Map};
use crate::{CheckpointError, Tensor};

pub use error::ShardError;
use index::Index;

/// All shards of a checkpoint.
#[derive(Debug)]
pub(crate) struct Shards {
    maps: Vec<Map>,
    places: BTreeMap<String, Place>,
}

/// Where a tensor lies.
#[derive(Debug)]
struct Place {
    shard: usize,
    entry: Entry,
}

/// A shard that is proven and not mapped yet.
struct Proven {
    name: String,
    file: File,
    length: u64,
    header: Header,
}

impl Shards {
    pub(crate) fn open(folder: &Folder, access: Access) -> Result<Self, CheckpointError> {
        let index = Index::read(folder)?;
        let mut proven = index.files().map(|name| prove(folder, name)).collect::<Result<Vec<_>, _>>()?;
        index.compare(proven.iter().map(|shard| (shard.name.as_str(), shard.header.tensors())))?;
        let mut places = BTreeMap::new();
        for (shard, proven) in proven.iter_mut().enumerate() {
            let tensors = proven.header.take_tensors();
            places.extend(tensors.into_iter().map(|(name, entry)| (name, Place { shard, entry })));
        }
        let maps = proven.iter().map(|shard| shard.map(access)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { maps, places })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.places.values().map(|place| place.entry.bytes.end - place.entry.bytes.start).sum()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Tensor<'_>> {
        let (name, place) = self.places.get_key_value(name)?;
        let bytes = &self.maps[place.shard].bytes()[place.range()];
        Some(Tensor { name, dtype: place.entry.dtype, shape: &place.entry.shape, bytes })
    }

    /// Gives back the memory of the tensor `prefix` and of those whose names go on with a dot after it.
    pub(crate) fn release(&self, prefix: &str) {
        let below = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let names = self.places.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        for (_, place) in names.filter(|(name, _)| below(name)) {
            // An advice that the system does not take costs memory, not correctness.
            let _ = self.maps[place.shard].release(place.range());
        }
    }
}

impl Place {
    /// The tensor's bytes in its map. The header's proof bounds them by the length of the map, so they fit.
    fn range(&self) -> std::ops::Range<usize> {
        self.entry.bytes.start as usize..self.entry.bytes.end as usize
    }
}

impl Proven {
    fn map(&self, access: Access) -> Result<Map, ShardError> {
        let unmapped = |source| ShardError::Unmapped { shard: self.name.clone(), source };
        Map::new(&self.file, self.length, access).map_err(unmapped)
    }
}

fn prove(folder: &Folder, name: &str) -> Result<Proven, CheckpointError> {
    let (file, length) = folder.file(name)?;
    let header = Header::read(&file, length);
    let header = header.map_err(|source| CheckpointError::Header { shard: name.into(), source })?;
    Ok(Proven { name: name.into(), file, length, header })
}
