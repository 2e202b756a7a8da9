//! Makes JPEGs that the encoder does not: of any number of components, progressive, with an Adobe segment.

use super::jpeg_segment;

/// A JPEG of flat 8 x 8 blocks: every block of component `k` has the value `values[k]`. One scan, and DC values only, so
/// the same data serve as a baseline picture and as a progressive one.
pub struct FlatJpeg<'a> {
    pub sides: (u16, u16),
    pub values: &'a [u8],
    pub progressive: bool,
    /// The transform in an Adobe segment.
    pub adobe: Option<u8>,
}

impl FlatJpeg<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let (width, height) = self.sides;
        let count = self.values.len() as u8;
        let mut bytes = vec![0xff, 0xd8];
        if let Some(transform) = self.adobe {
            bytes.extend(jpeg_segment(0xee, &[b"Adobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat()));
        }
        // A step of 8 in the DC value is a step of 1 in every sample of the block.
        bytes.extend(jpeg_segment(0xdb, &[&[0], [8].repeat(64).as_slice()].concat()));
        let components: Vec<u8> = (1..=count).flat_map(|id| [id, 0x11, 0]).collect();
        let frame = [&[8], &height.to_be_bytes()[..], &width.to_be_bytes()[..], &[count], &components].concat();
        bytes.extend(jpeg_segment(if self.progressive { 0xc2 } else { 0xc0 }, &frame));
        // DC: lengths of 4 bits for the categories 0 to 8. AC: 1 bit for the end of the block.
        bytes.extend(jpeg_segment(
            0xc4,
            &[&[0x00, 0, 0, 0, 9], [0; 12].as_slice(), &[0, 1, 2, 3, 4, 5, 6, 7, 8]].concat(),
        ));
        bytes.extend(jpeg_segment(0xc4, &[&[0x10, 1], [0; 15].as_slice(), &[0]].concat()));
        let named: Vec<u8> = (1..=count).flat_map(|id| [id, 0]).collect();
        let last = if self.progressive { 0 } else { 63 };
        bytes.extend(jpeg_segment(0xda, &[&[count], named.as_slice(), &[0, last, 0]].concat()));
        bytes.extend(self.coded());
        bytes.extend([0xff, 0xd9]);
        bytes
    }

    fn coded(&self) -> Vec<u8> {
        let blocks = u32::from(self.sides.0).div_ceil(8) * u32::from(self.sides.1).div_ceil(8);
        let mut bits = String::new();
        for block in 0..blocks {
            for &value in self.values {
                let difference = if block == 0 { i32::from(value) - 128 } else { 0 };
                let category = 32 - difference.unsigned_abs().leading_zeros();
                bits += &format!("{category:04b}");
                if category > 0 {
                    let code = if difference < 0 { difference + (1 << category) - 1 } else { difference };
                    bits += &format!("{code:0width$b}", width = category as usize);
                }
                if !self.progressive {
                    bits.push('0');
                }
            }
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let bytes = bits.as_bytes().chunks(8).map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap());
        bytes.flat_map(|byte| if byte == 0xff { vec![0xff, 0] } else { vec![byte] }).collect()
    }
}
