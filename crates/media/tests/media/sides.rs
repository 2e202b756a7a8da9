//! Sides at their ends.

use image::ImageFormat;
use karst_contract::{Code, Frame, FrameError, limits};
use karst_media::{Cause, measure};

use crate::make::{self, FlatJpeg};
use crate::{assert_refused, from_bytes, read};

#[test]
fn i3_the_smallest_and_the_thinnest_pictures_decode() {
    for (width, height) in [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (1, 4000), (4000, 1), (3, 3), (1, 3), (3, 1)] {
        let frame = make::gradient(width, height);
        for (format, bytes) in make::one_of_each(&frame) {
            let decoded = read(&bytes).unwrap_or_else(|error| panic!("{format} {width} x {height}: {error}"));
            assert_eq!((decoded.width(), decoded.height()), (width, height), "{format}");
            if !matches!(format, "JPEG" | "GIF") {
                assert_eq!(decoded, frame, "{format} {width} x {height}");
            }
        }
    }
}

/// Every format with these sides in its header and next to nothing behind it.
pub fn claiming(width: u32, height: u32) -> Vec<(&'static str, Vec<u8>)> {
    let small = make::gradient(2, 2);
    let (w16, h16) = ((width as u16).to_le_bytes(), (height as u16).to_le_bytes());
    let mut gif = make::one_of_each(&small).remove(3).1;
    gif[6..10].copy_from_slice(&[w16, h16].concat());
    let mut bmp = make::one_of_each(&small).remove(4).1;
    bmp[18..26].copy_from_slice(&[width.to_le_bytes(), height.to_le_bytes()].concat());
    let mut from_top = bmp.clone();
    from_top[22..26].copy_from_slice(&height.wrapping_neg().to_le_bytes());
    let png = make::png_of(&[make::ihdr(width, height, 8, 2), make::idat(&[0; 14]), (*b"IEND", vec![])]);
    let values = &[90];
    let sides = (width as u16, height as u16);
    let mut jpeg = FlatJpeg { sides: (8, 8), values, progressive: false, adobe: None }.bytes();
    let frame = jpeg.windows(2).position(|code| code == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[sides.1.to_be_bytes(), sides.0.to_be_bytes()].concat());
    let tags = [(256, 4, 1, width), (257, 4, 1, height), (278, 4, 1, height)];
    vec![
        ("GIF", gif),
        ("BMP", bmp),
        ("BMP from the top", from_top),
        ("PNG", png),
        ("JPEG", jpeg),
        ("TIFF", make::tiff_of(&small, &tags)),
    ]
}

#[test]
fn i3_a_side_of_zero_is_refused() {
    for (width, height) in [(0, 0), (0, 2), (2, 0)] {
        for (format, bytes) in claiming(width, height) {
            assert!(measure(&from_bytes(&bytes)).is_err(), "{format} {width} x {height}");
            assert_refused(&bytes, Code::InvalidPicture, |cause| {
                matches!(cause, Cause::Sides(FrameError::Empty { .. }) | Cause::Damaged { .. })
            });
        }
    }
}

#[test]
fn i1_sides_beyond_the_limits_are_refused_by_number() {
    let beyond = [(65_535, 65_535), (65_535, 2_049)];
    for (width, height) in beyond {
        assert!(Frame::check_sides(width, height).is_err());
        for (format, bytes) in claiming(width, height) {
            let error = measure(&from_bytes(&bytes)).expect_err(format);
            let text = error.to_string();
            assert!(text.contains(&format!("{width} x {height} pixels is too large")), "{format}: {text}");
            assert_refused(&bytes, Code::PictureTooLarge, |cause| {
                matches!(cause, Cause::Sides(FrameError::TooLarge { .. }))
            });
        }
    }
    for (width, height) in [(65_536, 1), (1, 65_536), (u32::MAX, 1), (1 << 31, 1 << 31)] {
        let wide_fields = claiming(width, height).into_iter().filter(|(format, _)| matches!(*format, "PNG" | "TIFF"));
        for (_, bytes) in wide_fields {
            assert_refused(&bytes, Code::PictureTooLarge, |cause| {
                matches!(cause, Cause::Sides(FrameError::TooLarge { .. }))
            });
        }
    }
    for canvas in [(1 << 24, 1 << 24), (65_536, 1), (16_384, 8_193)] {
        let webp = make::webp_of(&[make::vp8x(0, canvas.0, canvas.1), make::vp8l(&make::gradient(1, 1))]);
        assert_refused(&webp, Code::PictureTooLarge, |cause| matches!(cause, Cause::Sides(_)));
    }
}

#[test]
fn the_longest_side_decodes() {
    let frame = make::gradient(limits::MAX_SIDE, 1);
    let encoded = |format| make::encoded(&make::image(&frame), format);
    for bytes in [make::jpeg(&frame), make::png(&frame), encoded(ImageFormat::Bmp), encoded(ImageFormat::Tiff)] {
        assert_eq!(read(&bytes).unwrap().width(), limits::MAX_SIDE);
    }
}
