//! Every form of weight on every instruction set of the machine, beside the same product in double precision.

mod weights;

use karst_checkpoint::{Dtype, Gptq, Linear as Source, Tensor};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::matrix::Path;
use super::{Linear, LinearError};
use weights::{Dense, Spec, gptq};

/// Most error of an output, in units of the root of the sum of its terms' squares. What is lost is the rounding of sums of
/// some hundred terms; one step of one code is hundreds of times as much.
const BOUND: f64 = 2e-6;

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Activations around zero, every 97th of them far from it.
fn activations(rows: usize, inputs: usize, seed: u64) -> Vec<f32> {
    let mut rng = rng(seed);
    let number = |i: usize| rng.random_range(-1.0f32..1.0) * if i % 97 == 5 { 100.0 } else { 1.0 };
    (0..rows * inputs).map(number).collect()
}

fn forward(linear: &Linear, path: Path, x: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / linear.inputs() * linear.outputs()];
    linear.forward_on(path, x, &mut out);
    out
}

/// A weight as numbers: what the products are compared with.
struct Reference {
    inputs: usize,
    /// [N, K].
    weights: Vec<f32>,
    /// [N, K] The size of what is rounded: codes are summed before their zero point is taken off.
    sizes: Vec<f32>,
    /// [N].
    bias: Vec<f32>,
}

impl Reference {
    fn gptq(weight: &Gptq<'_>) -> Reference {
        let weights = weight.dequantise();
        let scale = |n: usize, k: usize| weight.scales[weight.group_of(k) * weight.n + n].to_f32().abs();
        let places = (0..weight.n).flat_map(|n| (0..weight.k).map(move |k| (n, k)));
        let half = (1 << (weight.bits - 1)) as f32;
        let sizes = weights.iter().zip(places).map(|(weight, (n, k))| weight.abs() + half * scale(n, k)).collect();
        Reference { inputs: weight.k, weights, sizes, bias: vec![0.0; weight.n] }
    }

    fn dense(weight: &Tensor<'_>, bias: &Tensor<'_>) -> Reference {
        let weights = weight.to_f32().unwrap();
        Reference { inputs: weight.shape[1], sizes: weights.clone(), weights, bias: bias.to_f32().unwrap() }
    }

    /// The greatest error in units of the terms' size, and the number of outputs whose error is over the bound.
    fn errors(&self, x: &[f32], found: &[f32]) -> (f64, usize) {
        let (mut greatest, mut over) = (0.0f64, 0);
        for (x, found) in x.chunks_exact(self.inputs).zip(found.chunks_exact(self.bias.len())) {
            for (output, &found) in found.iter().enumerate() {
                let bias = f64::from(self.bias[output]);
                let exact = bias + self.terms(&self.weights, output, x).sum::<f64>();
                let size = bias * bias + self.terms(&self.sizes, output, x).map(|term| term * term).sum::<f64>();
                let error = (f64::from(found) - exact).abs() / size.sqrt().max(1e-30);
                greatest = greatest.max(error);
                over += usize::from(error.is_nan() || error > BOUND);
            }
        }
        (greatest, over)
    }

    fn terms<'a>(&'a self, weights: &'a [f32], output: usize, x: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        let weights = &weights[output * self.inputs..][..self.inputs];
        weights.iter().zip(x).map(|(&weight, &x)| f64::from(weight) * f64::from(x))
    }
}

/// Checks `source` with each number of rows on each path.
fn check(name: &str, source: &Source<'_>, reference: &Reference, rows: &[usize]) {
    let linear = Linear::load(source).unwrap();
    for path in Path::available() {
        for &rows in rows {
            let x = activations(rows, linear.inputs(), rows as u64);
            let (greatest, over) = reference.errors(&x, &forward(&linear, path, &x));
            assert_eq!(over, 0, "{name}, {rows} rows, {path:?}: {over} outputs over the bound, the worst {greatest:e}");
        }
    }
}

fn check_gptq(spec: &Spec, rows: &[usize]) {
    let weight = gptq(spec);
    let reference = Reference::gptq(&weight);
    check(&format!("{spec:?}"), &Source::Gptq(weight), &reference, rows);
}

fn check_dense(dtype: Dtype, inputs: usize, outputs: usize, rows: &[usize]) {
    let (weight, bias) = (Dense::random(dtype, &[outputs, inputs], 7), Dense::random(Dtype::F32, &[outputs], 8));
    let (weight, bias) = (weight.tensor(), bias.tensor());
    let reference = Reference::dense(&weight, &bias);
    let source = Source::Dense { weight, bias: Some(bias) };
    check(&format!("{dtype} {outputs}x{inputs}"), &source, &reference, rows);
}

const SPEC: Spec = Spec { bits: 4, inputs: 256, outputs: 128, group: 128, zeros: false, act_order: false };

#[test]
fn every_number_of_rows_equals_the_reference() {
    let rows: Vec<_> = (1..=17).chain(23..=26).chain(63..=65).chain(127..=129).collect();
    check_gptq(&Spec { outputs: 72, ..SPEC }, &rows);
    check_dense(Dtype::F16, 96, 70, &rows);
}

#[test]
fn more_rows_than_are_packed_at_a_time_equal_the_reference() {
    check_gptq(&Spec { inputs: 32, group: 32, outputs: 72, ..SPEC }, &[263, 265, 1023, 1024, 1025, 1300]);
}

#[test]
fn every_form_of_quantisation_equals_the_reference() {
    for bits in [4, 8] {
        for group in [32, 64, 96, 128, 256, 768] {
            for (zeros, act_order) in [(false, false), (true, false), (false, true), (true, true)] {
                check_gptq(&Spec { bits, inputs: 768, outputs: 96, group, zeros, act_order }, &[1, 3, 40]);
            }
        }
    }
}

#[test]
fn awkward_sides_of_quantised_weights_equal_the_reference() {
    for bits in [4, 8] {
        for (inputs, outputs, group) in [(8, 1, 8), (40, 7, 16), (200, 65, 128), (392, 388, 392), (520, 63, 100)] {
            for act_order in [false, true] {
                check_gptq(&Spec { bits, inputs, outputs, group, zeros: true, act_order }, &[1, 2, 7, 50]);
            }
        }
    }
}

#[test]
fn awkward_sides_of_dense_weights_equal_the_reference() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        for (inputs, outputs) in
            [(1, 1), (3, 64), (37, 1), (388, 65), (588, 1152), (1152, 388), (4304, 130), (129, 127)]
        {
            check_dense(dtype, inputs, outputs, &[1, 2, 5, 31]);
        }
    }
}

#[test]
fn an_activation_a_hundred_times_the_others_costs_no_precision() {
    let weight = gptq(&Spec { inputs: 4096, outputs: 256, ..SPEC });
    let reference = weight.dequantise();
    let linear = Linear::load(&Source::Gptq(weight)).unwrap();
    let mut x = activations(1, 4096, 3);
    x.iter_mut().for_each(|x| *x = x.clamp(-1.0, 1.0));
    x[1234] = 100.0;
    for path in Path::available() {
        let found = forward(&linear, path, &x);
        let exact: Vec<f64> = reference
            .chunks_exact(4096)
            .map(|w| w.iter().zip(&x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum())
            .collect();
        let norm = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|n| n * n).sum::<f64>().sqrt();
        let error =
            norm(&mut exact.iter().zip(&found).map(|(e, &f)| e - f64::from(f))) / norm(&mut exact.iter().copied());
        assert!(error < 1e-6, "{path:?}: {error:e}");
    }
}

#[test]
fn one_wrong_nibble_is_found() {
    for act_order in [false, true] {
        let spec = Spec { act_order, ..SPEC };
        let mut weight = gptq(&spec);
        let reference = Reference::gptq(&weight);
        weight.qweight.to_mut()[17 * spec.outputs + 70] ^= 1 << 12;
        let linear = Linear::load(&Source::Gptq(weight)).unwrap();
        for path in Path::available() {
            for rows in [1, 30] {
                let x = activations(rows, spec.inputs, 5);
                let (_, over) = reference.errors(&x, &forward(&linear, path, &x));
                assert_eq!(over, rows, "one output of each row is wrong");
            }
        }
    }
}

/// Each form once, with sides that leave partial tiles, segments and rows.
fn forms() -> Vec<Linear> {
    let mut forms: Vec<_> = [(4, false), (4, true), (8, false), (8, true)]
        .map(|(bits, odd)| gptq(&Spec { bits, inputs: 1032, outputs: 1100, group: 96, zeros: odd, act_order: odd }))
        .map(|weight| Linear::load(&Source::Gptq(weight)).unwrap())
        .into();
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        let weight = Dense::random(dtype, &[1100, 1031], 3);
        forms.push(Linear::dense(&weight.tensor(), None).unwrap());
    }
    forms
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn a_rows_result_does_not_depend_on_its_batch() {
    for linear in forms() {
        let x = activations(67, linear.inputs(), 1);
        for path in Path::available() {
            let alone: Vec<f32> = x.chunks(linear.inputs()).flat_map(|row| forward(&linear, path, row)).collect();
            for rows in [2, 3, 4, 5, 6, 7, 13, 24, 25, 67] {
                let found = forward(&linear, path, &x[..rows * linear.inputs()]);
                assert_eq!(bits(&found), bits(&alone[..found.len()]), "{rows} rows, {path:?}");
            }
        }
    }
}

#[test]
fn a_result_does_not_depend_on_the_number_of_threads() {
    let forms = forms();
    let run = |threads: usize| -> Vec<Vec<u32>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let inputs = |linear: &Linear, rows| activations(rows, linear.inputs(), 2);
        let product = |(linear, rows): (&Linear, usize)| bits(&forward(linear, Path::best(), &inputs(linear, rows)));
        pool.install(|| forms.iter().flat_map(|linear| [(linear, 1), (linear, 300)]).map(product).collect())
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn both_wide_instruction_sets_give_the_same_bits() {
    let wide: Vec<_> = Path::available().filter(|path| !matches!(path, Path::Portable(_))).collect();
    for linear in forms() {
        let x = activations(9, linear.inputs(), 4);
        let results: Vec<_> = wide.iter().map(|&path| bits(&forward(&linear, path, &x))).collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn weights_keep_the_width_in_which_they_are_stored() {
    let linear = Linear::load(&Source::Gptq(gptq(&Spec { inputs: 4096, outputs: 1024, ..SPEC }))).unwrap();
    let codes = 4096 * 1024 / 2;
    assert!((codes..codes * 26 / 25).contains(&linear.bytes()), "{}", linear.bytes());
    let linear = Linear::dense(&Dense::random(Dtype::F16, &[1024, 512], 1).tensor(), None).unwrap();
    assert!((1024 * 512 * 2..1024 * 512 * 2 + 1024).contains(&linear.bytes()), "{}", linear.bytes());
}

#[test]
fn no_rows_give_no_results() {
    for linear in forms() {
        linear.forward(&[], &mut []);
    }
}

#[test]
fn w_weights_that_are_not_finite_are_refused() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut dense = Dense::random(dtype, &[70, 33], 3);
            dense.set(66 * 33 + 32, number);
            let refused = Linear::dense(&dense.tensor(), None);
            assert!(matches!(refused, Err(LinearError::NonFinite { output: 66, .. })), "{dtype} {number}");
        }
    }
    let mut weight = gptq(&SPEC);
    weight.scales[SPEC.outputs + 5] = half::f16::INFINITY;
    assert!(matches!(Linear::load(&Source::Gptq(weight)), Err(LinearError::NonFinite { output: 5, .. })));
}

#[test]
fn quantised_parts_that_do_not_fit_are_refused() {
    type Damage = fn(&mut Gptq<'static>);
    let damages: [Damage; 5] = [
        |weight| weight.qweight.to_mut().truncate(100),
        |weight| weight.scales.truncate(100),
        |weight| weight.zeros.as_mut().unwrap().truncate(100),
        |weight| weight.order.as_mut().unwrap().truncate(100),
        |weight| weight.order.as_mut().unwrap()[3] = 1000,
    ];
    for damage in damages {
        let mut weight = gptq(&Spec { zeros: true, act_order: true, ..SPEC });
        damage(&mut weight);
        assert!(matches!(Linear::load(&Source::Gptq(weight)), Err(LinearError::Length { .. })));
    }
    for damage in
        [(|weight| weight.bits = 3) as Damage, |weight| weight.group = 0, |weight| weight.n = 0, |weight| weight.k = 0]
    {
        let mut weight = gptq(&SPEC);
        damage(&mut weight);
        assert!(matches!(Linear::load(&Source::Gptq(weight)), Err(LinearError::Form { .. })));
    }
}

#[test]
fn dense_weights_that_are_no_matrix_of_numbers_are_refused() {
    let dense = Dense::random(Dtype::F32, &[6, 4], 1);
    let weight = dense.tensor();
    for shape in [&[24][..], &[2, 3, 4], &[0, 4], &[]] {
        let refused = Linear::dense(&Tensor { shape, ..weight }, None);
        assert!(matches!(refused, Err(LinearError::Shape { .. })), "{shape:?}");
    }
    let integers = Tensor { dtype: Dtype::I32, ..weight };
    assert!(matches!(Linear::dense(&integers, None), Err(LinearError::Dtype { dtype: Dtype::I32, .. })));
    let short = Tensor { bytes: &weight.bytes[4..], ..weight };
    assert!(matches!(Linear::dense(&short, None), Err(LinearError::Length { found: 23, expected: 24, .. })));
    let bias = Dense::random(Dtype::F32, &[5], 1);
    let refused = Linear::dense(&weight, Some(&bias.tensor()));
    assert!(matches!(refused, Err(LinearError::Length { found: 5, expected: 6, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_quantised_weight_equals_the_reference(
        bits in prop::sample::select(vec![4u32, 8]),
        words in 1usize..40,
        outputs in 1usize..140,
        group in 1usize..330,
        zeros: bool,
        act_order: bool,
        rows in 1usize..20,
    ) {
        check_gptq(&Spec { bits, inputs: words * 8, outputs, group, zeros, act_order }, &[rows]);
    }
}
