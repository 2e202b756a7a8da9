//! Small files that would like to be large pictures.

use std::process::Command;
use std::time::{Duration, Instant};

use image::{DynamicImage, GrayImage, ImageFormat};
use karst_contract::{Code, Coded};
use karst_media::{Cause, decode, measure};

use crate::make::{self, FlatJpeg};
use crate::{assert_refused, from_bytes, read, refused, sides};

/// Every bomb: it must be refused, quickly, and without memory.
fn bombs() -> Vec<(String, Vec<u8>)> {
    let mut bombs = vec![
        ("PNG of 50,000 x 50,000 zeros".to_owned(), make::png_of_zeros(50_000)),
        ("PNG with a chunk of 2 GB".to_owned(), png_with_a_long_chunk()),
        ("PNG with a profile of 1 GB".to_owned(), png_with_a_long_profile()),
        ("GIF whose frame is far larger than its screen".to_owned(), gif_with_a_large_frame()),
        ("WebP whose pixels are far larger than its canvas".to_owned(), webp_with_large_pixels()),
        ("WebP with a chunk of 4 GB".to_owned(), webp_with_a_long_chunk()),
        ("JPEG of 60,000 x 2,000 without data".to_owned(), jpeg_without_data(0xc0)),
        ("progressive JPEG of 60,000 x 2,000 without data".to_owned(), jpeg_without_data(0xc2)),
        ("TIFF of one tile, served 65,535 times".to_owned(), tiff_with_wide_tiles()),
        ("TIFF with JPEG in its strips".to_owned(), make::tiff_of(&make::gradient(2, 2), &[(259, 3, 1, 7)])),
        ("TIFF with 65,535 tags".to_owned(), tiff_with_many_tags()),
        ("TIFF with a strip of 4 GB".to_owned(), make::tiff_of(&make::gradient(2, 2), &[(279, 4, 1, u32::MAX)])),
        ("TIFF with 4 G strips".to_owned(), make::tiff_of(&make::gradient(2, 2), &[(273, 4, u32::MAX, 8)])),
        ("TIFF with 4 G sample sizes".to_owned(), make::tiff_of(&make::gradient(2, 2), &[(258, 3, u32::MAX, 8)])),
    ];
    for (width, height) in [(65_535, 65_535), (65_535, 30_000)] {
        let claims = sides::claiming(width, height).into_iter();
        bombs.extend(claims.map(|(format, bytes)| (format!("{format} that claims {width} x {height}"), bytes)));
    }
    bombs
}

fn png_with_a_long_chunk() -> Vec<u8> {
    let mut bytes = make::png(&make::gradient(2, 2));
    bytes.splice(33..33, [0x7f, 0xff, 0xff, 0xff, b'i', b'C', b'C', b'P']);
    bytes
}

fn png_with_a_long_profile() -> Vec<u8> {
    let mut chunks = make::png_chunks(&make::png_of_zeros(50_000));
    let mut profile = b"a profile\0\0".to_vec();
    profile.extend(make::zlib_zeros(1 << 28));
    chunks.insert(1, (*b"iCCP", profile));
    make::png_of(&chunks)
}

fn gif_with_a_large_frame() -> Vec<u8> {
    let mut gif = make::one_of_each(&make::gradient(2, 2)).remove(3).1;
    let at = gif.iter().position(|&byte| byte == 0x2c).unwrap();
    gif[at + 5..at + 9].copy_from_slice(&[0xff, 0xff, 0, 8]); // 65,535 x 2,048
    gif
}

fn tiff_with_wide_tiles() -> Vec<u8> {
    let tags = [(256, 4, 1, 1), (257, 4, 1, 65_535), (322, 4, 1, 1 << 25), (323, 4, 1, 1)];
    make::tiff_of(&make::gradient(2, 2), &tags)
}

fn tiff_with_many_tags() -> Vec<u8> {
    let tags: Vec<_> = (1_000..u16::MAX - 1_000).map(|tag| (tag, 3, 1, 1)).collect();
    make::tiff_of(&make::gradient(2, 2), &tags)
}

fn webp_with_large_pixels() -> Vec<u8> {
    let pixels = [&[0x10, 0, 0, 0x9d, 1, 0x2a, 0xff, 0x3f, 0xff, 0x3f][..], &[0; 100]].concat();
    make::webp_of(&[make::vp8x(0, 1, 1), make::riff_chunk(b"VP8 ", &pixels)])
}

fn webp_with_a_long_chunk() -> Vec<u8> {
    let mut bytes = make::webp_with_exif(&make::gradient(2, 2), make::exif(1));
    let at = bytes.windows(4).position(|kind| kind == b"EXIF").unwrap();
    bytes[at + 4..at + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    bytes
}

fn jpeg_without_data(code: u8) -> Vec<u8> {
    let flat = FlatJpeg { sides: (8, 8), values: &[90, 100, 200], progressive: code == 0xc2, adobe: None };
    let mut bytes = flat.bytes();
    let frame = bytes.windows(2).position(|pair| pair == [0xff, code]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[2_000_u16.to_be_bytes(), 60_000_u16.to_be_bytes()].concat());
    bytes
}

#[test]
fn i1_every_bomb_is_refused_at_once() {
    for (name, bytes) in bombs() {
        let start = Instant::now();
        let error = decode(&from_bytes(&bytes)).expect_err(&name);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "{name}: {took:?}");
        assert!(matches!(error.code(), Code::PictureTooLarge | Code::InvalidPicture), "{name}: {error}");
        refused(&bytes);
    }
}

#[test]
fn i1_a_picture_of_zeros_is_a_picture_as_long_as_it_is_small() {
    let frame = read(&make::png_of_zeros(500)).unwrap();
    assert!(frame.rgb().iter().all(|&byte| byte == 0));
    assert_refused(&make::png_of_zeros(50_000), Code::PictureTooLarge, |cause| matches!(cause, Cause::Sides(_)));
    assert_eq!(measure(&from_bytes(&make::png_of_zeros(2_000))).unwrap(), (2_000, 2_000));
}

/// Run in a process of its own, since it asks for the peak of the whole process.
#[test]
#[ignore = "run by i2_bombs_take_no_memory in a process of its own"]
#[cfg(target_os = "linux")]
fn in_a_process_of_its_own_bombs_take_no_memory() {
    let bombs = bombs();
    let encoded: usize = bombs.iter().map(|(_, bytes)| bytes.len()).sum();
    let before = peak_bytes();
    for (name, bytes) in &bombs {
        assert!(decode(&from_bytes(bytes)).is_err(), "{name}");
        let grown = peak_bytes() - before;
        assert!(grown < 64 << 20, "{name}: {grown} bytes, of {encoded} in all");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn i2_bombs_take_no_memory() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "bombs::in_a_process_of_its_own_bombs_take_no_memory"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
}

/// The most memory this process ever had resident.
#[cfg(target_os = "linux")]
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn i2_chunks_that_make_no_pixel_cost_nothing() {
    let frame = make::gradient(2, 2);
    let mut chunks = make::png_chunks(&make::png(&frame));
    let mut profile = b"a profile\0\0".to_vec();
    profile.extend(make::zlib_zeros(1 << 26));
    chunks.insert(1, (*b"iCCP", profile));
    chunks.splice(1..1, vec![(*b"tEXt", b"a\0b".to_vec()); 100_000]);
    let start = Instant::now();
    assert_eq!(read(&make::png_of(&chunks)).unwrap(), frame);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn i2_large_honest_pictures_pass_the_decoders_own_limits() {
    // 30 megapixels: more than the decoders' default limits of some tens of megabytes.
    let large = DynamicImage::from(GrayImage::new(6_000, 5_000));
    let gif = make::encoded(&DynamicImage::from(large.to_rgba8()), ImageFormat::Gif);
    assert_eq!(read(&gif).unwrap().width(), 6_000);
    let tiff = make::encoded(&DynamicImage::from(image::RgbImage::new(2_000, 3_000)), ImageFormat::Tiff);
    assert_eq!(read(&tiff).unwrap().height(), 3_000);
}

#[test]
fn i2_only_the_documented_formats_are_compiled_in() {
    let formats = ImageFormat::all().filter(ImageFormat::reading_enabled).collect::<Vec<_>>();
    let documented =
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Tiff, ImageFormat::Bmp];
    assert_eq!(formats.len(), documented.len(), "{formats:?}");
    assert!(documented.iter().all(|format| formats.contains(format)), "{formats:?}");
}
