//! Where patches and frames are: buckets of the tower's learned table, sines and cosines of the resampler.

use crate::omega::omegas;

/// How many numbers the reference's vector instructions make at once.
const LANES: usize = 8;

/// The row or column of a learned table with `side` entries a side, for each of `n` patches in a column or row.
///
/// Not `side * i / n`: the reference compares single-precision fractions, some of which lie just below the boundary that they
/// should lie on. That is the case for n = 25, so for every 16:10 picture, and the weights have learnt it. The boundaries'
/// step is a Python float, but the fractions' step is one over a tensor, so it is rounded to single precision.
pub fn buckets(n: u32, side: u32) -> Vec<u32> {
    let side = f64::from(side);
    let boundaries = arange(1.0 / side, 1.0, 1.0 / side);
    let fractions = arange(0.0, 1.0 - 1e-6, f64::from(1.0 / n as f32));
    fractions.iter().map(|fraction| boundaries.partition_point(|boundary| boundary <= fraction) as u32).collect()
}

/// `torch.arange` of single-precision numbers: double precision, but pairs of whole vectors of 8 lanes count up from a base
/// that is rounded to single precision; what is left over is computed number by number.
fn arange(start: f64, end: f64, step: f64) -> Vec<f32> {
    let count = ((end - start) / step).ceil() as usize;
    let in_vectors = count / (2 * LANES) * (2 * LANES);
    let number = |index: usize| {
        let lane = if index < in_vectors { index % LANES } else { 0 };
        let base = (start + step * (index - lane) as f64) as f32;
        (f64::from(base) + step * lane as f64) as f32
    };
    (0..count).map(number).collect()
}

/// The resampler's code of a patch at (`row`, `column`): `width` numbers (a multiple of 4), the column in the first half, the row
/// in the second.
pub fn spatial(row: u32, column: u32, width: usize) -> Vec<f32> {
    let mut code = sines(column, width / 2);
    code.extend(sines(row, width / 2));
    code
}

/// The resampler's code of a frame at temporal id `id`, in tenths of a second: `width` numbers.
pub fn temporal(id: u32, width: usize) -> Vec<f32> {
    sines(id, width)
}

/// Sines of `position * omega_k`, then their cosines, with `omega_k = 10000^(-2k / width)`.
///
/// The reference rounds omega and the product to single precision before it takes sines; at two hours that moves the
/// argument by 0.004, so it must be done here, too. The sines themselves are accurate.
fn sines(position: u32, width: usize) -> Vec<f32> {
    let angles: Vec<f64> = omegas(width / 2).map(|omega| f64::from(position as f32 * omega)).collect();
    let sines = angles.iter().map(|angle| angle.sin() as f32);
    sines.chain(angles.iter().map(|angle| angle.cos() as f32)).collect()
}
