//! From the checkpoint's order to tiles. Tiles are made in parallel, each straight from the mapped file.

use karst_checkpoint::{Dtype, Gptq, Tensor};
use rayon::prelude::*;

use super::codes::Form;
use super::error::LinearError;
use super::layout::Layout;
use super::line::{Line, TILE, part_mut};
use super::tile::{Tile, Zeros};

/// Inputs that are transposed at a time: what is written of them (8 KiB at most) stays in the nearest cache.
const STEP: usize = 32;

/// The tiles of a matrix and how they are to be read.
pub(super) struct Packed {
    pub(super) form: Form,
    pub(super) layout: Layout,
    pub(super) tiles: Vec<Tile>,
    pub(super) zeros: Zeros,
}

/// Packs GPTQ codes. Their words already hold eight consecutive inputs of one output, so without act-order 4-bit codes are
/// copied as they are.
pub(super) fn gptq(source: &Gptq<'_>) -> Result<Packed, LinearError> {
    let form = check(source)?;
    let groups: Vec<u32> = (0..source.k).map(|input| source.group_of(input) as u32).collect();
    let layout = Layout::grouped(&groups, form);
    check_groups(source, layout.groups())?;
    let tile = |first: usize| {
        let mut tile = Tile::new(&layout, form);
        match form {
            Form::Nibbles if layout.in_order() => copy_words(source, first, &mut tile),
            Form::Nibbles => gather_nibbles(source, &layout, first, &mut tile),
            _ => gather_bytes(source, &layout, first, &mut tile),
        }
        tile.set_scales(&source.scales, source.n, first);
        if let Some(zeros) = &source.zeros {
            tile.set_zeros(zeros, source.n, first);
        }
        tile
    };
    let tiles = (0..source.n).into_par_iter().step_by(TILE).map(tile).collect();
    let centre = if form == Form::Bytes { 128.0 } else { 0.0 };
    let zeros = if source.zeros.is_some() { Zeros::Stored { centre } } else { Zeros::All(form.centre()) };
    Ok(Packed { form, layout, tiles, zeros })
}

/// The form of the codes, if there are as many as the shape asks for.
fn check(source: &Gptq<'_>) -> Result<Form, LinearError> {
    let Gptq { bits, k: inputs, n: outputs, group, .. } = *source;
    let form = match bits {
        4 if inputs.min(outputs).min(group) > 0 => Form::Nibbles,
        8 if inputs.min(outputs).min(group) > 0 => Form::Bytes,
        _ => return Err(LinearError::Form { bits, inputs, group, outputs }),
    };
    length("codes", source.qweight.len(), inputs.div_ceil(32 / bits as usize).saturating_mul(outputs))?;
    length("order", source.order.as_ref().map_or(inputs, Vec::len), inputs)?;
    Ok(form)
}

/// Whether there are finite scales, and zero points where there are any, for `groups` groups.
fn check_groups(source: &Gptq<'_>, groups: usize) -> Result<(), LinearError> {
    let rows = groups.max(source.scales.len() / source.n);
    length("scales", source.scales.len(), rows * source.n)?;
    length("zeros", source.zeros.as_ref().map_or(rows * source.n, Vec::len), rows * source.n)?;
    match source.scales.iter().position(|scale| !scale.is_finite()) {
        Some(place) => Err(LinearError::NonFinite { tensor: "scales".into(), output: place % source.n }),
        None => Ok(()),
    }
}

/// Refuses another length than `expected`.
fn length(tensor: &str, found: usize, expected: usize) -> Result<(), LinearError> {
    if found == expected { Ok(()) } else { Err(LinearError::Length { tensor: tensor.into(), found, expected }) }
}

fn copy_words(source: &Gptq<'_>, first: usize, tile: &mut Tile) {
    for (row, lines) in source.qweight.chunks_exact(source.n).zip(tile.codes.chunks_exact_mut(Form::Nibbles.lines())) {
        for (words, line) in row[first..].chunks(16).zip(lines) {
            line.0[..words.len()].copy_from_slice(words);
        }
    }
}

fn gather_nibbles(source: &Gptq<'_>, layout: &Layout, first: usize, tile: &mut Tile) {
    for place in 0..layout.places() {
        let Some(input) = layout.source(place) else { continue };
        let row = &source.qweight[input / 8 * source.n..][..source.n];
        let lines = &mut tile.codes[place / 8 * Form::Nibbles.lines()..];
        for (column, word) in row[first..].iter().take(TILE).enumerate() {
            *part_mut::<u32>(lines, column) |= (word >> (4 * (input % 8)) & 0xf) << (4 * (place % 8));
        }
    }
}

fn gather_bytes(source: &Gptq<'_>, layout: &Layout, first: usize, tile: &mut Tile) {
    for (place, line) in tile.codes.iter_mut().enumerate() {
        let Some(input) = layout.source(place) else { continue };
        let row = &source.qweight[input / 4 * source.n..][..source.n];
        for (column, word) in row[first..].iter().take(TILE).enumerate() {
            // Less 128 in two's complement is the top bit changed.
            *part_mut::<u8>(std::slice::from_mut(line), column) = (word >> (8 * (input % 4))) as u8 ^ 0x80;
        }
    }
}

/// Packs a dense matrix `[outputs, inputs]` in the type in which it is stored.
pub(super) fn dense(weight: &Tensor<'_>, outputs: usize, inputs: usize) -> Result<Packed, LinearError> {
    let form = match weight.dtype {
        Dtype::F16 => Form::Half,
        Dtype::BF16 => Form::Brain,
        Dtype::F32 => Form::Single,
        dtype => return Err(LinearError::Dtype { tensor: weight.name.into(), dtype }),
    };
    length(weight.name, weight.bytes.len() * 8 / weight.dtype.bits() as usize, outputs.saturating_mul(inputs))?;
    let layout = Layout::plain(inputs, form);
    let tile = |first: usize| {
        let mut tile = Tile::new(&layout, form);
        let (bytes, to) = (weight.bytes, &mut tile);
        let done = match form {
            Form::Half => transpose(bytes, inputs, first, to, |&bits| u16::from_le_bytes(bits) & 0x7c00 < 0x7c00),
            Form::Brain => transpose(bytes, inputs, first, to, |&bits| u16::from_le_bytes(bits) & 0x7f80 < 0x7f80),
            _ => transpose(bytes, inputs, first, to, |&bits| f32::from_le_bytes(bits).is_finite()),
        };
        done.map(|()| tile).map_err(|output| LinearError::NonFinite { tensor: weight.name.into(), output })
    };
    let tiles = (0..outputs).into_par_iter().step_by(TILE).map(tile).collect::<Result<_, _>>()?;
    Ok(Packed { form, layout, tiles, zeros: Zeros::All(0.0) })
}

/// Turns rows `[outputs, inputs]` of numbers of `B` bytes into a tile's `[inputs, outputs]`; the output with a number that is
/// not `finite` is the error.
fn transpose<const B: usize>(
    bytes: &[u8],
    inputs: usize,
    first: usize,
    tile: &mut Tile,
    finite: impl Fn(&[u8; B]) -> bool,
) -> Result<(), usize> {
    let (numbers, _) = bytes.as_chunks::<B>();
    let rows = numbers[first * inputs..].chunks_exact(inputs).take(TILE);
    let lines = B * TILE / size_of::<Line>();
    let mut square = [[[0; B]; TILE]; STEP];
    for (step, codes) in tile.codes.chunks_mut(STEP * lines).enumerate() {
        for (column, row) in rows.clone().enumerate() {
            let numbers = &row[step * STEP..inputs.min((step + 1) * STEP)];
            if !numbers.iter().all(&finite) {
                return Err(first + column);
            }
            for (square, &number) in square.iter_mut().zip(numbers) {
                square[column] = number;
            }
        }
        for (line, bytes) in codes.iter_mut().zip(square.as_flattened().as_flattened().chunks_exact(size_of::<Line>()))
        {
            bytemuck::cast_slice_mut::<u32, u8>(&mut line.0).copy_from_slice(bytes);
        }
    }
    Ok(())
}
