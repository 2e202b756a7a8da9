//! Rotary position embedding: pairs of numbers turned by an angle that grows with the position.

use super::vector::{Rowwise, each_row};

/// The frequencies theta^(-2i/D), i < D/2.
pub(crate) struct Rope {
    frequencies: Vec<f32>,
}

/// Cosine and sine of every angle of `T` positions, both [T, D/2].
pub(crate) struct Angles {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// For heads of `width` numbers.
    pub(crate) fn new(theta: f64, width: usize) -> Self {
        let frequency = |i| theta.powf(-((2 * i) as f64) / width as f64) as f32;
        Self { frequencies: (0..width / 2).map(frequency).collect() }
    }

    /// The angles of the given positions. The product is rounded to f32 before the sine is taken, as the reference does:
    /// at position 10,000 that rounding alone is worth 5e-4.
    pub(crate) fn angles(&self, positions: impl Iterator<Item = usize>) -> Angles {
        let mut angles = Angles { cos: Vec::new(), sin: Vec::new() };
        for position in positions {
            for &frequency in &self.frequencies {
                let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
                angles.cos.push(cos as f32);
                angles.sin.push(sin as f32);
            }
        }
        angles
    }
}

impl Angles {
    /// Rotates `x` [T, heads * D]: in each head, number `i` of the first half pairs with number `i` of the second.
    pub(crate) fn rotate(&self, x: &mut [f32], heads: usize, width: usize) {
        each_row(x, heads * width, &Rotate { angles: self, width });
    }
}

struct Rotate<'a> {
    angles: &'a Angles,
    width: usize,
}

impl Rowwise for Rotate<'_> {
    #[inline(always)]
    fn row(&self, index: usize, row: &mut [f32]) {
        let half = self.width / 2;
        let cos = &self.angles.cos[index * half..][..half];
        let sin = &self.angles.sin[index * half..][..half];
        for head in row.chunks_exact_mut(self.width) {
            let (first, second) = head.split_at_mut(half);
            for i in 0..half {
                let (a, b) = (first[i], second[i]);
                first[i] = a * cos[i] - b * sin[i];
                second[i] = b * cos[i] + a * sin[i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_zero_changes_nothing_and_turns_keep_lengths() {
        let rope = Rope::new(1e6, 8);
        let x: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let mut turned = x.clone();
        rope.angles([0].into_iter()).rotate(&mut turned, 2, 8);
        assert_eq!(x, turned);
        rope.angles([12_345].into_iter()).rotate(&mut turned, 2, 8);
        for head in 0..2 {
            for i in 0..4 {
                let length = |x: &[f32]| x[head * 8 + i].hypot(x[head * 8 + 4 + i]);
                assert!((length(&x) - length(&turned)).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn products_of_turned_heads_depend_on_the_distance_alone() {
        let rope = Rope::new(1e4, 4);
        let product = |p: usize, q: usize| {
            let (mut a, mut b) = ([0.3, -1.2, 0.8, 0.5], [1.1, 0.4, -0.6, 0.9]);
            rope.angles([p].into_iter()).rotate(&mut a, 1, 4);
            rope.angles([q].into_iter()).rotate(&mut b, 1, 4);
            a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>()
        };
        assert!((product(5, 2) - product(105, 102)).abs() < 1e-4);
        assert!((product(5, 2) - product(5, 3)).abs() > 1e-2);
    }
}
