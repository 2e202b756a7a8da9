//! Makes pictures: with the image library's encoders where they can, by hand where a field must be wrong or rare.

use std::io::Cursor;

use image::codecs::{jpeg, webp};
use image::{DynamicImage, ImageEncoder, ImageFormat, RgbImage};
use karst_contract::Frame;

/// An RGB picture in which no row, column or channel equals its neighbour.
pub fn gradient(width: u32, height: u32) -> Frame {
    let pixel = |x: u32, y: u32| [(7 * x + 3 * y) as u8, (5 * y + 2 * x + 40) as u8, (11 * x + 13 * y + 90) as u8];
    let rgb: Vec<u8> = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect();
    Frame::new(width, height, rgb).unwrap()
}

pub fn image(frame: &Frame) -> DynamicImage {
    DynamicImage::from(RgbImage::from_raw(frame.width(), frame.height(), frame.rgb().to_vec()).unwrap())
}

pub fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn png(frame: &Frame) -> Vec<u8> {
    encoded(&image(frame), ImageFormat::Png)
}

pub fn jpeg(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    jpeg::JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(&image(frame)).unwrap();
    bytes
}

/// The formats, each with a small picture in it.
pub fn one_of_each(frame: &Frame) -> Vec<(&'static str, Vec<u8>)> {
    let picture = image(frame);
    let gif = DynamicImage::from(picture.to_rgba8());
    vec![
        ("JPEG", jpeg(frame)),
        ("PNG", png(frame)),
        ("WebP", encoded(&picture, ImageFormat::WebP)),
        ("GIF", encoded(&gif, ImageFormat::Gif)),
        ("BMP", encoded(&picture, ImageFormat::Bmp)),
        ("TIFF", encoded(&picture, ImageFormat::Tiff)),
    ]
}

/// An Exif block that holds nothing but an orientation.
pub fn exif(orientation: u16) -> Vec<u8> {
    tiff(&[(0x112, 3, 1, u32::from(orientation))], &[])
}

pub fn jpeg_with_exif(frame: &Frame, exif: &[u8]) -> Vec<u8> {
    let mut payload = b"Exif\0\0".to_vec();
    payload.extend(exif);
    let mut bytes = jpeg(frame);
    let segment = jpeg_segment(0xe1, &payload);
    bytes.splice(2..2, segment);
    bytes
}

pub fn webp_with_exif(frame: &Frame, exif: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = webp::WebPEncoder::new_lossless(&mut bytes);
    encoder.set_exif_metadata(exif).unwrap();
    encoder.write_image(frame.rgb(), frame.width(), frame.height(), image::ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// A TIFF of uncompressed 8-bit RGB in one strip, with further tags.
pub fn tiff_of(frame: &Frame, more: &[(u16, u16, u32, u32)]) -> Vec<u8> {
    let (width, height) = (frame.width(), frame.height());
    let mut tags = vec![
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, frame.rgb().len() as u32),
    ];
    tags.retain(|tag| !more.iter().any(|other| other.0 == tag.0));
    tags.extend(more);
    tags.sort_unstable();
    tiff(&tags, frame.rgb())
}

/// A little-endian TIFF: header, `data` at offset 8, then one directory of (tag, type, count, value).
pub fn tiff(tags: &[(u16, u16, u32, u32)], data: &[u8]) -> Vec<u8> {
    let mut bytes = b"II*\0".to_vec();
    bytes.extend((8 + data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes.extend((tags.len() as u16).to_le_bytes());
    for &(tag, kind, count, value) in tags {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes
}

/// The chunks of a PNG: type and data.
pub fn png_chunks(bytes: &[u8]) -> Vec<([u8; 4], Vec<u8>)> {
    let mut rest = &bytes[8..];
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        chunks.push((rest[4..8].try_into().unwrap(), rest[8..8 + length].to_vec()));
        rest = &rest[12 + length..];
    }
    chunks
}

pub fn png_of(chunks: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in chunks {
        bytes.extend((data.len() as u32).to_be_bytes());
        let start = bytes.len();
        bytes.extend(kind);
        bytes.extend(data);
        let sum = crc32(&bytes[start..]);
        bytes.extend(sum.to_be_bytes());
    }
    bytes
}

/// A PNG's header chunk.
pub fn ihdr(width: u32, height: u32, depth: u8, colour: u8) -> ([u8; 4], Vec<u8>) {
    let mut data = [width.to_be_bytes(), height.to_be_bytes()].concat();
    data.extend([depth, colour, 0, 0, 0]);
    (*b"IHDR", data)
}

/// Rows (with their filter byte) in a zlib stream that does not compress.
pub fn idat(rows: &[u8]) -> ([u8; 4], Vec<u8>) {
    let mut data = vec![0x78, 0x01];
    let blocks: Vec<_> = rows.chunks(0xffff).collect();
    for (i, block) in blocks.iter().enumerate() {
        let length = block.len() as u16;
        data.push(u8::from(i + 1 == blocks.len()));
        data.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        data.extend(*block);
    }
    data.extend(adler32(rows).to_be_bytes());
    (*b"IDAT", data)
}

/// `count` zero bytes in a zlib stream: a literal and then runs of 258 in fixed Huffman codes (RFC 1951), 13 bits a run.
pub fn zlib_zeros(count: u64) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0b011, 3); // last block, fixed codes
    bits.put(0b0000_1100, 8); // literal 0
    let (runs, rest) = ((count - 1) / 258, (count - 1) % 258);
    for _ in 0..runs {
        bits.put(0b1010_0011, 8); // length 258
        bits.put(0, 5); // distance 1
    }
    for _ in 0..rest {
        bits.put(0b0000_1100, 8);
    }
    bits.put(0, 7); // end of block
    bits.put(0, 7); // fill the last byte
    let mut stream = vec![0x78, 0x01];
    stream.extend(bits.bytes);
    // Adler-32 of zeros: a is 1, b counts them.
    stream.extend((((count % 65_521) as u32) << 16 | 1).to_be_bytes());
    stream
}

/// A grey 1-bit PNG of zeros, `side` x `side`.
pub fn png_of_zeros(side: u32) -> Vec<u8> {
    let rows = u64::from(side) * u64::from(1 + side.div_ceil(8));
    png_of(&[ihdr(side, side, 1, 0), (*b"IDAT", zlib_zeros(rows)), (*b"IEND", vec![])])
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    hold: u32,
    held: u32,
}

impl Bits {
    /// Appends the low `count` bits of `value`, lowest first.
    fn put(&mut self, value: u32, count: u32) {
        self.hold |= value << self.held;
        self.held += count;
        while self.held >= 8 {
            self.bytes.push(self.hold as u8);
            self.hold >>= 8;
            self.held -= 8;
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) =
        bytes.iter().fold((1, 0), |(a, b), &byte| ((a + u32::from(byte)) % 65_521, (a + b + u32::from(byte)) % 65_521));
    b << 16 | a
}

pub fn jpeg_segment(code: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff, code];
    bytes.extend((data.len() as u16 + 2).to_be_bytes());
    bytes.extend(data);
    bytes
}

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
        while bits.len() % 8 != 0 {
            bits.push('1');
        }
        let bytes = bits.as_bytes().chunks(8).map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap());
        bytes.flat_map(|byte| if byte == 0xff { vec![0xff, 0] } else { vec![byte] }).collect()
    }
}

/// A RIFF chunk, padded to an even length.
pub fn riff_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_vec();
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

pub fn webp_of(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = [b"WEBP".to_vec(), chunks.concat()].concat();
    riff_chunk(b"RIFF", &body)
}

/// The header of a WebP with a canvas; flag 2 is an animation, 16 alpha.
pub fn vp8x(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let sides = [&(width - 1).to_le_bytes()[..3], &(height - 1).to_le_bytes()[..3]].concat();
    riff_chunk(b"VP8X", &[&[flags, 0, 0, 0], sides.as_slice()].concat())
}

/// A lossless WebP's chunk of pixels.
pub fn vp8l(frame: &Frame) -> Vec<u8> {
    encoded(&image(frame), ImageFormat::WebP)[12..].to_vec()
}

/// A frame of an animated WebP at (2x, 2y).
pub fn anmf(x: u32, y: u32, frame: &Frame) -> Vec<u8> {
    let fields = [x, y, frame.width() - 1, frame.height() - 1, 100];
    let mut data: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()[..3].to_vec()).collect();
    data.push(0);
    data.extend(vp8l(frame));
    riff_chunk(b"ANMF", &data)
}
