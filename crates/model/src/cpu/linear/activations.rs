//! Activation rows as the kernels read them: in blocks, the numbers of one input side by side.

use std::ops::Range;

use rayon::prelude::*;

use super::layout::Layout;

/// Numbers from which packing them is worth a second thread.
const PAYS: usize = 1 << 16;

/// A few rows that share each weight.
pub(super) struct Block {
    rows: usize,
    /// `[places, rows]`, each number multiplied by its input's unit; zero at fillers.
    inputs: Vec<f32>,
    /// The sum of each segment's numbers, `[segments, rows]`.
    sums: Vec<f32>,
}

impl Block {
    /// Rows of the block.
    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The numbers at `places`.
    #[inline(always)]
    pub(super) fn inputs(&self, places: Range<usize>) -> &[f32] {
        &self.inputs[places.start * self.rows..places.end * self.rows]
    }

    /// The sums over `segment`, one for each row.
    #[inline(always)]
    pub(super) fn sums(&self, segment: usize) -> &[f32] {
        &self.sums[segment * self.rows..(segment + 1) * self.rows]
    }

    fn new(x: &[f32], rows: usize, layout: &Layout, units: &[f32]) -> Block {
        let width = x.len() / rows;
        let mut inputs = vec![0.0; layout.places() * rows];
        let mut sums = Vec::with_capacity(layout.segments.len() * rows);
        let mut space = Vec::new();
        for segment in &layout.segments {
            let block = &mut inputs[segment.inputs.start * rows..segment.inputs.end * rows];
            for (index, row) in x.chunks_exact(width).enumerate() {
                let numbers = layout.gather(row, segment, &mut space);
                sums.push(sum(numbers));
                let places = block.iter_mut().skip(index).step_by(rows);
                for ((place, number), unit) in places.zip(numbers).zip(units.iter().cycle()) {
                    *place = number * unit;
                }
            }
        }
        Block { rows, inputs, sums }
    }
}

/// A sum in eight parts, so that it is quick and its order fixed.
fn sum(numbers: &[f32]) -> f32 {
    let (eights, rest) = numbers.as_chunks::<8>();
    let mut parts = [0.0; 8];
    for eight in eights {
        for (part, number) in parts.iter_mut().zip(eight) {
            *part += number;
        }
    }
    parts.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// Cuts the rows of `x`, each `width` long, into blocks of at most `most` rows, as even as they can be.
pub(super) fn blocks(x: &[f32], width: usize, most: usize, layout: &Layout, units: &[f32]) -> Vec<Block> {
    let rows = x.len() / width;
    let count = rows.div_ceil(most);
    let pack = |index: usize| {
        let (start, end) = (rows * index / count, rows * (index + 1) / count);
        Block::new(&x[start * width..end * width], end - start, layout, units)
    };
    if x.len() < PAYS { (0..count).map(pack).collect() } else { (0..count).into_par_iter().map(pack).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::codes::Form;
    use super::*;

    #[test]
    fn blocks_are_even_and_hold_every_row() {
        let layout = Layout::plain(3, Form::Single);
        for rows in 1..50 {
            let x: Vec<f32> = (0..rows * 3).map(|i| i as f32).collect();
            let blocks = blocks(&x, 3, 6, &layout, &[1.0]);
            let sizes: Vec<_> = blocks.iter().map(Block::rows).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
            let firsts: Vec<_> = blocks.iter().flat_map(|block| block.inputs(0..1).to_vec()).collect();
            assert!(firsts.iter().copied().eq((0..rows).map(|row| (row * 3) as f32)));
        }
    }

    #[test]
    fn fillers_are_zero_and_sums_leave_units_out() {
        let layout = Layout::plain(9, Form::Nibbles);
        let block = &blocks(&[2.0; 9], 9, 6, &layout, Form::Nibbles.units())[0];
        assert_eq!(block.inputs(0..3), [2.0, 2.0 / 16.0, 2.0 / 256.0]);
        assert_eq!(block.inputs(8..16), [2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(block.sums(0), [18.0]);
    }
}
