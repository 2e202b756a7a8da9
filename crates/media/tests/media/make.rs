//! Makes pictures: with the image library's encoders where they can, by hand where a field must be wrong or rare.

mod flat_jpeg;

use std::io::Cursor;

use image::codecs::{jpeg, webp};
use image::{DynamicImage, ImageEncoder, ImageFormat, RgbImage};
use karst_contract::Frame;

pub use flat_jpeg::FlatJpeg;

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
    tiff(&tags_of(frame, more), frame.rgb())
}

/// The tags of [`tiff_of`], with further ones.
pub fn tags_of(frame: &Frame, more: &[(u16, u16, u32, u32)]) -> Vec<(u16, u16, u32, u32)> {
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
    tags
}

/// A little-endian TIFF: header, `data` at offset 8, then one directory of (tag, type, count, value).
pub fn tiff(tags: &[(u16, u16, u32, u32)], data: &[u8]) -> Vec<u8> {
    tiff_in(false, false, tags, data)
}

/// The same in either byte order and, with `big`, as a BigTIFF, whose data begin at offset 16.
pub fn tiff_in(big_endian: bool, big: bool, tags: &[(u16, u16, u32, u32)], data: &[u8]) -> Vec<u8> {
    let number = |value: u64, bytes: usize| {
        let digits = value.to_le_bytes();
        if big_endian { digits[..bytes].iter().rev().copied().collect() } else { digits[..bytes].to_vec() }
    };
    let (wide, start) = if big { (8, 16) } else { (4, 8) };
    let mut bytes = if big_endian { b"MM".to_vec() } else { b"II".to_vec() };
    bytes.extend(number(if big { 43 } else { 42 }, 2));
    if big {
        bytes.extend([number(8, 2), number(0, 2)].concat());
    }
    bytes.extend(number(start + data.len() as u64, wide));
    bytes.extend(data);
    bytes.extend(number(tags.len() as u64, if big { 8 } else { 2 }));
    for &(tag, kind, count, value) in tags {
        let mut field = number(u64::from(value), if kind == 3 { 2 } else { 4 });
        field.resize(wide, 0);
        bytes.extend([number(tag.into(), 2), number(kind.into(), 2), number(count.into(), wide), field].concat());
    }
    bytes.extend(number(0, wide));
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
