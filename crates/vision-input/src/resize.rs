//! Pillow's bicubic resize, to the byte.
//!
//! Two passes, columns first, each with 8-bit results: the sums are in fixed point with 22 fractional bits, rounded and
//! clipped (Pillow's `Resample.c`; the kernel is Keys' cubic with a = -0.5, stretched when shrinking).

use pulp::Arch;
use rayon::prelude::*;

/// Fractional bits of a weight: what 32 bits leave beside 8 of a sample and 2 for overshoot.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// The kernel is zero from here on.
const SUPPORT: f64 = 2.0;

/// Rows that are resized together: their samples lie side by side, so that one weight multiplies them all at once.
const BAND: usize = 16;

/// Samples of a row that are summed together in the second pass.
const STRIP: usize = 64;

/// An RGB picture's pixels, `[height, width, 3]`.
#[derive(Clone, Copy)]
pub struct Pixels<'a> {
    /// The samples.
    pub rgb: &'a [u8],
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// Resizes to `width` x `height`; gives `[height, width, 3]`.
pub fn bicubic(picture: Pixels<'_>, width: usize, height: usize) -> Vec<u8> {
    if picture.height == height {
        return if picture.width == width { picture.rgb.to_vec() } else { columns(picture, 0..height, width) };
    }
    let rows = Axis::new(picture.height, height);
    let needed = rows.needed();
    if picture.width == width {
        let pixels = &picture.rgb[needed.start * width * 3..needed.end * width * 3];
        return vertical(pixels, width, &rows, needed.start);
    }
    vertical(&columns(picture, needed.clone(), width), width, &rows, needed.start)
}

/// The weights of one axis.
struct Axis {
    /// For each output, its first input and how many inputs it sums.
    bounds: Vec<(usize, usize)>,
    /// Weights of each output, `stride` apart.
    weights: Vec<i32>,
    stride: usize,
}

impl Axis {
    fn new(inputs: usize, outputs: usize) -> Self {
        let scale = inputs as f64 / outputs as f64;
        let stretch = scale.max(1.0);
        let support = SUPPORT * stretch;
        let stride = support.ceil() as usize * 2 + 1;
        let mut axis = Self { bounds: Vec::new(), weights: vec![0; outputs * stride], stride };
        for (output, weights) in axis.weights.chunks_exact_mut(stride).enumerate() {
            let center = (output as f64 + 0.5) * scale;
            // A negative number becomes 0, as Pillow clips it.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(inputs);
            axis.bounds.push((first, end - first));
            fill(weights, first, end - first, center, stretch);
        }
        axis
    }

    fn output(&self, index: usize) -> (usize, &[i32]) {
        let (first, count) = self.bounds[index];
        (first, &self.weights[index * self.stride..][..count])
    }

    /// The inputs that any output sums.
    fn needed(&self) -> std::ops::Range<usize> {
        let first = self.bounds.first().map_or(0, |&(first, _)| first);
        first..self.bounds.last().map_or(0, |&(first, count)| first + count)
    }
}

/// Weights of one output: the kernel, made to sum to 1, in fixed point.
fn fill(weights: &mut [i32], first: usize, count: usize, center: f64, stretch: f64) {
    let inverse = 1.0 / stretch;
    let exact: Vec<f64> = (0..count).map(|i| kernel(((i + first) as f64 - center + 0.5) * inverse)).collect();
    let sum = exact.iter().fold(0.0, |sum, weight| sum + weight);
    for (weight, exact) in weights.iter_mut().zip(exact) {
        let normal = if sum == 0.0 { exact } else { exact / sum };
        let half = if normal < 0.0 { -0.5 } else { 0.5 };
        *weight = (half + normal * f64::from(1 << PRECISION_BITS)) as i32;
    }
}

/// Keys' cubic with a = -0.5.
fn kernel(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < SUPPORT {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Half of the last place, so that cutting the fraction off rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

#[inline(always)]
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Resizes the given rows of a picture to `width` columns.
fn columns(picture: Pixels<'_>, rows: std::ops::Range<usize>, width: usize) -> Vec<u8> {
    let axis = Axis::new(picture.width, width);
    let row = picture.width * 3;
    let source = &picture.rgb[rows.start * row..rows.end * row];
    let mut out = vec![0; rows.len() * width * 3];
    out.par_chunks_mut(BAND * width * 3).zip(source.par_chunks(BAND * row)).for_each(|(out, source)| {
        Arch::new().dispatch(|| band(source, row, &axis, out));
    });
    out
}

/// The samples of one column of a band, by channel.
type Column = [[u8; BAND]; 3];

/// One band of rows: its samples are laid side by side, column by column, and each output sums whole columns.
#[inline(always)]
fn band(source: &[u8], row: usize, axis: &Axis, out: &mut [u8]) {
    let columns = side_by_side(source, row);
    let out_row = axis.bounds.len() * 3;
    for x in 0..axis.bounds.len() {
        let (first, weights) = axis.output(x);
        let sums = weighted(&columns[first..first + weights.len()], weights);
        for (y, pixels) in out.chunks_exact_mut(out_row).enumerate() {
            for channel in 0..3 {
                pixels[x * 3 + channel] = sums[channel][y];
            }
        }
    }
}

#[inline(always)]
fn side_by_side(source: &[u8], row: usize) -> Vec<Column> {
    let mut columns = vec![[[0u8; BAND]; 3]; row / 3];
    for (y, samples) in source.chunks_exact(row).enumerate() {
        for (column, pixel) in columns.iter_mut().zip(samples.as_chunks::<3>().0) {
            for channel in 0..3 {
                column[channel][y] = pixel[channel];
            }
        }
    }
    columns
}

#[inline(always)]
fn weighted(columns: &[Column], weights: &[i32]) -> Column {
    let mut sums = [[HALF; BAND]; 3];
    for (column, &weight) in columns.iter().zip(weights) {
        for channel in 0..3 {
            for y in 0..BAND {
                sums[channel][y] += i32::from(column[channel][y]) * weight;
            }
        }
    }
    sums.map(|sums| sums.map(clip))
}

/// Resizes `source`, whose first row is input `first` of the axis, to the axis's outputs.
fn vertical(source: &[u8], width: usize, axis: &Axis, first: usize) -> Vec<u8> {
    let row = width * 3;
    let mut out = vec![0; axis.bounds.len() * row];
    out.par_chunks_mut(row).enumerate().for_each(|(y, out)| {
        let (start, weights) = axis.output(y);
        let inputs = &source[(start - first) * row..];
        Arch::new().dispatch(|| strips(inputs, row, weights, out));
    });
    out
}

/// One output row: weighted sums of input rows, strip by strip, so that the sums stay in registers.
#[inline(always)]
fn strips(inputs: &[u8], row: usize, weights: &[i32], out: &mut [u8]) {
    for (index, out) in out.chunks_mut(STRIP).enumerate() {
        let mut sums = [HALF; STRIP];
        for (samples, &weight) in inputs.chunks_exact(row).zip(weights) {
            let samples = &samples[index * STRIP..][..out.len()];
            for (sum, &sample) in sums.iter_mut().zip(samples) {
                *sum += i32::from(sample) * weight;
            }
        }
        for (out, &sum) in out.iter_mut().zip(&sums) {
            *out = clip(sum);
        }
    }
}
