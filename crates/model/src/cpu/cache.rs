//! Paged keys and values: a pool of blocks for each layer, and rows that name theirs in a table.
//!
//! Each key/value head has its own part of the pool, so that attention of one head walks through memory in order where the
//! blocks of a row lie in order. Values lie token after token; keys lie [`TILE`] tokens abreast, so that a query meets that many with one instruction and no sum has to be
//! taken across a register. The pool is taken from the system as zeroed pages, which cost nothing until written.

use crate::ModelError;

/// Tokens whose keys lie abreast.
pub(crate) const TILE: usize = 16;

/// The sizes that all layers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheShape {
    pub(crate) layers: usize,
    pub(crate) blocks: usize,
    /// Tokens in a block.
    pub(crate) block: usize,
    pub(crate) kv_heads: usize,
    /// Numbers in a head.
    pub(crate) width: usize,
}

/// The pool.
pub(crate) struct Cache {
    shape: CacheShape,
    layers: Vec<Pages>,
}

/// One layer's blocks.
struct Pages {
    /// [K, blocks, tiles, D, TILE].
    keys: Vec<f32>,
    /// [K, blocks, block, D].
    values: Vec<f32>,
}

/// One layer's keys and values of one row.
#[derive(Clone, Copy)]
pub(crate) struct RowCache<'a> {
    shape: CacheShape,
    pages: &'a Pages,
    table: &'a [u32],
}

/// One head's part of a block.
pub(crate) struct BlockCache<'a> {
    /// Tokens in use.
    pub(crate) tokens: usize,
    /// [tiles, D, TILE]; what lies beyond `tokens` has no meaning.
    pub(crate) keys: &'a [f32],
    /// [tokens, D].
    pub(crate) values: &'a [f32],
}

impl CacheShape {
    /// Numbers of one head's keys in one block, whole tiles.
    fn keys(&self) -> usize {
        self.block.next_multiple_of(TILE) * self.width
    }

    /// Numbers of one head's values in one block.
    fn values(&self) -> usize {
        self.block * self.width
    }

    /// Bytes of the whole pool, when it is written full.
    fn bytes(&self) -> Option<u64> {
        let tokens = self.block.checked_next_multiple_of(TILE)?.checked_add(self.block)?;
        [self.layers, self.blocks, self.kv_heads, self.width, size_of::<f32>()]
            .iter()
            .try_fold(tokens as u64, |total, &factor| total.checked_mul(factor as u64))
    }
}

impl Cache {
    /// A pool of zeroed blocks.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub(crate) fn new(shape: CacheShape) -> Result<Self, ModelError> {
        let bytes = shape.bytes().unwrap_or(u64::MAX);
        let out_of_memory = || ModelError::OutOfMemory { what: "the cache of keys and values", bytes };
        if bytes > isize::MAX as u64 {
            return Err(out_of_memory());
        }
        let pool = |size: usize| bytemuck::allocation::try_zeroed_vec(shape.blocks * shape.kv_heads * size);
        let pages = || Ok(Pages { keys: pool(shape.keys())?, values: pool(shape.values())? });
        let layers = (0..shape.layers).map(|_| pages()).collect::<Result<_, ()>>().map_err(|()| out_of_memory())?;
        Ok(Self { shape, layers })
    }

    pub(crate) fn shape(&self) -> CacheShape {
        self.shape
    }

    /// Bytes of the pool, whether written or not.
    pub(crate) fn bytes(&self) -> u64 {
        self.shape.bytes().unwrap_or(u64::MAX)
    }

    /// Stores keys and values [T, K * D] of the tokens from `position` on.
    pub(crate) fn write(&mut self, layer: usize, table: &[u32], position: usize, keys: &[f32], values: &[f32]) {
        let CacheShape { blocks, block, kv_heads, width, .. } = self.shape;
        let pages = &mut self.layers[layer];
        let heads = keys.chunks_exact(width).zip(values.chunks_exact(width)).enumerate();
        for (i, (key, value)) in heads {
            let (token, head) = (position + i / kv_heads, i % kv_heads);
            let (place, slot) = (head * blocks + table[token / block] as usize, token % block);
            let tile = place * self.shape.keys() + slot / TILE * TILE * width + slot % TILE;
            let column = pages.keys[tile..].iter_mut().step_by(TILE);
            column.zip(key).for_each(|(to, &from)| *to = from);
            let start = place * self.shape.values() + slot * width;
            pages.values[start..start + width].copy_from_slice(value);
        }
    }

    /// One layer's keys and values of the row with this table.
    pub(crate) fn row<'a>(&'a self, layer: usize, table: &'a [u32]) -> RowCache<'a> {
        RowCache { shape: self.shape, pages: &self.layers[layer], table }
    }
}

impl<'a> RowCache<'a> {
    /// Numbers in a head.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        self.shape.width
    }

    /// The blocks that hold the first `length` tokens of one head.
    #[inline(always)]
    pub(crate) fn blocks(self, head: usize, length: usize) -> impl Iterator<Item = BlockCache<'a>> {
        let CacheShape { blocks, block, width, .. } = self.shape;
        self.table[..length.div_ceil(block)].iter().enumerate().map(move |(i, &index)| {
            let tokens = block.min(length - i * block);
            let place = head * blocks + index as usize;
            let keys = &self.pages.keys[place * self.shape.keys()..][..tokens.next_multiple_of(TILE) * width];
            let values = &self.pages.values[place * self.shape.values()..][..tokens * width];
            BlockCache { tokens, keys, values }
        })
    }

    /// The first `length` keys and values of one head, each as [length, D].
    pub(crate) fn gather(self, head: usize, length: usize) -> (Vec<f32>, Vec<f32>) {
        let width = self.width();
        let (mut keys, mut values) = (Vec::with_capacity(length * width), Vec::with_capacity(length * width));
        for block in self.blocks(head, length) {
            for token in 0..block.tokens {
                let tile = &block.keys[token / TILE * TILE * width..][..TILE * width];
                keys.extend(tile[token % TILE..].iter().step_by(TILE));
            }
            values.extend_from_slice(block.values);
        }
        (keys, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(block: usize) -> CacheShape {
        CacheShape { layers: 2, blocks: 5, block, kv_heads: 2, width: 3 }
    }

    /// The numbers of one head among those of both, [T, 3].
    fn of_head(numbers: &[f32], head: usize) -> Vec<f32> {
        numbers.chunks(3).skip(head).step_by(2).flatten().copied().collect()
    }

    #[test]
    fn what_is_written_in_chunks_is_read_in_order_whatever_the_table_and_the_block() {
        for (block, table) in [(4, vec![3, 0, 4]), (16, vec![2]), (11, vec![4]), (24, vec![1])] {
            let mut cache = Cache::new(shape(block)).unwrap();
            let keys: Vec<f32> = (0..11 * 6).map(|i| i as f32).collect();
            let values: Vec<f32> = keys.iter().map(|key| -key).collect();
            for (start, end) in [(0, 5), (5, 6), (6, 11)] {
                cache.write(1, &table, start, &keys[start * 6..end * 6], &values[start * 6..end * 6]);
            }
            for head in 0..2 {
                let row = cache.row(1, &table);
                assert_eq!(row.gather(head, 11), (of_head(&keys, head), of_head(&values, head)), "{block}");
                assert_eq!(row.gather(head, 6).0, of_head(&keys[..36], head), "{block}");
                assert!(cache.row(0, &table).gather(head, 11).0.iter().all(|&key| key == 0.0), "the other layer");
            }
        }
    }

    #[test]
    fn rows_with_blocks_of_their_own_do_not_see_each_other() {
        let mut cache = Cache::new(shape(4)).unwrap();
        cache.write(0, &[1], 0, &[1.0; 24], &[1.0; 24]);
        cache.write(0, &[2], 0, &[2.0; 24], &[2.0; 24]);
        assert_eq!(cache.row(0, &[1]).gather(1, 4), (vec![1.0; 12], vec![1.0; 12]));
        assert_eq!(cache.row(0, &[2]).gather(0, 4), (vec![2.0; 12], vec![2.0; 12]));
    }

    #[test]
    fn a_cache_beyond_all_memory_is_an_error() {
        for blocks in [usize::MAX, 1 << 58, 1 << 45] {
            let error = Cache::new(CacheShape { blocks, ..shape(16) }).err();
            assert!(matches!(error, Some(ModelError::OutOfMemory { .. })), "{blocks}");
        }
        assert!(Cache::new(CacheShape { block: usize::MAX, ..shape(16) }).is_err());
    }
}
