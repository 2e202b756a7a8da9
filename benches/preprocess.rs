//! From a picture's bytes to views: a 12-megapixel photo as JPEG and a page of A4 at 200 dpi as PNG.

#![allow(missing_docs, reason = "criterion's macros make public functions without documentation")]

use std::io::Cursor;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use image::{ExtendedColorType, ImageFormat};
use karst_contract::{Alpha, Frame, Orientation, Picture, Source};
use karst_vision_input::{Settings, Size, plan, views};

/// A picture's file and its name in the table.
struct Subject {
    name: &'static str,
    file: Arc<[u8]>,
}

fn subjects() -> [Subject; 2] {
    let photo = encoded(4032, 3024, ImageFormat::Jpeg, |x, y| {
        let wave = (f64::from(x) / 97.0).sin() * (f64::from(y) / 61.0).cos();
        (128.0 + 90.0 * wave) as u8 ^ (x.wrapping_mul(2_654_435_761).wrapping_add(y.wrapping_mul(40_503)) >> 28) as u8
    });
    let page = encoded(1654, 2339, ImageFormat::Png, |x, y| {
        let in_line = y % 40 < 22 && (150..1500).contains(&x);
        if in_line && (x * 7 + y / 40 * 13) % 19 < 8 { 20 } else { 250 }
    });
    [
        Subject { name: "photo of 12 megapixels (JPEG)", file: photo },
        Subject { name: "A4 at 200 dpi (PNG)", file: page },
    ]
}

fn encoded(width: u32, height: u32, format: ImageFormat, shade: impl Fn(u32, u32) -> u8) -> Arc<[u8]> {
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let rgb: Vec<u8> = pixels.flat_map(|(x, y)| [shade(x, y), shade(x + 40, y), shade(x, y + 40)]).collect();
    let mut file = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut file, &rgb, width, height, ExtendedColorType::Rgb8, format)
        .expect("an encoder");
    file.into_inner().into()
}

fn decoded(file: &Arc<[u8]>) -> Frame {
    let source = Source::Bytes(Arc::clone(file));
    let picture = Picture { source, max_slices: None, orientation: Orientation::Exif, alpha: Alpha::default() };
    karst_media::decode(&picture).expect("a picture")
}

fn cut(frame: &Frame) -> usize {
    let settings = Settings::default();
    let size = Size { width: frame.width(), height: frame.height() };
    let slicing = plan(size, settings.max_slices, &settings).expect("an ordinary size");
    views(frame, &slicing, &settings).len()
}

fn preprocess(criterion: &mut Criterion) {
    println!("{}", karst_benches::machine());
    for Subject { name, file } in subjects() {
        let frame = decoded(&file);
        let pixels = u64::from(frame.width()) * u64::from(frame.height());
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).throughput(Throughput::Elements(pixels));
        group.bench_function("decode", |bencher| bencher.iter(|| decoded(&file)));
        group.bench_function("resize and cut", |bencher| bencher.iter(|| cut(&frame)));
        group.bench_function("file to views", |bencher| bencher.iter(|| cut(&decoded(&file))));
        group.finish();
    }
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
