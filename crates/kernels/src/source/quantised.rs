//! A layer of codes.

use half::f16;

use super::error::{PackError, size};
use super::form::Form;
use crate::kind::Kind;

/// A quantised layer: weight `(code - zero) * scale`.
#[derive(Debug, Clone, Copy)]
pub struct Quantised<'a> {
    /// Its name, for errors.
    pub name: &'a str,
    /// Its form.
    pub form: Form,
    /// [K * bits / 32, N] Codes of consecutive inputs, the first in the lowest bits.
    pub codes: &'a [u32],
    /// [groups, N] The code that means zero; `None` where it is the middle everywhere.
    pub zeros: Option<&'a [u8]>,
    /// [groups, N].
    pub scales: &'a [f16],
    /// [K] The group of each input, where it is not `k / group` (act-order).
    pub order: Option<&'a [u32]>,
}

impl Quantised<'_> {
    /// The kind of tile that holds it exactly.
    ///
    /// # Errors
    /// When there is none, or a list has another length than the form says.
    pub fn kind(&self) -> Result<Kind, PackError> {
        self.permutation()?;
        let Form { bits, inputs, outputs, .. } = self.form;
        let each = self.form.groups() * outputs;
        size(self.name, "words of codes", inputs / self.form.codes_per_word() * outputs, self.codes.len())?;
        size(self.name, "scales", each, self.scales.len())?;
        self.zeros.map_or(Ok(()), |zeros| size(self.name, "zero points", each, zeros.len()))?;
        let int4 = bits == 4 && self.zeros.is_none() && self.form.is_whole_in(Kind::Int4.width());
        Ok(if int4 { Kind::Int4 } else { Kind::Int8 })
    }

    /// [K] The inputs sorted by group, in each group as they were: column `k` of the packed weights belongs to input
    /// `permutation[k]`. `None` where they are in order.
    ///
    /// # Errors
    /// When a group has more or fewer inputs than the form says.
    pub fn permutation(&self) -> Result<Option<Vec<u32>>, PackError> {
        self.form.check(self.name)?;
        let Some(order) = self.order else { return Ok(None) };
        let Form { inputs, group, .. } = self.form;
        size(self.name, "groups of inputs", inputs, order.len())?;
        let columns = |start: usize| start..inputs.min(start.saturating_add(group));
        let mut free: Vec<_> = (0..inputs).step_by(group).map(columns).collect();
        let mut sorted = vec![0; inputs];
        // There are as many columns as inputs: where a group has too few inputs, another has too many.
        for (input, &index) in order.iter().enumerate() {
            let column = free.get_mut(index as usize).and_then(Iterator::next);
            let error = || PackError::Order { tensor: self.name.to_owned(), input, index, group };
            sorted[column.ok_or_else(error)?] = input as u32;
        }
        Ok(Some(sorted))
    }

    /// The code of an output for an input.
    pub(crate) fn code(&self, output: usize, input: usize) -> u8 {
        let Form { bits, outputs, .. } = self.form;
        let per_word = self.form.codes_per_word();
        let word = self.codes[input / per_word * outputs + output];
        (word >> (input % per_word * bits) & ((1 << bits) - 1)) as u8
    }
}
