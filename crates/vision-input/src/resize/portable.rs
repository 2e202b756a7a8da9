//! The sums on any processor.

use super::axis::{Axis, HALF, PRECISION_BITS};

/// Samples of a row that are summed together in the second pass.
const STRIP: usize = 64;

/// Resizes rows of `row` bytes to those of `out`, `out_row` bytes each.
pub(super) fn columns(source: &[u8], row: usize, axis: &Axis, out: &mut [u8], out_row: usize) {
    for (source, out) in source.chunks_exact(row).zip(out.chunks_exact_mut(out_row)) {
        let (pixels, _) = source.as_chunks::<3>();
        for (x, out) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (first, weights) = axis.output(x);
            let mut sums = [HALF; 3];
            for (pixel, &weight) in pixels[first..].iter().zip(weights) {
                for (sum, &sample) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(sample) * weight;
                }
            }
            *out = sums.map(clip);
        }
    }
}

/// Weighted sums of rows as long as `out`, strip by strip, so that the sums stay near.
pub(super) fn rows(rows: &[u8], weights: &[i32], out: &mut [u8]) {
    let row = out.len();
    for (index, out) in out.chunks_mut(STRIP).enumerate() {
        let mut sums = [HALF; STRIP];
        for (samples, &weight) in rows.chunks_exact(row).zip(weights) {
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

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}
