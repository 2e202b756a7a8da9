//! Weights into tiles on the processor, weight by weight: the reference of the kernels that do it at load.

use half::{bf16, f16};

use crate::kind::{Kind, SLOTS, TILE_ROWS};
use crate::layout::{Layout, Place};
use crate::source::{Dense, PackError, Quantised, Source, size};

/// The code of 4 bits that means zero. Tiles hold numbers of four bits with a sign instead: the code with this bit
/// flipped.
const MIDDLE: u8 = 8;

/// Packs all sources of a layout: [`Layout::bytes`] bytes.
///
/// # Errors
/// When the sources are not those of the layout, or its kind of tile does not hold them.
pub fn pack(layout: &Layout, sources: &[Source<'_>]) -> Result<Vec<u8>, PackError> {
    let permutation = check(layout, sources)?;
    let input = |k: usize| permutation.as_ref().map_or(k, |permutation| permutation[k] as usize);
    let mut bytes = vec![0; layout.bytes()];
    for cta in 0..layout.ctas() {
        for block in 0..layout.blocks() {
            for tile in 0..layout.groups() * SLOTS {
                let (group, slot) = (tile / SLOTS, tile % SLOTS);
                let start = layout.tile(cta, block, group, slot);
                let tile = &mut bytes[start..start + layout.kind().tile_bytes()];
                for row in 0..TILE_ROWS {
                    let output = layout.output(Place { cta, block, row });
                    let output = output.map(|(source, output)| (&sources[source], output));
                    for (at, k) in layout.tile_inputs(group, slot).enumerate() {
                        let inside = k < layout.inputs();
                        write(tile, layout, (row, at), output, k, inside.then(|| input(k)));
                    }
                }
            }
        }
    }
    Ok(bytes)
}

/// A packed weight: of an output of a source, in column `k`, which belongs to input `k` or, sorted by group, to input
/// `permutation[k]`. Columns beyond the layout's inputs are padding.
///
/// # Panics
/// When there is no such weight, or `bytes` are not those of the layout.
pub fn unpack(layout: &Layout, bytes: &[u8], source: usize, output: usize, k: usize) -> f64 {
    assert!(k < layout.padded_inputs(), "column {k} of {}", layout.padded_inputs());
    assert_eq!(bytes.len(), layout.bytes(), "bytes of the layout");
    let Place { cta, block, row } = layout.place(source, output);
    let (group, slot) = layout.tile_of(k);
    let (tile, at) = (&bytes[layout.tile(cta, block, group, slot)..], k % layout.kind().width());
    let kind = layout.kind();
    let half = |byte: usize| [tile[byte], tile[byte + 1]];
    let bit = kind.weight_bit(row, at);
    let scale = || kind.scale_byte(row, at).map_or(1.0, |byte| f16::from_le_bytes(half(byte)).to_f64());
    let zero = || kind.zero_byte(row, at).map_or(MIDDLE, |byte| tile[byte]);
    match kind {
        Kind::Int4 => (f64::from(tile[bit / 8] >> (bit % 8) & 15 ^ MIDDLE) - f64::from(zero())) * scale(),
        Kind::Int8 => (f64::from(tile[bit / 8]) - f64::from(zero())) * scale(),
        Kind::F16 => f16::from_le_bytes(half(bit / 8)).to_f64(),
        Kind::Bf16 => bf16::from_le_bytes(half(bit / 8)).to_f64(),
    }
}

/// The permutation of the sources, if they are those of the layout.
pub(crate) fn check(layout: &Layout, sources: &[Source<'_>]) -> Result<Option<Vec<u32>>, PackError> {
    let needed = Kind::of(sources)?;
    let first = &sources[0];
    size(first.name(), "layers beside it", layout.sources().len() - 1, sources.len() - 1)?;
    size(first.name(), "inputs", layout.inputs(), first.inputs())?;
    for (source, &outputs) in sources.iter().zip(layout.sources()) {
        size(source.name(), "outputs", outputs, source.outputs())?;
    }
    let kind = layout.kind();
    // Codes of 4 bits are codes of 8 bits too; numbers may be rounded to either format.
    if kind == needed || kind == Kind::Int8 && needed.is_quantised() || !kind.is_quantised() && !needed.is_quantised() {
        return first.permutation();
    }
    Err(PackError::Kind { tensor: first.name().to_owned(), kind, needed })
}

/// Writes one weight, with its scale and zero point. `at`: output and input of the tile; `output`: none beyond N; `input`:
/// none beyond K.
fn write(
    tile: &mut [u8],
    layout: &Layout,
    at: (usize, usize),
    output: Option<(&Source<'_>, usize)>,
    k: usize,
    input: Option<usize>,
) {
    match output {
        Some((Source::Quantised(source), output)) => write_code(tile, layout.kind(), at, (source, output), k, input),
        Some((Source::Dense(source), output)) => write_number(tile, layout.kind(), at, (source, output), input),
        // Beyond N: no scale, and the code that means zero.
        None if layout.kind() == Kind::Int4 => set_code(tile, Kind::Int4, at, MIDDLE),
        None => {}
    }
}

fn write_code(
    tile: &mut [u8],
    kind: Kind,
    at: (usize, usize),
    (source, output): (&Quantised<'_>, usize),
    k: usize,
    input: Option<usize>,
) {
    let form = &source.form;
    // What shares a scale in a tile shares a group, and has none if it begins beyond K.
    let share = kind.scaled().map_or(k, |inputs| k / inputs * inputs);
    if share >= form.inputs {
        return set_code(tile, kind, at, if kind == Kind::Int4 { MIDDLE } else { 0 });
    }
    let place = share / form.group * form.outputs + output;
    let zero = source.zeros.map_or(form.middle(), |zeros| zeros[place]);
    set_code(tile, kind, at, input.map_or(zero, |input| source.code(output, input)));
    if let Some(byte) = kind.scale_byte(at.0, at.1) {
        tile[byte..byte + 2].copy_from_slice(&source.scales[place].to_le_bytes());
    }
    if let Some(byte) = kind.zero_byte(at.0, at.1) {
        tile[byte] = zero;
    }
}

fn set_code(tile: &mut [u8], kind: Kind, (row, input): (usize, usize), code: u8) {
    let bit = kind.weight_bit(row, input);
    let stored = if kind == Kind::Int4 { code ^ MIDDLE } else { code };
    tile[bit / 8] |= stored << (bit % 8);
}

fn write_number(
    tile: &mut [u8],
    kind: Kind,
    (row, at): (usize, usize),
    (source, output): (&Dense<'_>, usize),
    input: Option<usize>,
) {
    let Some(input) = input else { return };
    let number = source.float.read(source.bytes, output * source.inputs + input);
    let half = match kind {
        Kind::F16 => f16::from_f32(number).to_le_bytes(),
        _ => bf16::from_f32(number).to_le_bytes(),
    };
    let byte = kind.weight_bit(row, at) / 8;
    tile[byte..byte + 2].copy_from_slice(&half);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Form;

    /// What is beyond N or K: the code that means zero, no scale.
    #[test]
    fn padding_is_zero() {
        let form = Form { bits: 4, inputs: 200, outputs: 24, group: 128 };
        let (codes, scales) = (vec![u32::MAX; 25 * 24], vec![f16::ONE; 2 * 24]);
        let source = Quantised { name: "o_proj", form, codes: &codes, zeros: None, scales: &scales, order: None };
        for kind in [Kind::Int4, Kind::Int8] {
            // Three blocks a CTA; the third has no outputs, the second has eight.
            let layout = Layout::stacked(kind, 200, &[24], 1).expect("a layout");
            let bytes = pack(&layout, &[Source::Quantised(source)]).expect("packed");
            for (block, slot) in (0..layout.blocks()).flat_map(|block| (0..SLOTS).map(move |slot| (block, slot))) {
                let tile = &bytes[layout.tile(0, block, 0, slot)..][..kind.tile_bytes()];
                for (row, (at, k)) in
                    (0..TILE_ROWS).flat_map(|row| layout.tile_inputs(0, slot).enumerate().map(move |at| (row, at)))
                {
                    let share = kind.scaled().map_or(k, |inputs| k / inputs * inputs);
                    let output = block * TILE_ROWS + row;
                    let (scaled, inside) = (output < 24 && share < 200, output < 24 && k < 200);
                    let byte = kind.scale_byte(row, at).expect("a scale");
                    let scale = f16::from_le_bytes([tile[byte], tile[byte + 1]]);
                    assert_eq!(scale == f16::ONE, scaled, "{kind:?}, output {output}, column {k}");
                    assert!(scaled || scale.to_bits() == 0, "{kind:?}, output {output}, column {k}");
                    let zero = kind.zero_byte(row, at).map_or(8, |byte| tile[byte]);
                    assert_eq!(zero, if scaled || kind == Kind::Int4 { 8 } else { 0 });
                    let bit = kind.weight_bit(row, at);
                    let stored = tile[bit / 8] >> (bit % 8);
                    let code = if kind == Kind::Int4 { stored & 15 ^ MIDDLE } else { stored };
                    assert_eq!(code, if inside { 15 } else { zero }, "{kind:?}, output {output}, column {k}");
                }
            }
        }
    }
}
