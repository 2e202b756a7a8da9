//! Every form of samples becomes the same RGB.

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, Rgba, RgbaImage};
use karst_contract::{Alpha, Code, Frame, Picture};
use karst_media::{Cause, decode};

use crate::make::{self, FlatJpeg};
use crate::{assert_refused, from_bytes, read};

fn rgb(bytes: &[u8]) -> Vec<u8> {
    read(bytes).unwrap().rgb().to_vec()
}

fn rgb_with(bytes: &[u8], alpha: Alpha) -> Vec<u8> {
    decode(&Picture { alpha, ..from_bytes(bytes) }).unwrap().rgb().to_vec()
}

fn png_of(header: ([u8; 4], Vec<u8>), between: Vec<([u8; 4], Vec<u8>)>, rows: &[u8]) -> Vec<u8> {
    let mut chunks = vec![header];
    chunks.extend(between);
    chunks.extend([make::idat(rows), (*b"IEND", vec![])]);
    make::png_of(&chunks)
}

#[test]
fn i7_lossless_formats_keep_every_byte() {
    let frame = make::gradient(31, 17);
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff] {
        assert_eq!(read(&make::encoded(&make::image(&frame), format)).unwrap(), frame, "{format:?}");
    }
}

#[test]
fn i7_a_jpeg_is_near_what_was_encoded() {
    let slope: Vec<u8> = (0..16 * 16).flat_map(|i| [i % 16 * 4, 200 - i / 16 * 3, 90]).map(|v| v as u8).collect();
    let frame = Frame::new(16, 16, slope).unwrap();
    let decoded = read(&make::jpeg(&frame)).unwrap();
    let worst = decoded.rgb().iter().zip(frame.rgb()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= 5, "{worst}");
}

#[test]
fn i7_grey_is_repeated() {
    let grey = DynamicImage::from(GrayImage::from_raw(3, 1, vec![0, 100, 255]).unwrap());
    let expected = [0, 0, 0, 100, 100, 100, 255, 255, 255];
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff] {
        assert_eq!(rgb(&make::encoded(&grey, format)), expected, "{format:?}");
    }
    let jpeg = FlatJpeg { sides: (1, 1), values: &[100], progressive: false, adobe: None }.bytes();
    assert_eq!(rgb(&jpeg), [100; 3]);
    // One bit a pixel: the rows 1 0 1 and 0 1 0.
    let bits = png_of(make::ihdr(3, 2, 1, 0), vec![], &[0, 0b1010_0000, 0, 0b0100_0000]);
    assert_eq!(rgb(&bits), [[255; 3], [0; 3], [255; 3], [0; 3], [255; 3], [0; 3]].concat());
}

#[test]
fn i7_alpha_lies_over_white_over_a_colour_or_is_dropped() {
    let picture =
        RgbaImage::from_raw(4, 1, vec![10, 20, 30, 0, 10, 20, 30, 255, 10, 20, 30, 128, 200, 0, 255, 1]).unwrap();
    let grey = GrayAlphaImage::from_raw(2, 1, vec![50, 0, 50, 51]).unwrap();
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
        let bytes = make::encoded(&DynamicImage::from(picture.clone()), format);
        // 128: (10 * 128 + 255 * 127) / 255 = 132.02; 1: (200 + 255 * 254) / 255 = 254.8.
        assert_eq!(rgb(&bytes), [255, 255, 255, 10, 20, 30, 132, 137, 142, 255, 254, 255], "{format:?}");
        assert_eq!(rgb_with(&bytes, Alpha::Over([0, 100, 0]))[..3], [0, 100, 0], "{format:?}");
        assert_eq!(rgb_with(&bytes, Alpha::Over([0, 100, 0]))[6..9], [5, 60, 15], "{format:?}");
        assert_eq!(rgb_with(&bytes, Alpha::Drop), [10, 20, 30, 10, 20, 30, 10, 20, 30, 200, 0, 255], "{format:?}");
    }
    let bytes = make::encoded(&DynamicImage::from(grey), ImageFormat::Png);
    assert_eq!(rgb(&bytes), [255, 255, 255, 214, 214, 214]);
    assert_eq!(rgb_with(&bytes, Alpha::Drop), [50; 6]);
}

#[test]
fn i7_palettes_give_their_colours_and_their_transparency() {
    let palette = (*b"PLTE", vec![1, 2, 3, 40, 50, 60, 200, 210, 220]);
    let opacity = (*b"tRNS", vec![255, 0]);
    let rows = [0, 0b0001_1000];
    let opaque = png_of(make::ihdr(3, 1, 2, 3), vec![palette.clone()], &rows);
    assert_eq!(rgb(&opaque), [1, 2, 3, 40, 50, 60, 200, 210, 220]);
    let transparent = png_of(make::ihdr(3, 1, 2, 3), vec![palette, opacity], &rows);
    assert_eq!(rgb(&transparent), [1, 2, 3, 255, 255, 255, 200, 210, 220]);
    assert_eq!(rgb_with(&transparent, Alpha::Drop), [1, 2, 3, 40, 50, 60, 200, 210, 220]);
}

#[test]
fn i7_a_transparent_colour_is_transparent() {
    let key = (*b"tRNS", vec![0, 9, 0, 8, 0, 7]);
    let bytes = png_of(make::ihdr(2, 1, 8, 2), vec![key], &[0, 9, 8, 7, 9, 8, 6]);
    assert_eq!(rgb(&bytes), [255, 255, 255, 9, 8, 6]);
    assert_eq!(rgb_with(&bytes, Alpha::Drop), [9, 8, 7, 9, 8, 6]);
}

#[test]
fn i7_sixteen_bit_samples_keep_their_high_byte() {
    let grey: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_raw(3, 1, vec![0x0100, 0x80ff, 0xffff]).unwrap();
    let colour: ImageBuffer<Rgb<u16>, _> = ImageBuffer::from_raw(1, 1, vec![0x12ff, 0x3400, 0x5680]).unwrap();
    let clear: ImageBuffer<Rgba<u16>, _> = ImageBuffer::from_raw(1, 1, vec![0x12ff, 0x3400, 0x5680, 0x00ff]).unwrap();
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let encoded = |image: DynamicImage| make::encoded(&image, format);
        assert_eq!(rgb(&encoded(grey.clone().into())), [1, 1, 1, 0x80, 0x80, 0x80, 255, 255, 255], "{format:?}");
        assert_eq!(rgb(&encoded(colour.clone().into())), [0x12, 0x34, 0x56], "{format:?}");
        assert_eq!(rgb(&encoded(clear.clone().into())), [255; 3], "{format:?}");
        assert_eq!(rgb_with(&encoded(clear.clone().into()), Alpha::Drop), [0x12, 0x34, 0x56], "{format:?}");
    }
    // Grey and alpha: opaque, then clear.
    let both = png_of(make::ihdr(2, 1, 16, 4), vec![], &[0, 0x12, 0x34, 0xff, 0xff, 0x56, 0x78, 0, 0]);
    assert_eq!(rgb(&both), [0x12, 0x12, 0x12, 255, 255, 255]);
    assert_eq!(rgb_with(&both, Alpha::Drop), [0x12, 0x12, 0x12, 0x56, 0x56, 0x56]);
}

#[test]
fn i7_cmyk_jpegs_are_read_as_adobe_writes_them() {
    // Stored inverted: 255 is no ink.
    for (stored, expected) in
        [([255, 255, 255, 255], [255; 3]), ([255, 255, 255, 0], [0; 3]), ([255, 0, 0, 255], [255, 0, 0])]
    {
        for adobe in [Some(0), None] {
            let bytes = FlatJpeg { sides: (8, 8), values: &stored, progressive: false, adobe }.bytes();
            let decoded = rgb(&bytes);
            let near = decoded.iter().zip(expected.iter().cycle()).all(|(a, b)| a.abs_diff(*b) <= 1);
            assert!(near, "{stored:?}, Adobe {adobe:?}: {:?}", &decoded[..3]);
        }
    }
}

#[test]
fn i7_colour_profiles_and_gamma_change_nothing() {
    let frame = make::gradient(4, 4);
    let mut chunks = make::png_chunks(&make::png(&frame));
    chunks.insert(1, (*b"gAMA", 100_000_u32.to_be_bytes().to_vec()));
    let mut profile = b"a profile\0\0".to_vec();
    profile.extend(make::zlib_zeros(600));
    chunks.insert(1, (*b"iCCP", profile));
    assert_eq!(read(&make::png_of(&chunks)).unwrap(), frame);
}

#[test]
fn samples_without_a_stated_range_are_refused() {
    let float = DynamicImage::from(ImageBuffer::from_pixel(2, 2, Rgb([0.5_f32; 3])));
    let bytes = make::encoded(&float, ImageFormat::Tiff);
    assert_refused(&bytes, Code::InvalidPicture, |cause| matches!(cause, Cause::Unsupported { .. }));
    // A palette, which the TIFF decoder does not read.
    let palette = make::tiff_of(&make::gradient(2, 2), &[(262, 3, 1, 3), (277, 3, 1, 1)]);
    assert_refused(&palette, Code::InvalidPicture, |cause| {
        matches!(cause, Cause::Unsupported { .. } | Cause::Damaged { .. })
    });
}
