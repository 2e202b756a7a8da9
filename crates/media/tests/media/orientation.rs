//! Pictures stand upright.

use image::metadata::Orientation as Turn;
use karst_contract::{Frame, Orientation, Picture};
use karst_media::{decode, measure};

use crate::{from_bytes, make, read};

/// What the image library makes of `frame`, turned.
fn turned(frame: &Frame, exif: u16) -> Frame {
    let mut image = make::image(frame);
    image.apply_orientation(Turn::from_exif(exif as u8).unwrap());
    Frame::new(image.width(), image.height(), image.into_rgb8().into_raw()).unwrap()
}

fn png_with_exif(frame: &Frame, exif: &[u8], place: usize) -> Vec<u8> {
    let mut chunks = make::png_chunks(&make::png(frame));
    chunks.insert(place, (*b"eXIf", exif.to_vec()));
    make::png_of(&chunks)
}

/// Every way to note an orientation.
fn noted(frame: &Frame, exif: u16) -> Vec<(&'static str, Vec<u8>)> {
    let block = make::exif(exif);
    vec![
        ("JPEG", make::jpeg_with_exif(frame, &block)),
        ("PNG, ahead of the pixels", png_with_exif(frame, &block, 1)),
        ("PNG, behind the pixels", png_with_exif(frame, &block, 2)),
        ("WebP", make::webp_with_exif(frame, block)),
        ("TIFF", make::tiff_of(frame, &[(274, 3, 1, u32::from(exif))])),
    ]
}

#[test]
fn i7_every_orientation_is_applied_or_ignored_as_asked() {
    let frame = make::gradient(6, 4);
    for exif in 1..=8 {
        for (name, bytes) in noted(&frame, exif) {
            let ignoring = Picture { orientation: Orientation::Ignore, ..from_bytes(&bytes) };
            let stored = decode(&ignoring).unwrap();
            assert_eq!(measure(&ignoring).unwrap(), (6, 4), "{name} {exif}");
            assert_eq!(read(&bytes).unwrap(), turned(&stored, exif), "{name} {exif}");
            if name != "JPEG" {
                assert_eq!(stored, frame, "{name} {exif}");
            }
        }
    }
}

#[test]
fn an_orientation_that_means_nothing_is_none() {
    let frame = make::gradient(3, 2);
    for exif in [0, 9, 255, 256, 0xffff] {
        for (name, bytes) in noted(&frame, exif) {
            assert_eq!(measure(&from_bytes(&bytes)).unwrap(), (3, 2), "{name} {exif}");
        }
    }
    let damaged: [&[u8]; 4] = [b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"];
    for block in damaged {
        assert_eq!(read(&png_with_exif(&frame, block, 1)).unwrap(), frame);
        assert_eq!(measure(&from_bytes(&make::jpeg_with_exif(&frame, block))).unwrap(), (3, 2));
    }
}

#[test]
fn i5_sides_are_those_after_the_turn() {
    let bytes = make::jpeg_with_exif(&make::gradient(40, 10), &make::exif(6));
    assert_eq!(measure(&from_bytes(&bytes)).unwrap(), (10, 40));
    let frame = read(&bytes).unwrap();
    assert_eq!((frame.width(), frame.height()), (10, 40));
}
