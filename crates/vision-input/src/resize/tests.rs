use super::axis::Axis;
use super::{avx2, portable};

/// Bytes with many extremes, so that sums overshoot.
fn noise(count: usize) -> Vec<u8> {
    let mix = |i: usize| (i as u32).wrapping_mul(2_654_435_761) >> 11;
    let byte = |i: usize| match mix(i) & 3 {
        0 => 0,
        1 => 255,
        _ => (mix(i) >> 2) as u8,
    };
    (0..count).map(byte).collect()
}

/// Processors without AVX2 have only one way, and nothing to compare.
#[test]
fn vectors_sum_columns_as_plain_loops_do() {
    let sizes =
        [(1, 1), (1, 9), (2, 1), (2, 700), (3, 14), (5, 4), (14, 518), (517, 14), (640, 641), (4032, 518), (9001, 2)];
    for (from, to) in sizes {
        let axis = Axis::new(from, to);
        let Some(columns) = avx2::Columns::new(&axis) else { return };
        for height in [1, 2, 3, 4, 5, 8, 11] {
            let source = noise(from * 3 * height);
            let mut plain = vec![0; to * 3 * height];
            let mut vectors = plain.clone();
            portable::columns(&source, from * 3, &axis, &mut plain, to * 3);
            columns.run(&source, from * 3, &mut vectors, to * 3);
            assert!(plain == vectors, "{from} to {to}, {height} rows");
        }
    }
}

#[test]
fn vectors_sum_rows_as_plain_loops_do() {
    for row in [32, 33, 42, 63, 64, 96, 100, 1554] {
        for (from, to) in [(1, 1), (1, 3), (2, 5), (17, 3), (100, 14)] {
            let (axis, source) = (Axis::new(from, to), noise(from * row));
            for y in 0..to {
                let (first, weights) = axis.output(y);
                let (mut plain, mut vectors) = (vec![0; row], vec![0; row]);
                portable::rows(&source[first * row..], weights, &mut plain);
                if avx2::rows(&source[first * row..], weights, &mut vectors) {
                    assert!(plain == vectors, "{from} to {to} of {row} bytes, output {y}");
                }
            }
        }
    }
}

#[test]
fn a_row_shorter_than_a_vector_is_left_to_plain_loops() {
    assert!(!avx2::rows(&[7; 31], &[1 << 22], &mut [0; 31]));
}
