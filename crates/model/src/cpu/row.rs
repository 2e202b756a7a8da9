//! What one request appends in a forward pass, and the proof that it fits.

use super::cache::CacheShape;
use crate::ModelError;

/// Which positions of a row's chunk get logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// None: a chunk of a prompt that goes on.
    None,
    /// The last one: what follows is to be sampled.
    Last,
    /// Every one.
    All,
}

/// A chunk of ids that a request appends to what the cache holds of it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The blocks of this request's keys and values, in order; those of the chunk itself included.
    pub blocks: &'a [u32],
    /// Tokens that the cache already holds: the position of the chunk's first id.
    pub past: usize,
    /// The chunk, at least one id. Ids under features are placeholders.
    pub ids: &'a [u32],
    /// Features that stand in for embeddings: the offset in this chunk, and any number of rows [rows, H].
    pub features: &'a [(usize, &'a [f32])],
    /// Which positions get logits.
    pub logits: Logits,
}

/// What rows are checked against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) cache: CacheShape,
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
}

impl Row<'_> {
    /// Offsets in the chunk of the positions that get logits.
    pub(crate) fn wanted(&self) -> std::ops::Range<usize> {
        match self.logits {
            Logits::None => 0..0,
            Logits::Last => self.ids.len() - 1..self.ids.len(),
            Logits::All => 0..self.ids.len(),
        }
    }

    /// Proves that every index of the row lies within the model's tables.
    pub(crate) fn check(&self, row: usize, limits: Limits) -> Result<(), ModelError> {
        if self.ids.is_empty() {
            return Err(ModelError::EmptyRow { row });
        }
        if let Some(&id) = self.ids.iter().find(|&&id| id as usize >= limits.vocabulary) {
            return Err(ModelError::UnknownToken { row, id, vocabulary: limits.vocabulary });
        }
        self.check_blocks(row, limits.cache)?;
        self.features.iter().try_for_each(|&(offset, features)| {
            let end = offset.checked_add(features.len() / limits.hidden);
            if features.len() % limits.hidden != 0 || end.is_none_or(|end| end > self.ids.len()) {
                let (numbers, hidden, ids) = (features.len(), limits.hidden, self.ids.len());
                return Err(ModelError::FeaturesMisplaced { row, offset, numbers, hidden, ids });
            }
            Ok(())
        })
    }

    fn check_blocks(&self, row: usize, cache: CacheShape) -> Result<(), ModelError> {
        let room = self.blocks.len().saturating_mul(cache.block);
        let tokens = self.past.saturating_add(self.ids.len());
        if tokens > room {
            return Err(ModelError::BlocksMissing { row, tokens, room });
        }
        match self.blocks.iter().find(|&&block| block as usize >= cache.blocks) {
            Some(&block) => Err(ModelError::UnknownBlock { row, block, blocks: cache.blocks }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        cache: CacheShape { layers: 1, blocks: 4, block: 16, kv_heads: 1, width: 2 },
        vocabulary: 10,
        hidden: 3,
    };

    fn row<'a>(blocks: &'a [u32], past: usize, ids: &'a [u32], features: &'a [(usize, &'a [f32])]) -> Row<'a> {
        Row { blocks, past, ids, features, logits: Logits::Last }
    }

    #[test]
    fn a_row_that_reaches_beyond_a_table_is_refused_by_name() {
        let refused = |row: Row<'_>| row.check(7, LIMITS).unwrap_err();
        assert!(row(&[3, 0], 30, &[9, 0], &[(1, &[0.0; 3])]).check(7, LIMITS).is_ok());
        assert!(matches!(refused(row(&[0], 0, &[], &[])), ModelError::EmptyRow { row: 7 }));
        assert!(matches!(refused(row(&[0], 0, &[10], &[])), ModelError::UnknownToken { id: 10, .. }));
        assert!(matches!(refused(row(&[0], 16, &[1], &[])), ModelError::BlocksMissing { tokens: 17, room: 16, .. }));
        assert!(matches!(refused(row(&[0], usize::MAX, &[1], &[])), ModelError::BlocksMissing { .. }));
        assert!(matches!(refused(row(&[4], 0, &[1], &[])), ModelError::UnknownBlock { block: 4, .. }));
        for features in [(0, &[0.0; 2][..]), (1, &[0.0; 3]), (0, &[0.0; 6]), (usize::MAX, &[0.0; 3])] {
            let refused = refused(row(&[0], 0, &[1], &[features]));
            assert!(matches!(refused, ModelError::FeaturesMisplaced { .. }), "{refused}");
        }
    }
}
