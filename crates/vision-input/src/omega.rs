//! The frequencies of the resampler's position codes, in the arithmetic that the reference took them with.
//!
//! `omega_k = 1 / 10000^(k / half)` in single precision. The power is numpy's, and on a processor with 512-bit vectors numpy
//! takes it with a fast routine: two to the whole sixteenths of the exponent from a table, the rest by a polynomial. In one
//! of five cases that gives a neighbour of the correctly rounded number, which at a temporal id of 72000 moves a sine by
//! 0.008. So the routine is followed here, for any `half`.

use std::f64::consts::LOG2_10;

/// The routine's polynomial for `(2^r - 1) / r` with r from 0 to 1/16, highest power first (Intel's vector mathematics
/// library in numpy, BSD-3-Clause). Better coefficients would give other numbers.
const POLYNOMIAL: [f32; 3] = [0.056_721_49, 0.240_178_76, 0.693_147_8];

/// All frequencies of a code, `half` of them.
pub(crate) fn omegas(half: usize) -> impl Iterator<Item = f32> {
    (0..half).map(move |k| 1.0 / power(k as f32 / half as f32))
}

/// `10000^exponent` for an exponent from 0 to 1.
fn power(exponent: f32) -> f32 {
    let sixteenths = f64::from(exponent) * (4.0 * LOG2_10) * 16.0;
    let whole = sixteenths.floor();
    let rest = ((sixteenths - whole) / 16.0) as f32;
    let root = ((whole / 16.0).fract().exp2()) as f32;
    let slope = fused(fused(POLYNOMIAL[0], rest, POLYNOMIAL[1]), rest, POLYNOMIAL[2]);
    fused(rest * root, slope, root) * 2f32.powi((whole / 16.0) as i32)
}

/// `a * b + c`, rounded once: the product of two singles is exact in double precision.
fn fused(a: f32, b: f32, c: f32) -> f32 {
    (f64::from(a) * f64::from(b) + f64::from(c)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_is_the_correctly_rounded_one_or_its_neighbour() {
        let off = |k: &u16| {
            let exponent = f32::from(*k) / 2048.0;
            let exact = 10_000f64.powf(f64::from(exponent)) as f32;
            let distance = exact.to_bits().abs_diff(power(exponent).to_bits());
            assert!(distance <= 1, "{k}: {distance}");
            distance == 1
        };
        // numpy 2.4.6 with AVX-512 gives a neighbour for 246 + 173 of the 2048 powers.
        assert_eq!((0..2048).filter(off).count(), 419);
    }
}
