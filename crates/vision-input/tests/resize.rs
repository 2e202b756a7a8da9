//! The resize against a plain rendering of Pillow's algorithm, on awkward sizes.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use karst_contract::Frame;
use karst_vision_input::Size;
use karst_vision_input::resize::bicubic;
use proptest::prelude::*;

/// One pass along one axis, pixel by pixel, as `Resample.c` describes it. `at(i)` is the i-th input sample.
fn pass(inputs: usize, outputs: usize, at: impl Fn(usize) -> u8) -> Vec<u8> {
    let scale = inputs as f64 / outputs as f64;
    let stretch = if scale < 1.0 { 1.0 } else { scale };
    let support = 2.0 * stretch;
    let filter = |x: f64| match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
        _ => 0.0,
    };
    let output = |o: usize| {
        let center = (o as f64 + 0.5) * scale;
        let first = ((center - support + 0.5) as i64).max(0) as usize;
        let end = ((center + support + 0.5) as i64).min(inputs as i64) as usize;
        let weights: Vec<f64> = (first..end).map(|i| filter((i as f64 - center + 0.5) / stretch * 1.0)).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |w: f64| (w / sum * 4_194_304.0 + if w / sum < 0.0 { -0.5 } else { 0.5 }) as i64;
        let total: i64 = weights.iter().zip(first..).map(|(&w, i)| fixed(w) * i64::from(at(i))).sum();
        ((total + (1 << 21)) >> 22).clamp(0, 255) as u8
    };
    (0..outputs).map(output).collect()
}

fn plain(rgb: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let mut middle = vec![0; to.0 * from.1 * 3];
    for y in 0..from.1 {
        for c in 0..3 {
            let row = |x: usize| rgb[(y * from.0 + x) * 3 + c];
            let line = if from.0 == to.0 { (0..to.0).map(row).collect() } else { pass(from.0, to.0, row) };
            line.iter().enumerate().for_each(|(x, &sample)| middle[(y * to.0 + x) * 3 + c] = sample);
        }
    }
    let mut out = vec![0; to.0 * to.1 * 3];
    for x in 0..to.0 {
        for c in 0..3 {
            let column = |y: usize| middle[(y * to.0 + x) * 3 + c];
            let line = if from.1 == to.1 { (0..to.1).map(column).collect() } else { pass(from.1, to.1, column) };
            line.iter().enumerate().for_each(|(y, &sample)| out[(y * to.0 + x) * 3 + c] = sample);
        }
    }
    out
}

fn noise(width: usize, height: usize, seed: u32) -> Vec<u8> {
    let mix = |i: usize| (i as u32).wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13;
    (0..width * height * 3).map(|i| if mix(i) & 7 == 0 { 255 } else { (mix(i) >> 3) as u8 }).collect()
}

fn resized(rgb: Vec<u8>, from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let frame = Frame::new(from.0 as u32, from.1 as u32, rgb).unwrap();
    bicubic(&frame, Size { width: to.0 as u32, height: to.1 as u32 })
}

/// How many samples differ.
fn differing(from: (usize, usize), to: (usize, usize), seed: u32) -> usize {
    let rgb = noise(from.0, from.1, seed);
    let ours = resized(rgb.clone(), from, to);
    let expected = plain(&rgb, from, to);
    assert_eq!(ours.len(), expected.len());
    ours.iter().zip(&expected).filter(|(a, b)| a != b).count()
}

#[test]
fn awkward_sizes_equal_the_plain_algorithm() {
    let sizes = [(1, 1), (1, 17), (17, 1), (15, 16), (16, 33), (65, 31), (100, 3), (301, 77)];
    for from in sizes {
        for to in [(1, 1), (14, 14), (28, 70), (98, 14), from] {
            assert_eq!(differing(from, to, 7), 0, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn one_wrong_sample_is_seen() {
    let (from, to) = ((40, 30), (28, 14));
    let mut rgb = noise(from.0, from.1, 1);
    let before = resized(rgb.clone(), from, to);
    rgb[615] ^= 0xff;
    assert_ne!(before, resized(rgb, from, to));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_size_equals_the_plain_algorithm(
        from in (1usize..90, 1usize..90), to in (1usize..90, 1usize..90), seed: u32
    ) {
        prop_assert_eq!(differing(from, to, seed), 0);
    }
}
