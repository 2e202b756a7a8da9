//! Of moving pictures and pages, the first.

use image::codecs::gif::GifEncoder;
use image::{Delay, DynamicImage, Frame as GifFrame, RgbaImage};
use karst_contract::{Alpha, Code, Frame, Picture};
use karst_media::{Cause, decode};

use crate::make;
use crate::{assert_refused, from_bytes, read};

fn gif_of(frames: Vec<GifFrame>) -> Vec<u8> {
    let mut bytes = Vec::new();
    GifEncoder::new(&mut bytes).encode_frames(frames).unwrap();
    bytes
}

fn flat(width: u32, height: u32, rgba: [u8; 4]) -> RgbaImage {
    RgbaImage::from_pixel(width, height, image::Rgba(rgba))
}

fn frame_of(image: RgbaImage) -> Frame {
    Frame::new(image.width(), image.height(), DynamicImage::from(image).into_rgb8().into_raw()).unwrap()
}

#[test]
fn i8_a_gifs_first_frame_is_read_and_no_other() {
    let frame = |rgba| GifFrame::from_parts(flat(5, 3, rgba), 0, 0, Delay::from_numer_denom_ms(100, 1));
    let bytes = gif_of(vec![frame([255, 0, 0, 255]), frame([0, 255, 0, 255]), frame([0, 0, 255, 255])]);
    let expected = frame_of(flat(5, 3, [255, 0, 0, 255]));
    assert_eq!(read(&bytes).unwrap(), expected);
    // Whatever happened to the others.
    let first = bytes.iter().position(|&byte| byte == 0x2c).unwrap();
    let second = first + 1 + bytes[first + 1..].windows(2).position(|pair| pair == [0x21, 0xf9]).unwrap();
    assert_eq!(read(&bytes[..second]).unwrap(), expected);
    assert_eq!(read(&[&bytes[..second], &[0xee; 50]].concat()).unwrap(), expected);
}

#[test]
fn i8_a_million_frames_cost_as_much_as_one() {
    let one = gif_of(vec![GifFrame::new(flat(1, 1, [9, 9, 9, 255]))]);
    let first = one.windows(2).position(|pair| pair == [0x21, 0xf9]).unwrap();
    let frame = &one[first..one.len() - 1];
    let count = 20_000_000 / frame.len().max(20);
    let many = [&one[..first], frame.repeat(count).as_slice(), &[0x3b]].concat();
    assert!(count >= 600_000, "{count}");
    let start = std::time::Instant::now();
    assert_eq!(read(&many).unwrap().rgb(), [9, 9, 9]);
    assert!(start.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn i7_what_a_gifs_first_frame_leaves_open_is_transparent() {
    let mut bytes = gif_of(vec![GifFrame::new(flat(2, 1, [10, 20, 30, 255]))]);
    bytes[6..10].copy_from_slice(&[4, 0, 2, 0]); // a screen of 4 x 2
    let at = bytes.iter().position(|&byte| byte == 0x2c).unwrap();
    bytes[at + 1..at + 5].copy_from_slice(&[1, 0, 1, 0]); // the frame at (1, 1)
    let (paint, open) = ([10, 20, 30], [255; 3]);
    assert_eq!(read(&bytes).unwrap().rgb(), [open, open, open, open, open, paint, paint, open].concat());
    let dropped = decode(&Picture { alpha: Alpha::Drop, ..from_bytes(&bytes) }).unwrap();
    assert_eq!(dropped.rgb()[..3], [0; 3]);
}

/// An animated PNG whose first frame is the picture itself, at the given place.
fn apng(first: &Frame, second: &Frame, sides: (u32, u32), at: (u32, u32)) -> Vec<u8> {
    let control = |number: u32, (width, height): (u32, u32), (x, y): (u32, u32)| {
        let mut data: Vec<u8> = [number, width, height, x, y].iter().flat_map(|field| field.to_be_bytes()).collect();
        data.extend([0, 1, 0, 10, 0, 0]);
        (*b"fcTL", data)
    };
    let mut chunks = make::png_chunks(&make::png(first));
    chunks.insert(1, (*b"acTL", [2_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat()));
    chunks.insert(2, control(0, sides, at));
    let end = chunks.len() - 1;
    let pixels = make::png_chunks(&make::png(second)).into_iter().find(|chunk| chunk.0 == *b"IDAT").unwrap().1;
    chunks.insert(end, (*b"fdAT", [&2_u32.to_be_bytes()[..], &pixels].concat()));
    chunks.insert(end, control(1, (second.width(), second.height()), (0, 0)));
    make::png_of(&chunks)
}

#[test]
fn i8_an_animated_pngs_first_frame_is_read_and_no_other() {
    let (first, second) = (make::gradient(6, 4), frame_of(flat(6, 4, [1, 2, 3, 255])));
    assert_eq!(read(&apng(&first, &second, (6, 4), (0, 0))).unwrap(), first);
}

#[test]
fn i8_an_animated_png_cannot_shift_its_rows() {
    let first = make::gradient(6, 4);
    for (sides, at) in [((3, 4), (0, 0)), ((6, 2), (0, 0)), ((6, 4), (1, 0)), ((u32::MAX, u32::MAX), (0, 0))] {
        assert_eq!(read(&apng(&first, &first, sides, at)).unwrap(), first, "{sides:?}");
    }
}

#[test]
fn i8_an_animated_webps_first_frame_is_read_and_no_other() {
    let (first, second) = (make::gradient(6, 4), frame_of(flat(6, 4, [1, 2, 3, 255])));
    let control = make::riff_chunk(b"ANIM", &[9, 9, 9, 255, 0, 0]);
    let frames = [make::anmf(0, 0, &first), make::anmf(0, 0, &second)];
    for flags in [2, 2 | 16] {
        let whole = [make::vp8x(flags, 6, 4), control.clone(), frames[0].clone(), frames[1].clone()];
        assert_eq!(read(&make::webp_of(&whole)).unwrap(), first, "flags {flags}");
    }
    let beyond = [make::vp8x(2, 6, 4), control, make::anmf(1, 0, &first)];
    assert_refused(&make::webp_of(&beyond), Code::InvalidPicture, |cause| matches!(cause, Cause::Damaged { .. }));
}

#[test]
fn i7_what_a_webps_first_frame_leaves_open_is_transparent() {
    let small = frame_of(flat(2, 1, [10, 20, 30, 255]));
    let control = make::riff_chunk(b"ANIM", &[9, 9, 9, 255, 0, 0]);
    for flags in [2, 2 | 16] {
        let bytes = make::webp_of(&[make::vp8x(flags, 4, 1), control.clone(), make::anmf(1, 0, &small)]);
        assert_eq!(
            read(&bytes).unwrap().rgb(),
            [255, 255, 255, 255, 255, 255, 10, 20, 30, 10, 20, 30],
            "flags {flags}"
        );
    }
}

#[test]
fn i8_a_tiffs_first_page_is_read_and_no_other() {
    let first = make::gradient(3, 3);
    let mut bytes = make::tiff_of(&first, &[]);
    let end = bytes.len();
    // A second page at the end of the first, with nonsense in it.
    bytes[end - 4..].copy_from_slice(&(end as u32).to_le_bytes());
    bytes.extend([0xff; 40]);
    assert_eq!(read(&bytes).unwrap(), first);
}
