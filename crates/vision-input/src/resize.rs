//! Pillow's bicubic resize, to the byte.
//!
//! Two passes, columns first, each with 8-bit results: the sums are in fixed point with 22 fractional bits, rounded and
//! clipped (Pillow's `Resample.c`; the kernel is Keys' cubic with a = -0.5, stretched when shrinking). Processors with AVX2
//! take the sums in vectors, others in plain loops; integers make both equal.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod axis;
mod portable;

use std::borrow::Cow;

use karst_contract::Frame;
use rayon::prelude::*;

use crate::slicing::Size;
use axis::Axis;

/// Rows of the first pass that a thread takes at once.
const BAND: usize = 16;

/// Resizes a picture; gives `[height, width, 3]`.
pub fn bicubic(frame: &Frame, size: Size) -> Vec<u8> {
    let (width, height) = (size.width as usize, size.height as usize);
    if width == 0 || height == 0 {
        return Vec::new();
    }
    let row = frame.width() as usize * 3;
    let axis = (frame.height() != size.height).then(|| Axis::new(frame.height() as usize, height));
    let used = axis.as_ref().map_or(0..frame.height() as usize, Axis::needed);
    let source = &frame.rgb()[used.start * row..used.end * row];
    let middle = if frame.width() == size.width { Cow::Borrowed(source) } else { columns(source, row, width).into() };
    match axis {
        Some(axis) => rows(&middle, width * 3, &axis, used.start),
        None => middle.into_owned(),
    }
}

/// The first pass: resizes each row, of `row` bytes, to `width` pixels.
fn columns(source: &[u8], row: usize, width: usize) -> Vec<u8> {
    let sums = Sums::new(Axis::new(row / 3, width));
    let mut out = vec![0; source.len() / row * width * 3];
    out.par_chunks_mut(BAND * width * 3).enumerate().for_each(|(band, out)| {
        sums.columns(&source[band * BAND * row..], row, out, width * 3);
    });
    out
}

/// The second pass: makes each row of the axis's outputs from rows of `row` bytes, the first of which is its input `first`.
fn rows(source: &[u8], row: usize, axis: &Axis, first: usize) -> Vec<u8> {
    let mut out = vec![0; axis.outputs() * row];
    out.par_chunks_mut(row).enumerate().for_each(|(y, out)| {
        let (start, weights) = axis.output(y);
        weighted_rows(&source[(start - first) * row..], weights, out);
    });
    out
}

/// How this processor takes the first pass's sums.
enum Sums {
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Columns),
    Portable(Axis),
}

impl Sums {
    fn new(axis: Axis) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(columns) = avx2::Columns::new(&axis) {
            return Self::Avx2(columns);
        }
        Self::Portable(axis)
    }

    fn columns(&self, source: &[u8], row: usize, out: &mut [u8], out_row: usize) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(columns) => columns.run(source, row, out, out_row),
            Self::Portable(axis) => portable::columns(source, row, axis, out, out_row),
        }
    }
}

/// Weighted sums of rows as long as `out`.
fn weighted_rows(rows: &[u8], weights: &[i32], out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::rows(rows, weights, out) {
        return;
    }
    portable::rows(rows, weights, out);
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
