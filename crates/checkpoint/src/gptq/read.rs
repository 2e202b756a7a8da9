//! From the four tensors of a quantised layer to a checked [`Gptq`].

use std::borrow::Cow;

use half::f16;

use super::{Gptq, GptqError, zeros};
use crate::{CheckpointError, Dtype, Quantization, Tensor};

/// Any hole of a whole page of 4096 bytes, the least that a broken download leaves, holds one of these runs in full, wherever
/// the tensor begins.
const RUN: usize = 2_048;

/// The tensors of a layer as they lie in the file.
pub(crate) struct Parts<'a> {
    pub(crate) qweight: Tensor<'a>,
    pub(crate) qzeros: Tensor<'a>,
    pub(crate) scales: Tensor<'a>,
    /// Absent only where inputs are in the order of their groups.
    pub(crate) g_idx: Option<Tensor<'a>>,
    pub(crate) bias: Option<Tensor<'a>>,
}

impl<'a> Parts<'a> {
    /// Proves that the tensors make a layer of `k` inputs and `n` outputs.
    pub(crate) fn check(self, k: usize, n: usize, form: &Quantization) -> Result<Gptq<'a>, CheckpointError> {
        let codes = 32 / form.bits as usize;
        for (what, side) in [("inputs", k), ("outputs", n)] {
            if side == 0 || !side.is_multiple_of(codes) {
                let tensor = self.qweight.name.to_owned();
                return Err(GptqError::NotWhole { tensor, what, side, codes, bits: form.bits }.into());
            }
        }
        let group = form.group.map_or(k, |group| group.min(k));
        let groups = k.div_ceil(group);
        let qweight = self.qweight.with_dtype(Dtype::I32)?.with_shape(&[k / codes, n])?;
        hole(&qweight)?;
        self.bias.map_or(Ok(()), |bias| no_bias(&bias, n))?;
        Ok(Gptq {
            bits: form.bits,
            k,
            n,
            group,
            order: self.g_idx.map_or(Ok(None), |g_idx| order(&g_idx, k, group))?,
            qweight: words(&qweight),
            zeros: zeros::read(&self.qzeros.with_dtype(Dtype::I32)?.with_shape(&[groups, n / codes])?, form)?,
            scales: scales(&self.scales.with_shape(&[groups, n])?)?,
        })
    }
}

/// The elements in place where the machine can read them so, copied where they are not aligned or of the other byte order.
fn words<'a>(tensor: &Tensor<'a>) -> Cow<'a, [u32]> {
    match bytemuck::try_cast_slice(tensor.bytes) {
        Ok(words) if cfg!(target_endian = "little") => Cow::Borrowed(words),
        _ => Cow::Owned(tensor.elements(u32::from_le_bytes)),
    }
}

/// Refuses a run of zero bytes. It would mean thousands of neighbouring weights at their most negative value, which no
/// quantiser writes; a download that was broken off and resumed leaves just that.
fn hole(tensor: &Tensor<'_>) -> Result<(), GptqError> {
    let zero = |run: &[u8]| run[..8] == [0; 8] && run.iter().all(|&byte| byte == 0);
    match tensor.bytes.chunks_exact(RUN).position(zero) {
        Some(run) => Err(GptqError::Hole { tensor: tensor.name.into(), at: run * RUN, bytes: RUN }),
        None => Ok(()),
    }
}

/// The groups of all inputs, if they are not `i / group`.
fn order(g_idx: &Tensor<'_>, k: usize, group: usize) -> Result<Option<Vec<u32>>, CheckpointError> {
    let indices = g_idx.with_dtype(Dtype::I32)?.with_shape(&[k])?.elements(i32::from_le_bytes);
    let groups = k.div_ceil(group);
    let outside = |&index: &i32| usize::try_from(index).map_or(true, |index| index >= groups);
    if let Some(input) = indices.iter().position(outside) {
        let tensor = g_idx.name.to_owned();
        return Err(GptqError::Group { tensor, input, group: indices[input], groups }.into());
    }
    let plain = indices.iter().enumerate().all(|(input, &index)| index as usize == input / group);
    Ok((!plain).then(|| indices.into_iter().map(|index| index as u32).collect()))
}

/// The scales in half precision, in which most files hold them; wider ones are rounded to it. Negative zero is zero.
fn scales(tensor: &Tensor<'_>) -> Result<Vec<f16>, CheckpointError> {
    let wide = tensor.to_f32()?;
    let scales: Vec<f16> = wide.iter().map(|&scale| f16::from_f32(scale)).collect();
    match wide.iter().zip(&scales).position(|(&wide, scale)| !(wide >= 0.0 && scale.is_finite())) {
        Some(index) => Err(bad_scale(tensor, index, wide[index]).into()),
        None => some_scale(tensor, scales),
    }
}

fn bad_scale(tensor: &Tensor<'_>, index: usize, value: f32) -> GptqError {
    let tensor = tensor.name.to_owned();
    match value.is_finite() && value > 0.0 {
        true => GptqError::LargeScale { tensor, index, value },
        false => GptqError::Scale { tensor, index, value },
    }
}

/// Refuses scales that are all zero: the layer would do nothing, and a hole in the file looks so.
fn some_scale(tensor: &Tensor<'_>, scales: Vec<f16>) -> Result<Vec<f16>, CheckpointError> {
    match scales.iter().all(|&scale| scale == f16::ZERO) {
        true => Err(CheckpointError::AllZero { tensor: tensor.name.into() }),
        false => Ok(scales),
    }
}

/// Some tools write a bias of zeros for every layer they quantise. Another bias would be one that the model does not have.
fn no_bias(bias: &Tensor<'_>, n: usize) -> Result<(), CheckpointError> {
    let numbers = bias.with_shape(&[n])?.to_f32()?;
    match numbers.iter().position(|&number| number != 0.0) {
        Some(index) => Err(GptqError::Bias { tensor: bias.name.into(), index, value: numbers[index] }.into()),
        None => Ok(()),
    }
}
