//! Only whole pictures are pictures.

use image::{DynamicImage, GrayImage, ImageFormat};
use karst_contract::{Code, Coded};
use karst_media::{Cause, decode};

use crate::make::{self, FlatJpeg};
use crate::{assert_refused, from_bytes, read, refused};

/// How many of the longest prefixes of `bytes` decode, each of them to the very same picture.
fn prefixes_that_pass(name: &str, bytes: &[u8]) -> usize {
    let whole = read(bytes).unwrap();
    let passed =
        (0..bytes.len()).rev().take_while(|&end| read(&bytes[..end]).is_ok_and(|frame| frame == whole)).count();
    for end in 0..bytes.len() - passed {
        let error = decode(&from_bytes(&bytes[..end])).expect_err(name);
        assert!(matches!(error.code(), Code::InvalidPicture), "{name}, {end} bytes: {error}");
    }
    passed
}

#[test]
fn i9_every_prefix_of_every_format_is_refused_unless_no_pixel_is_missing() {
    for (format, bytes) in make::one_of_each(&make::gradient(13, 9)) {
        let passed = prefixes_that_pass(format, &bytes);
        let expected = match format {
            "GIF" => 1, // the trailer
            _ => 0,
        };
        assert_eq!(passed, expected, "{format} of {} bytes", bytes.len());
    }
}

#[test]
fn i9_every_prefix_of_rarer_kinds_is_refused_unless_no_pixel_is_missing() {
    let grey = DynamicImage::from(GrayImage::from_fn(9, 7, |x, y| image::Luma([(x * 20 + y) as u8])));
    let frame = make::gradient(6, 5);
    for (name, expected, bytes) in [
        (
            "progressive JPEG",
            0,
            FlatJpeg { sides: (24, 16), values: &[90, 100, 200], progressive: true, adobe: None }.bytes(),
        ),
        (
            "CMYK JPEG",
            0,
            FlatJpeg { sides: (9, 9), values: &[9, 80, 100, 200], progressive: false, adobe: Some(0) }.bytes(),
        ),
        ("grey BMP", 0, make::encoded(&grey, ImageFormat::Bmp)),
        ("16-bit PNG", 0, make::encoded(&DynamicImage::from(grey.to_rgb16()), ImageFormat::Png)),
        ("WebP with Exif", 0, make::webp_with_exif(&frame, make::exif(6))),
        ("TIFF with the pixels last", 0, tiff_with_pixels_last(&frame)),
        ("TIFF with the directory last", 0, make::tiff_of(&frame, &[])),
    ] {
        assert_eq!(prefixes_that_pass(name, &bytes), expected, "{name} of {} bytes", bytes.len());
    }
}

fn tiff_with_pixels_last(frame: &karst_contract::Frame) -> Vec<u8> {
    let directory = make::tiff_of(frame, &[]).len() as u32 - frame.rgb().len() as u32;
    let bytes = make::tiff_of(frame, &[(273, 4, 1, directory)]);
    let pixels = 8..8 + frame.rgb().len();
    let mut moved = [&bytes[..8], &bytes[pixels.end..], &bytes[pixels]].concat();
    moved[4..8].copy_from_slice(&8_u32.to_le_bytes());
    moved
}

#[test]
fn i9_what_follows_the_picture_is_ignored() {
    for (format, bytes) in make::one_of_each(&make::gradient(8, 8)) {
        let expected = read(&bytes).unwrap();
        for tail in [&b"PK\x03\x04 an archive"[..], &bytes.clone(), &[0; 1000], b"\xff\xd8\xff\xe1"] {
            let polyglot = [&bytes[..], tail].concat();
            assert_eq!(read(&polyglot).unwrap(), expected, "{format}");
        }
    }
}

#[test]
fn i9_a_download_filled_up_with_zeros_is_refused() {
    let frame = make::gradient(64, 48);
    for (format, bytes) in make::one_of_each(&frame) {
        let mut bytes = bytes;
        let half = bytes.len() / 2;
        bytes[half..].fill(0);
        match format {
            // Pixels without a checksum: the zeros are black pixels.
            "BMP" => assert!(read(&bytes).is_ok()),
            _ => assert_eq!(refused(&bytes).code(), Code::InvalidPicture, "{format}"),
        }
    }
}

#[test]
fn i9_every_flipped_bit_of_a_png_is_found_or_harmless() {
    let bytes = make::png(&make::gradient(5, 4));
    let whole = read(&bytes).unwrap();
    let mut refusals = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            match decode(&from_bytes(&damaged)) {
                Ok(frame) => assert_eq!(frame, whole, "byte {at}, bit {bit}"),
                Err(_) => refusals += 1,
            }
        }
    }
    assert!(refusals > bytes.len() * 7, "{refusals} of {} flips", bytes.len() * 8);
}

#[test]
fn damaged_bytes_never_panic_or_hang_and_errors_name_the_format() {
    let frame = make::gradient(17, 11);
    let mut random = 1_u64;
    for (format, bytes) in make::one_of_each(&frame) {
        for _ in 0..2_000 {
            let mut damaged = bytes.clone();
            for _ in 0..3 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (random >> 33) as usize % damaged.len();
                damaged[at] = (random >> 20) as u8;
            }
            if let Err(error) = decode(&from_bytes(&damaged)) {
                assert!(!matches!(error.cause, Cause::Decoder { .. }), "{format}: {error}");
                let named = error.to_string().contains(format);
                assert!(named || matches!(error.cause, Cause::UnknownFormat { .. } | Cause::Sides(_)), "{error}");
            }
        }
    }
}

#[test]
fn i9_a_jpegs_scan_must_hold_its_blocks() {
    let flat = FlatJpeg { sides: (64, 64), values: &[90, 100, 200], progressive: false, adobe: None };
    for progressive in [false, true] {
        let bytes = FlatJpeg { progressive, ..flat }.bytes();
        assert!(read(&bytes).is_ok());
        // The same data under a header that promises more.
        let mut lying = bytes.clone();
        let frame = lying.windows(2).position(|code| code[0] == 0xff && matches!(code[1], 0xc0 | 0xc2)).unwrap();
        lying[frame + 5..frame + 9].copy_from_slice(&[0x10, 0, 0x10, 0]); // 4096 x 4096
        assert_refused(
            &lying,
            Code::InvalidPicture,
            |cause| matches!(cause, Cause::Damaged { problem, .. } if problem.contains("786432 blocks")),
        );
    }
}

#[test]
fn i9_a_jpeg_without_a_part_is_refused() {
    let bytes = FlatJpeg { sides: (8, 8), values: &[90, 100, 200], progressive: false, adobe: None }.bytes();
    let at = |code: u8| bytes.windows(2).position(|pair| pair == [0xff, code]).unwrap();
    let (frame, scan, end) = (at(0xc0), at(0xda), bytes.len() - 2);
    let without = |cut: std::ops::Range<usize>| [&bytes[..cut.start], &bytes[cut.end..]].concat();
    let second_frame = [&bytes[..frame], &bytes[frame..frame + 19], &bytes[frame..]].concat();
    for (problem, bytes) in [
        ("only 0 of its 3 components have a scan", without(scan..end)),
        ("a scan of 3 blocks has only 0 bytes", without(scan + 14..end)),
        ("a scan comes before the frame header", without(frame..frame + 19)),
        ("it has no frame header", vec![0xff, 0xd8, 0xff, 0xd9]),
        ("it has two frame headers", second_frame),
    ] {
        let error = refused(&bytes);
        assert!(
            matches!(&error.cause, Cause::Damaged { problem: found, .. } if found == problem),
            "{problem}: {error}"
        );
    }
    // One component of three has a scan.
    let mut one = without(scan..end);
    one.truncate(one.len() - 2);
    one.extend(make::jpeg_segment(0xda, &[1, 1, 0, 0, 63, 0]));
    one.extend([0x00, 0x00, 0xff, 0xd9]);
    let error = refused(&one);
    assert!(error.to_string().ends_with("only 1 of its 3 components have a scan"), "{error}");
}

#[test]
fn i9_a_png_without_a_part_is_refused() {
    let chunks = make::png_chunks(&make::png(&make::gradient(3, 3)));
    for kind in [b"IHDR", b"IDAT", b"IEND"] {
        let rest: Vec<_> = chunks.iter().filter(|chunk| chunk.0 != *kind).cloned().collect();
        assert_eq!(refused(&make::png_of(&rest)).code(), Code::InvalidPicture);
    }
    let mut unknown = chunks.clone();
    unknown.insert(1, (*b"CgBI", vec![0; 4]));
    assert_refused(&make::png_of(&unknown), Code::InvalidPicture, |cause| matches!(cause, Cause::Unsupported { .. }));
    // Fewer rows than promised.
    let short = make::png_of(&[make::ihdr(2, 2, 8, 0), make::idat(&[0, 1, 2]), (*b"IEND", vec![])]);
    assert_refused(&short, Code::InvalidPicture, |cause| {
        matches!(cause, Cause::Damaged { .. } | Cause::CutShort { .. })
    });
}

#[test]
fn tiffs_of_either_byte_order_and_offset_width_are_read() {
    let frame = make::gradient(5, 3);
    for (big_endian, big, start) in [(false, false, 8), (true, false, 8), (false, true, 16), (true, true, 16)] {
        let tags = make::tags_of(&frame, &[(273, 4, 1, start)]);
        let bytes = make::tiff_in(big_endian, big, &tags, frame.rgb());
        assert_eq!(read(&bytes).unwrap(), frame, "big endian {big_endian}, BigTIFF {big}");
        let doubled: Vec<_> = [&tags[..1], &tags].concat();
        let error = refused(&make::tiff_in(big_endian, big, &doubled, frame.rgb()));
        assert!(error.to_string().ends_with("its tag 256 stands there twice"), "{error}");
    }
}
