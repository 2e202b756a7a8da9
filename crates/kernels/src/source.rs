//! Weights as a checkpoint has them, and which kind of tile they need.

mod dense;
mod error;
mod float;
mod form;
mod quantised;

pub use dense::Dense;
pub use error::PackError;
pub(crate) use error::size;
pub use float::Float;
pub use form::Form;
pub use quantised::Quantised;

use crate::kind::Kind;
use crate::layout::LayoutError;

/// One layer of a layout.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Codes.
    Quantised(Quantised<'a>),
    /// Numbers.
    Dense(Dense<'a>),
}

impl Source<'_> {
    /// Its name.
    pub const fn name(&self) -> &str {
        match self {
            Self::Quantised(source) => source.name,
            Self::Dense(source) => source.name,
        }
    }

    /// K.
    pub const fn inputs(&self) -> usize {
        match self {
            Self::Quantised(source) => source.form.inputs,
            Self::Dense(source) => source.inputs,
        }
    }

    /// N.
    pub const fn outputs(&self) -> usize {
        match self {
            Self::Quantised(source) => source.form.outputs,
            Self::Dense(source) => source.outputs,
        }
    }

    /// The inputs sorted by group, as [`Quantised::permutation`].
    ///
    /// # Errors
    /// When a group has more or fewer inputs than the form says.
    pub fn permutation(&self) -> Result<Option<Vec<u32>>, PackError> {
        match self {
            Self::Quantised(source) => source.permutation(),
            Self::Dense(_) => Ok(None),
        }
    }

    fn kind(&self) -> Result<Kind, PackError> {
        match self {
            Self::Quantised(source) => source.kind(),
            Self::Dense(source) => source.kind(),
        }
    }
}

impl Kind {
    /// The kind of tile for layers that read the same input: codes exactly as they are; numbers in half precision if all are,
    /// else as `bf16`, which has the range of `f32`.
    ///
    /// # Errors
    /// When a layer cannot be multiplied, or they cannot be in one layout: codes beside numbers, or another act-order.
    pub fn of(sources: &[Source<'_>]) -> Result<Self, PackError> {
        let kinds = sources.iter().map(Source::kind).collect::<Result<Vec<_>, _>>()?;
        let (Some(first), Some(&kind)) = (sources.first(), kinds.first()) else {
            return Err(LayoutError::Empty { inputs: 0, outputs: 0, limit: 0 }.into());
        };
        let permutation = first.permutation()?;
        for (source, other) in sources.iter().zip(&kinds).skip(1) {
            size(source.name(), "inputs", first.inputs(), source.inputs())?;
            let different = |difference| {
                let (tensor, other) = (first.name().to_owned(), source.name().to_owned());
                Err(PackError::Different { tensor, other, difference })
            };
            if kind.is_quantised() != other.is_quantised() {
                return different("one of them has codes, the other numbers");
            }
            if source.permutation()? != permutation {
                return different("their inputs are in different order (act-order)");
            }
        }
        let same = kinds.iter().all(|&other| other == kind);
        Ok(if same { kind } else { kind.widest() })
    }

    pub(crate) const fn is_quantised(self) -> bool {
        matches!(self, Self::Int4 | Self::Int8)
    }

    /// What holds all of its like.
    const fn widest(self) -> Self {
        if self.is_quantised() { Self::Int8 } else { Self::Bf16 }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    fn kind(form: Form, zeros: bool, order: Option<&[u32]>) -> Result<Kind, PackError> {
        let each = if form.group == 0 { 0 } else { form.groups() * form.outputs };
        let codes = vec![0; form.inputs * form.bits / 32 * form.outputs];
        let (scales, stored) = (vec![f16::ONE; each], vec![0; each]);
        let zeros = zeros.then_some(&stored[..]);
        let source = Quantised { name: "o_proj", form, codes: &codes, zeros, scales: &scales, order };
        Kind::of(&[Source::Quantised(source)])
    }

    #[test]
    fn the_kind_follows_from_bits_zeros_and_groups() {
        let of = |bits, inputs, group, zeros| kind(Form { bits, inputs, outputs: 8, group }, zeros, None);
        for group in [128, 256, 4096, 5000] {
            assert_eq!(of(4, 4096, group, false), Ok(Kind::Int4), "{group}");
        }
        assert_eq!(of(4, 104, 104, false), Ok(Kind::Int4));
        for (bits, group, zeros) in [(4, 128, true), (4, 64, false), (4, 32, true), (4, 192, false), (8, 128, false)] {
            assert_eq!(of(bits, 4096, group, zeros), Ok(Kind::Int8), "{bits} {group} {zeros}");
        }
        let tensor = || "o_proj".to_owned();
        assert_eq!(of(4, 4096, 16, false), Err(PackError::Group { tensor: tensor(), group: 16 }));
        assert_eq!(of(4, 4096, 0, false), Err(PackError::Group { tensor: tensor(), group: 0 }));
        assert_eq!(of(2, 4096, 128, false), Err(PackError::Bits { tensor: tensor(), bits: 2 }));
        let size = PackError::Size { tensor: tensor(), what: "inputs", expected: 136, found: 132 };
        assert_eq!(of(4, 132, 128, false), Err(size));
    }

    #[test]
    fn act_order_needs_whole_groups() {
        let form = Form { bits: 4, inputs: 320, outputs: 8, group: 128 };
        let mut order: Vec<u32> = (0..320).map(|k| (319 - k) / 128).collect();
        assert_eq!(kind(form, false, Some(&order)), Ok(Kind::Int4));
        order[7] = 0;
        let tensor = "o_proj".to_owned();
        let error = PackError::Order { tensor, input: 319, index: 0, group: 128 };
        assert_eq!(kind(form, false, Some(&order)), Err(error));
    }

    #[test]
    fn layers_of_one_input_share_a_kind() {
        let dense = |name, float: Float, bytes| Source::Dense(Dense { name, inputs: 2, outputs: 1, float, bytes });
        let half = dense("q", Float::F16, &[0; 4]);
        let wide = dense("k", Float::F32, &[0; 8]);
        assert_eq!(Kind::of(&[half, half]), Ok(Kind::F16));
        assert_eq!(Kind::of(&[half, wide]), Ok(Kind::Bf16));
        let form = Form { bits: 4, inputs: 8, outputs: 1, group: 8 };
        let scales = [f16::ONE];
        let int4 = Quantised { name: "v", form, codes: &[0], zeros: None, scales: &scales, order: None };
        let int8 = Quantised { zeros: Some(&[3]), ..int4 };
        assert_eq!(Kind::of(&[Source::Quantised(int4), Source::Quantised(int8)]), Ok(Kind::Int8));
        let dense = dense("q", Float::F16, &[0; 4]);
        let error = Kind::of(&[dense, Source::Quantised(int4)]).expect_err("other inputs");
        assert_eq!(error, PackError::Size { tensor: "v".into(), what: "inputs", expected: 2, found: 8 });
    }
}
