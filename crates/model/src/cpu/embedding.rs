//! The table of token embeddings, kept in the width in which it was stored.

use half::{bf16, f16};

/// [V, H] in 16 or 32 bits.
pub(crate) struct Embedding {
    pub(crate) words: Words,
    pub(crate) hidden: usize,
}

/// The numbers of an [`Embedding`].
pub(crate) enum Words {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Embedding {
    /// Writes the row of token `id` to `out` [H].
    pub(crate) fn row(&self, id: u32, out: &mut [f32]) {
        let range = id as usize * self.hidden..(id as usize + 1) * self.hidden;
        match &self.words {
            Words::F32(words) => out.copy_from_slice(&words[range]),
            Words::F16(words) => out.iter_mut().zip(&words[range]).for_each(|(out, word)| *out = word.to_f32()),
            Words::Bf16(words) => out.iter_mut().zip(&words[range]).for_each(|(out, word)| *out = word.to_f32()),
        }
    }

    /// Tokens in the table.
    pub(crate) fn vocabulary(&self) -> usize {
        let words = match &self.words {
            Words::F32(words) => words.len(),
            Words::F16(words) => words.len(),
            Words::Bf16(words) => words.len(),
        };
        words / self.hidden
    }

    pub(crate) fn bytes(&self) -> u64 {
        let width = if matches!(self.words, Words::F32(_)) { 4 } else { 2 };
        (self.vocabulary() * self.hidden * width) as u64
    }
}
