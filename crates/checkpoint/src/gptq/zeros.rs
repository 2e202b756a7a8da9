//! Zero points: packed along N, stored as they are or less one.

use super::GptqError;
use crate::{Quantization, Tensor, ZeroForm};

/// The true zero points [groups, N] of `qzeros` [groups, N * bits / 32]; `None` if all are the middle.
pub(super) fn read(qzeros: &Tensor<'_>, form: &Quantization) -> Result<Option<Vec<u8>>, GptqError> {
    let words = qzeros.elements(u32::from_le_bytes);
    let middle = 1 << (form.bits - 1);
    let all = |value: u32| words.iter().all(|&word| word == repeated(value, form.bits));
    if all(stored(middle, form.zeros)) {
        return Ok(None);
    }
    let other = match form.zeros {
        ZeroForm::V1 => ZeroForm::V2,
        ZeroForm::V2 => ZeroForm::V1,
    };
    if form.symmetric && all(stored(middle, other)) {
        let (tensor, found) = (qzeros.name.to_owned(), stored(middle, other));
        return Err(GptqError::OtherForm { tensor, found, other: other.name(), declared: form.zeros.name() });
    }
    let zeros: Vec<u8> = words.iter().flat_map(|&word| unpack(word, form)).collect();
    match zeros.iter().position(|&zero| u32::from(zero) != middle) {
        Some(place) if form.symmetric => Err(not_symmetric(qzeros, form, place, zeros[place].into(), middle)),
        _ => Ok(Some(zeros)),
    }
}

/// What a file of this form holds for the zero point `zero`.
fn stored(zero: u32, form: ZeroForm) -> u32 {
    match form {
        ZeroForm::V1 => zero - 1,
        ZeroForm::V2 => zero,
    }
}

/// A word of nothing but `value`.
fn repeated(value: u32, bits: u32) -> u32 {
    (0..32 / bits).fold(0, |word, place| word | value << (place * bits))
}

/// The true zero points of a word. Each is increased by itself: added to the whole word, the largest would carry into the
/// next.
fn unpack(word: u32, form: &Quantization) -> impl Iterator<Item = u8> {
    let (bits, mask, add) = (form.bits, (1 << form.bits) - 1, u32::from(form.zeros == ZeroForm::V1));
    (0..32 / bits).map(move |place| ((((word >> (place * bits)) & mask) + add) & mask) as u8)
}

fn not_symmetric(qzeros: &Tensor<'_>, form: &Quantization, place: usize, zero: u32, middle: u32) -> GptqError {
    let outputs = qzeros.shape[1] * (32 / form.bits as usize);
    let tensor = qzeros.name.to_owned();
    GptqError::NotSymmetric { tensor, group: place / outputs, output: place % outputs, zero, middle }
}
