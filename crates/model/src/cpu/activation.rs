//! The exponential function and what is made of it: SiLU and the tanh form of GELU.

use super::vector::{Rowwise, each_row};

/// Adding this to a number below 2^22 rounds it to a whole number, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts, so that `x - n ln 2` keeps its digits: the first has few enough that `n` times it is exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);

/// e^r on |r| <= ln(2) / 2 as 1 + r + r^2 p(r): the minimax coefficients of Cephes' `expf`, highest power first.
const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5];

/// e^x with a relative error below 2e-7. The library's own is a call for each number, which no compiler makes wide.
///
/// Beyond the range of f32 it stops at its ends, that is at 1e-38 and 2e38.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2.0 - n * LN_2.1;
    let mut p = POLYNOMIAL[0];
    for coefficient in &POLYNOMIAL[1..] {
        p = p * r + coefficient;
    }
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    (p * r * r + r + 1.0) * f32::from_bits(power)
}

/// `gate = silu(gate) * up`, where silu(x) = x / (1 + e^-x).
pub(crate) fn silu_times(gate: &mut [f32], up: &[f32], width: usize) {
    struct SiluTimes<'a>(&'a [f32]);
    impl Rowwise for SiluTimes<'_> {
        #[inline(always)]
        fn row(&self, index: usize, row: &mut [f32]) {
            let up = &self.0[index * row.len()..];
            for (gate, &up) in row.iter_mut().zip(up) {
                *gate = *gate / (1.0 + exp(-*gate)) * up;
            }
        }
    }
    each_row(gate, width, &SiluTimes(up));
}

/// GELU in its tanh form: x/2 (1 + tanh u) = x / (1 + e^-2u) with u = sqrt(2 / pi) (x + 0.044715 x^3).
pub(crate) fn gelu(x: &mut [f32], width: usize) {
    struct Gelu;
    impl Rowwise for Gelu {
        #[inline(always)]
        fn row(&self, _: usize, row: &mut [f32]) {
            for x in row {
                let u = 0.797_884_6 * (*x + 0.044_715 * *x * *x * *x);
                *x /= 1.0 + exp(-2.0 * u);
            }
        }
    }
    each_row(x, width, &Gelu);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(found: f32, exact: f64) -> f64 {
        (f64::from(found) - exact).abs() / exact.abs().max(1e-30)
    }

    #[test]
    fn the_exponential_is_right_to_two_parts_in_ten_million() {
        let worst = (-870_000..=880_000)
            .map(|i| i as f32 * 1e-4)
            .map(|x| relative(exp(x), f64::from(x).exp()))
            .fold(0.0, f64::max);
        assert!(worst < 2e-7, "{worst}");
    }

    #[test]
    fn the_exponential_stays_finite_and_keeps_what_is_not_a_number() {
        assert!(exp(f32::INFINITY).is_finite() && exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn silu_and_gelu_are_their_definitions() {
        let x: Vec<f32> = (-400..=400).map(|i| i as f32 * 0.05).collect();
        let (mut silu, mut tanh) = (x.clone(), x.clone());
        silu_times(&mut silu, &vec![2.0; x.len()], x.len());
        gelu(&mut tanh, x.len());
        for (i, &x) in x.iter().enumerate() {
            let x = f64::from(x);
            let exact = 2.0 * x / (1.0 + (-x).exp());
            assert!((f64::from(silu[i]) - exact).abs() <= 4e-7 * exact.abs() + 1e-9, "silu {x}");
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            let exact = x / (1.0 + (-2.0 * u).exp());
            assert!((f64::from(tanh[i]) - exact).abs() <= 1e-6 * x.abs(), "gelu {x}");
        }
    }

    #[test]
    fn activations_of_huge_numbers_are_finite() {
        let mut x = vec![-1e30, -1e9, 1e9, 1e30];
        silu_times(&mut x, &[1.0; 4], 4);
        assert!(x.iter().all(|x| x.is_finite()), "{x:?}");
        let mut x = vec![-1e9, 1e9];
        gelu(&mut x, 2);
        assert!(x[0].abs() < 1e-20 && x[1] == 1e9, "{x:?}");
    }
}
