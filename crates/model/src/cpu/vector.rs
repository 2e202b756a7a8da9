//! Loops over rows of numbers, compiled for the widest instructions of the machine they run on.
//!
//! Sums run over [`LANES`] partial sums whatever the machine's width, so that every machine gives the same bits.

use rayon::prelude::*;

/// Partial sums of a dot product: two registers of 512 bits, enough to hide an addition's latency.
pub(crate) const LANES: usize = 32;

/// Numbers from which a second thread pays: below, waking it costs more than the loop.
const PAYS: usize = 1 << 15;

/// Work on one row. `row` must be `#[inline(always)]`, or it is compiled for the oldest machine.
pub(crate) trait Rowwise: Sync {
    /// Changes the row with this index.
    fn row(&self, index: usize, row: &mut [f32]);
}

/// Runs `work` over the rows of `x`, each `width` long; in parallel where that pays.
pub(crate) fn each_row(x: &mut [f32], width: usize, work: &impl Rowwise) {
    let run = |first: usize, part: &mut [f32]| {
        vectorised(
            #[inline(always)]
            || part.chunks_exact_mut(width).enumerate().for_each(|(i, row)| work.row(first + i, row)),
        );
    };
    if x.len() < PAYS {
        return run(0, x);
    }
    let rows = (PAYS / 4).div_ceil(width);
    x.par_chunks_mut(rows * width).enumerate().for_each(|(i, part)| run(i * rows, part));
}

/// Runs `work` compiled for this machine. What it calls must be inlined into it.
#[inline(always)]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// The sum of `term(a, b)` over two slices of equal length.
#[inline(always)]
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (a_body, a_rest) = a.as_chunks::<LANES>();
    let (b_body, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_body.iter().zip(b_body) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| term(a, b)).sum();
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0] + rest
}

/// The dot product.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_of(
        a,
        b,
        #[inline(always)]
        |a, b| a * b,
    )
}

/// The sum.
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    sum_of(
        x,
        x,
        #[inline(always)]
        |x, _| x,
    )
}

/// The sum of squares.
#[inline(always)]
pub(crate) fn sum_of_squares(x: &[f32]) -> f32 {
    dot(x, x)
}

/// The greatest number; numbers that are not are passed over.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut greatest = [f32::NEG_INFINITY; LANES];
    let (body, rest) = x.as_chunks::<LANES>();
    for chunk in body {
        for lane in 0..LANES {
            greatest[lane] = if chunk[lane] > greatest[lane] { chunk[lane] } else { greatest[lane] };
        }
    }
    greatest.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// `sum += factor * x`.
#[inline(always)]
pub(crate) fn add_scaled(sum: &mut [f32], factor: f32, x: &[f32]) {
    for (sum, &x) in sum.iter_mut().zip(x) {
        *sum += factor * x;
    }
}

/// `sum += x`.
pub(crate) fn add(sum: &mut [f32], x: &[f32]) {
    struct Add<'a>(&'a [f32], usize);
    impl Rowwise for Add<'_> {
        #[inline(always)]
        fn row(&self, index: usize, row: &mut [f32]) {
            add_scaled(row, 1.0, &self.0[index * self.1..]);
        }
    }
    let width = sum.len().clamp(1, 1 << 12);
    let (body, rest) = sum.split_at_mut(sum.len() / width * width);
    each_row(body, width, &Add(x, width));
    add_scaled(rest, 1.0, &x[body.len()..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 17.0).collect()
    }

    #[test]
    fn sums_of_every_length_are_those_in_double_precision() {
        for count in [1, 2, 31, 32, 33, 63, 72, 128, 1000] {
            let (a, b) = (numbers(count), numbers(count + 3));
            let exact: f64 = a.iter().zip(&b[3..]).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let found = vectorised(|| dot(&a, &b[3..]));
            assert!((f64::from(found) - exact).abs() < 1e-4 * exact.abs().max(1.0), "{count}: {found} {exact}");
            let exact: f64 = a.iter().map(|&a| f64::from(a)).sum();
            assert!((f64::from(sum(&a)) - exact).abs() < 1e-3, "{count}");
            assert_eq!(max(&a), a.iter().copied().fold(f32::MIN, f32::max));
        }
    }

    #[test]
    fn a_sum_has_the_same_bits_with_and_without_wide_instructions() {
        let x = numbers(12_345);
        assert_eq!(vectorised(|| dot(&x, &x)).to_bits(), dot(&x, &x).to_bits());
    }

    #[test]
    fn adding_reaches_every_number_however_many_there_are() {
        for count in [1, 4095, 4096, 4097, PAYS - 1, PAYS, 3 * PAYS + 5] {
            let mut sum = numbers(count);
            add(&mut sum, &numbers(count));
            assert!(sum.iter().zip(numbers(count)).all(|(&sum, x)| sum == x + x), "{count}");
        }
    }
}
