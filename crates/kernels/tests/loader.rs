//! What a loader brings to the device is what the processor packs, however the bytes were cut up on their way.

mod sources;

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use half::{bf16, f16};
use karst_kernels::{
    Buffer, Dense, Device, Float, Form, Kind, Layout, Loader, PackError, Quantised, Source, Transfer, pack,
};
use memmap2::Mmap;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use sources::{With, cases, codes, numbers};

/// So small that every layer goes through in many pieces, which begin and end anywhere.
const SMALL: Transfer = Transfer { threads: 3, chunk: 1_001, stage: 9_000 };

fn loader(device: &Device, transfer: Transfer) -> Loader {
    Loader::new(device, transfer).expect("a loader").expect("kernels for this device")
}

fn compare(found: &Buffer<u8>, expected: &[u8], layout: &Layout) {
    let found = found.read().expect("bytes");
    assert_eq!(found.len(), expected.len());
    let wrong = found.iter().zip(expected).filter(|(found, expected)| found != expected).count();
    assert_eq!(wrong, 0, "of {} bytes of {layout:?}", found.len());
}

/// Every layer with a loader of its own, whose memory is as small as it may be.
#[test]
fn small_pieces_arrive_whole() {
    let device = Device::open(0).expect("a device");
    for case in cases() {
        let mut loader = loader(&device, SMALL);
        let expected = pack(&case.layout, &case.sources()).expect("packed");
        let (bytes, permutation) = loader.pack(&case.layout, &case.sources()).expect("a launch");
        loader.finish().expect("packed");
        compare(&bytes, &expected, &case.layout);
        let permutation = permutation.map(|order| order.read().expect("a permutation"));
        assert_eq!(permutation, case.sources()[0].permutation().expect("a permutation"));
    }
}

/// All layers with one loader, whose memory each of them uses again while the others are on their way.
#[test]
fn memory_is_used_again_only_when_it_is_free() {
    let device = Device::open(0).expect("a device");
    for transfer in [SMALL, Transfer { threads: 16, chunk: 1 << 16, stage: 1 << 20 }, Transfer::default()] {
        let mut loader = loader(&device, transfer);
        let cases: Vec<_> = [cases(), cases()].into_iter().flatten().collect();
        let mut load = |case: &sources::Case| loader.pack(&case.layout, &case.sources()).expect("a launch").0;
        let loaded: Vec<_> = cases.iter().map(&mut load).collect();
        loader.finish().expect("packed");
        for (case, bytes) in cases.iter().zip(&loaded) {
            compare(bytes, &pack(&case.layout, &case.sources()).expect("packed"), &case.layout);
        }
    }
}

#[test]
fn a_table_arrives_in_its_format() {
    let device = Device::open(0).expect("a device");
    for (float, to) in [(Float::Bf16, Float::Bf16), (Float::F16, Float::F16), (Float::F32, Float::Bf16)] {
        let layer = numbers(60, float, 515, 203);
        let Source::Dense(source) = layer.source() else { unreachable!("a layer of numbers") };
        let mut loader = loader(&device, SMALL);
        let table = loader.table(&source, to).expect("a launch");
        loader.finish().expect("a table");
        let expected = (0..515 * 203).map(|at| {
            let number = layer.weight(at / 515, at % 515) as f32;
            if to == Float::F16 { f16::from_f32(number).to_bits() } else { bf16::from_f32(number).to_bits() }
        });
        let expected: Vec<u16> = expected.collect();
        assert!(table.read().expect("numbers") == expected, "{float:?} to {to:?}");
    }
}

#[test]
fn what_cannot_be_packed_is_refused_and_the_next_is_loaded() {
    let device = Device::open(0).expect("a device");
    let mut loader = loader(&device, SMALL);
    let layout = Layout::stacked(Kind::Int4, 256, &[32], 2).expect("a layout");
    let [right, wrong] = [32, 40].map(|outputs| codes(61, 4, 256, outputs, 128, With::Middle));
    let error = loader.pack(&layout, &[wrong.source()]).expect_err("40 outputs");
    let size = PackError::Size { tensor: "codes".into(), what: "outputs", expected: 32, found: 40 };
    assert_eq!(error.to_string(), size.to_string());
    let (bytes, _) = loader.pack(&layout, &[right.source()]).expect("a launch");
    loader.finish().expect("packed");
    compare(&bytes, &pack(&layout, &[right.source()]).expect("packed"), &layout);
}

/// A file of random bytes, in the system's cache.
fn file(bytes: usize) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    let mut block = vec![0; 64 << 20];
    for seed in 0..bytes.div_ceil(block.len()) {
        ChaCha8Rng::seed_from_u64(seed as u64).fill_bytes(&mut block);
        file.write_all(&block).expect("room for the file");
    }
    file
}

fn map(file: &File) -> Mmap {
    // SAFETY: nobody writes to or shortens a file without a name that only this test has open.
    unsafe { Mmap::map(file) }.expect("a map")
}

/// Bytes of a map, one list after another.
struct Bytes<'a> {
    map: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let bytes = &self.map[self.at..][..len];
        self.at = (self.at + len).next_multiple_of(64);
        bytes
    }

    fn layer(&mut self, inputs: usize, outputs: usize) -> Source<'a> {
        let form = Form { bits: 4, inputs, outputs, group: 128 };
        let codes = bytemuck::cast_slice(self.take(inputs * outputs / 2));
        let scales = bytemuck::cast_slice(self.take(inputs / 128 * outputs * 2));
        Source::Quantised(Quantised { name: "codes", form, codes, zeros: None, scales, order: None })
    }

    fn numbers(&mut self, inputs: usize, outputs: usize) -> Dense<'a> {
        Dense { name: "numbers", inputs, outputs, float: Float::Bf16, bytes: self.take(inputs * outputs * 2) }
    }
}

/// A figure for the log, not a bound: one table of 2 GB by several transfers, each from a map that was not touched yet.
#[test]
#[ignore = "takes 2 GB of disk and of the device; a figure for the log"]
fn time_of_a_table() {
    let (device, file) = (Device::open(0).expect("a device"), file(2 << 30));
    let bytes = map(&file);
    for threads in [1, 4, 8, 12, 16] {
        for chunk in [1 << 18, 1 << 20, 1 << 22] {
            let map = map(&file);
            let begun = Instant::now();
            let mut loader = loader(&device, Transfer { threads, chunk, ..Transfer::default() });
            let ready = Instant::now();
            let source =
                Dense { name: "table", inputs: 4096, outputs: map.len() / 8192, float: Float::Bf16, bytes: &map };
            let table = loader.table(&source, Float::Bf16).expect("a launch");
            loader.finish().expect("a table");
            let (made, took) = (ready - begun, ready.elapsed());
            let rate = map.len() as f64 / took.as_secs_f64() / 1e9;
            println!(
                "{threads:2} threads, chunks of {:4} KB: ready in {made:.1?}, {took:.1?}, {rate:.1} GB/s",
                chunk >> 10
            );
            if chunk == 1 << 20 {
                assert!(bytemuck::cast_slice::<u16, u8>(&table.read().expect("numbers")) == &bytes[..], "bytes");
            }
        }
    }
}

/// A figure for the log, not a bound: the published shapes, with an embedding table and a head of `bf16`.
#[test]
#[ignore = "takes 2 GB of disk and 6.2 GB of the device; a figure for the log"]
fn time_of_the_published_shapes() {
    let (device, file) = (Device::open(0).expect("a device"), file(2 << 30));
    for transfer in [4, 8, 12, 16].map(|threads| Transfer { threads, ..Transfer::default() }) {
        let maps = [(); 4].map(|()| map(&file));
        let begun = Instant::now();
        let mut loader = loader(&device, transfer);
        let (mut weights, mut bytes) = (Vec::new(), 0);
        let mut pack = |loader: &mut Loader, layout: Result<Layout, _>, sources: &[Source<'_>]| {
            let layout: Layout = layout.expect("a layout");
            weights.push(loader.pack(&layout, sources).expect("a launch").0);
            bytes += layout.bytes();
        };
        for map in &maps[..2] {
            let mut from = Bytes { map, at: 0 };
            for _ in 0..18 {
                let qkv = [4096, 1024, 1024].map(|outputs| from.layer(4096, outputs));
                pack(&mut loader, Layout::stacked(Kind::Int4, 4096, &[4096, 1024, 1024], 128), &qkv);
                pack(&mut loader, Layout::stacked(Kind::Int4, 4096, &[4096], 128), &[from.layer(4096, 4096)]);
                let gate_up = [12288; 2].map(|outputs| from.layer(4096, outputs));
                pack(&mut loader, Layout::interleaved(Kind::Int4, 4096, 12288, 128), &gate_up);
                pack(&mut loader, Layout::stacked(Kind::Int4, 12288, &[4096], 128), &[from.layer(12288, 4096)]);
            }
        }
        let [head, table] = [&maps[2], &maps[3]].map(|map| Bytes { map, at: 0 }.numbers(4096, 151_748));
        pack(&mut loader, Layout::stacked(Kind::F16, 4096, &[151_748], 128), &[Source::Dense(head)]);
        let table = loader.table(&table, Float::Bf16).expect("a launch");
        let asked = begun.elapsed();
        loader.finish().expect("packed");
        let (took, bytes) = (begun.elapsed(), bytes + table.bytes());
        let rate = bytes as f64 / took.as_secs_f64() / 1e9;
        println!("{transfer:?}: asked in {asked:.1?}, there in {took:.1?}: {bytes} bytes, {rate:.1} GB/s");
    }
}
