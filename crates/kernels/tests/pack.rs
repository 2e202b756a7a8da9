//! Packed weights are the checkpoint's weights, one by one; what is beyond them is zero.

mod sources;

use half::{bf16, f16};
use karst_kernels::{Kind, Layout, PackError, pack, unpack};

use sources::{Case, With, cases, codes};

/// A number of the checkpoint as a tile of this kind holds it. `f32` has all of them.
fn held(kind: Kind, weight: f64) -> f64 {
    match kind {
        Kind::Int4 | Kind::Int8 => weight,
        Kind::F16 => f16::from_f32(weight as f32).to_f64(),
        Kind::Bf16 => bf16::from_f32(weight as f32).to_f64(),
    }
}

#[test]
fn every_weight_is_the_checkpoints() {
    for case in cases() {
        let sources = case.sources();
        let Case { layout, layers } = &case;
        let bytes = pack(layout, &sources).expect("packed");
        let permutation = sources[0].permutation().expect("a permutation");
        let input = |k: usize| permutation.as_ref().map_or(k, |permutation| permutation[k] as usize);
        for (source, layer) in layers.iter().enumerate() {
            for output in 0..layer.source().outputs() {
                for k in 0..layout.inputs() {
                    let expected = held(layout.kind(), layer.weight(output, input(k)));
                    let found = unpack(layout, &bytes, source, output, k);
                    assert_eq!(found, expected, "source {source}, output {output}, column {k} of {layout:?}");
                }
                for k in layout.inputs()..layout.padded_inputs() {
                    assert_eq!(
                        unpack(layout, &bytes, source, output, k),
                        0.0,
                        "output {output}, column {k} of {layout:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn sources_of_another_layout_are_refused() {
    let size = |what, expected, found| PackError::Size { tensor: "codes".into(), what, expected, found };
    let case = |with, inputs, outputs| {
        let layer = codes(1, 4, inputs, outputs, 128, with);
        let layout = Layout::stacked(Kind::Int4, 256, &[32], 2).expect("a layout");
        pack(&layout, &[layer.source()]).map(|bytes| bytes.len())
    };
    assert_eq!(case(With::Middle, 256, 32), Ok(2 * 16 * 1056));
    assert_eq!(case(With::Middle, 384, 32), Err(size("inputs", 256, 384)));
    assert_eq!(case(With::Middle, 256, 40), Err(size("outputs", 32, 40)));
    let (kind, needed) = (Kind::Int4, Kind::Int8);
    assert_eq!(case(With::Zeros, 256, 32), Err(PackError::Kind { tensor: "codes".into(), kind, needed }));
}
