//! Which blocks of the key-value cache belong to whom. It counts blocks and never sees a key.

use std::sync::Arc;

/// The blocks of a cache, free or taken.
#[derive(Debug)]
pub struct Blocks {
    /// Taken from the end and given back to the end: what was used last is used first, so that a cache that is reserved
    /// but never filled costs no memory.
    free: Vec<u32>,
    total: usize,
    /// Tokens a block.
    size: usize,
}

/// The blocks of one request, in the order of its positions. It cannot be cloned, so that no block has two owners.
#[derive(Debug)]
#[must_use = "blocks that are not given back are lost"]
pub struct Table(Arc<[u32]>);

impl Blocks {
    /// `total` free blocks of `size` tokens.
    pub fn new(total: u32, size: usize) -> Self {
        Self { free: (0..total).rev().collect(), total: total as usize, size: size.max(1) }
    }

    /// Takes blocks for `tokens` positions, or none at all.
    pub fn take(&mut self, tokens: usize) -> Option<Table> {
        let rest = self.free.len().checked_sub(self.blocks_for(tokens))?;
        let mut ids = self.free.split_off(rest);
        ids.reverse();
        Some(Table(ids.into()))
    }

    /// Takes a request's blocks back.
    pub fn give(&mut self, table: Table) {
        let Table(ids) = table;
        self.free.extend(ids.iter().rev());
    }

    /// How many blocks hold `tokens` positions.
    pub fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.size)
    }

    /// Blocks that nobody has.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Blocks in all.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Tokens a block.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Table {
    /// The blocks' numbers, for a row of a plan.
    pub fn ids(&self) -> Arc<[u32]> {
        Arc::clone(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_taken_whole_or_not_at_all() {
        let mut blocks = Blocks::new(4, 16);
        let first = blocks.take(33).unwrap();
        assert_eq!(&first.ids()[..], [0, 1, 2]);
        assert!(blocks.take(17).is_none());
        assert_eq!(blocks.free(), 1);
        let second = blocks.take(16).unwrap();
        assert_eq!(&second.ids()[..], [3]);
        blocks.give(first);
        blocks.give(second);
        assert_eq!(blocks.free(), blocks.total());
    }

    #[test]
    fn what_was_used_last_is_used_first() {
        let mut blocks = Blocks::new(100, 16);
        for _ in 0..10 {
            let table = blocks.take(48).unwrap();
            assert_eq!(&table.ids()[..], [0, 1, 2]);
            blocks.give(table);
        }
    }
}
