//! The number formats a safetensors file may name.

use std::fmt;

macro_rules! dtypes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $bits:literal;)+) => {
        /// A number format of the safetensors specification. Weights use the first four; a tensor of another format is
        /// measured with its file and refused by name when it is used.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types)] // the specification's spelling
        #[non_exhaustive]
        pub enum Dtype {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Dtype {
            /// Every format, in the table's order.
            pub const ALL: &'static [Dtype] = &[$(Dtype::$variant,)+];

            /// The name in the file.
            pub const fn name(self) -> &'static str {
                match self { $(Dtype::$variant => $name,)+ }
            }

            /// Bits of an element; some formats have less than eight.
            pub const fn bits(self) -> u64 {
                match self { $(Dtype::$variant => $bits,)+ }
            }

            /// The format that a file calls `name`.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Dtype::$variant),)+ _ => None }
            }
        }
    };
}

dtypes! {
    /// IEEE single precision.
    F32 = "F32", 32;
    /// IEEE half precision.
    F16 = "F16", 16;
    /// The upper half of a single.
    BF16 = "BF16", 16;
    /// Signed 32 bits: packed codes, zeros and group indices.
    I32 = "I32", 32;
    /// A truth value in a byte.
    BOOL = "BOOL", 8;
    /// Four-bit float.
    F4 = "F4", 4;
    /// Six-bit float.
    F6_E2M3 = "F6_E2M3", 6;
    /// Six-bit float.
    F6_E3M2 = "F6_E3M2", 6;
    /// Unsigned byte.
    U8 = "U8", 8;
    /// Signed byte.
    I8 = "I8", 8;
    /// Eight-bit float.
    F8_E5M2 = "F8_E5M2", 8;
    /// Eight-bit float.
    F8_E4M3 = "F8_E4M3", 8;
    /// Eight-bit power of two.
    F8_E8M0 = "F8_E8M0", 8;
    /// Signed 16 bits.
    I16 = "I16", 16;
    /// Unsigned 16 bits.
    U16 = "U16", 16;
    /// Unsigned 32 bits.
    U32 = "U32", 32;
    /// Two single-precision floats.
    C64 = "C64", 64;
    /// IEEE double precision.
    F64 = "F64", 64;
    /// Signed 64 bits.
    I64 = "I64", 64;
    /// Unsigned 64 bits.
    U64 = "U64", 64;
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_name() {
        for &dtype in Dtype::ALL {
            assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(Dtype::from_name("f32"), None);
    }
}
