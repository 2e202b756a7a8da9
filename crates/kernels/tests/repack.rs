//! What kernels pack is what the processor packs, byte by byte.

mod sources;

use half::{bf16, f16};
use karst_kernels::{
    Buffer, Codes, Device, Float, Form, Kind, Layout, Repack, Rows, Stream, TILE_ROWS, Table, Tiles, pack,
};

use sources::{Case, Layer, With, cases, codes, numbers};

struct World {
    device: Device,
    stream: Stream,
    repack: Repack,
}

/// A layer of codes on the device: its bytes, and where scales and zero points begin.
struct Staged {
    form: Form,
    bytes: Buffer<u8>,
    scales: usize,
    zeros: Option<usize>,
}

fn world() -> World {
    let device = Device::open(0).expect("a device");
    let repack = Repack::load(&device).expect("a module").expect("kernels for this device");
    World { stream: device.stream().expect("a stream"), repack, device }
}

impl World {
    /// Memory that nothing was written to.
    fn poisoned(&self, bytes: usize) -> Buffer<u8> {
        let mut buffer = self.device.zeroed(bytes).expect("memory");
        buffer.fill(0xa5, &self.stream).expect("poison");
        buffer
    }

    fn permutation(&self, layer: &Layer) -> Option<Buffer<u32>> {
        let permutation = layer.source().permutation().expect("a permutation");
        permutation.map(|order| self.device.upload(&order).expect("a permutation"))
    }

    /// All lists in one buffer, in another order than a loader would choose.
    fn stage(&self, form: Form, codes: &[u32], zeros: Option<&[u8]>, scales: &[f16]) -> Staged {
        let mut bytes: Vec<u8> = bytemuck::cast_slice(codes).to_vec();
        let mut append = |list: &[u8]| {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend_from_slice(list);
            bytes.len() - list.len()
        };
        let zeros = zeros.map(&mut append);
        let scales = append(bytemuck::cast_slice(scales));
        Staged { form, bytes: self.device.upload(&bytes).expect("memory"), scales, zeros }
    }

    /// Packs one source; `rows` at a time where it has numbers.
    fn source(&self, tiles: &mut Tiles<'_>, layer: &Layer, permutation: Option<&Buffer<u32>>, rows: usize) {
        match layer {
            Layer::Codes { form, codes, zeros, scales, .. } => {
                let staged = self.stage(*form, codes, zeros.as_deref(), scales);
                let work = self.repack.quantised(tiles, &staged.codes(permutation));
                self.stream.run(&work).expect("a launch");
                self.stream.synchronize().expect("packed");
            }
            Layer::Numbers { inputs, outputs, float, bytes } => {
                for (part, bytes) in bytes.chunks(rows * inputs * float.bytes()).enumerate() {
                    let (first, numbers) = (part * rows, self.device.upload(bytes).expect("memory"));
                    let count = rows.min(outputs - first);
                    let rows = Rows { float: *float, numbers: &numbers, first, count };
                    self.stream.run(&self.repack.dense(tiles, &rows)).expect("a launch");
                    self.stream.synchronize().expect("packed");
                }
            }
        }
    }

    fn pack(&self, case: &Case, rows: usize) -> Vec<u8> {
        let mut bytes = self.poisoned(case.layout.bytes());
        let permutation = self.permutation(&case.layers[0]);
        for (source, layer) in case.layers.iter().enumerate() {
            let mut tiles = Tiles { layout: &case.layout, source, bytes: &mut bytes };
            self.source(&mut tiles, layer, permutation.as_ref(), rows);
        }
        bytes.read().expect("bytes")
    }

    /// Microseconds of one of several launches in a row.
    fn time(&self, times: u32, launch: impl Fn()) -> f64 {
        let [before, after] = [(); 2].map(|()| self.device.event().expect("an event"));
        launch();
        before.record(&self.stream).expect("a point");
        (0..times).for_each(|_| launch());
        after.record(&self.stream).expect("a point");
        after.synchronize().expect("done");
        before.microseconds_to(&after).expect("a time") / f64::from(times)
    }
}

impl Staged {
    fn codes<'a>(&'a self, permutation: Option<&'a Buffer<u32>>) -> Codes<'a> {
        let Self { form, bytes, scales, zeros } = self;
        Codes { form: *form, bytes, codes: 0, scales: *scales, zeros: *zeros, permutation }
    }
}

fn compare(found: &[u8], expected: &[u8], layout: &Layout) {
    assert_eq!(found.len(), expected.len());
    let wrong = found.iter().zip(expected).filter(|(found, expected)| found != expected).count();
    let first = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(wrong, 0, "of {} bytes, the first at {first:?}, of {layout:?}", found.len());
}

#[test]
fn kernels_pack_the_bytes_that_the_processor_packs() {
    let world = world();
    for case in cases() {
        let expected = pack(&case.layout, &case.sources()).expect("packed");
        for rows in [TILE_ROWS, 3 * TILE_ROWS, 4096] {
            compare(&world.pack(&case, rows), &expected, &case.layout);
        }
    }
}

#[test]
fn a_table_is_the_numbers_in_its_format() {
    let world = world();
    for (from, to) in
        [Float::F16, Float::Bf16, Float::F32].into_iter().flat_map(|f| [(f, Float::F16), (f, Float::Bf16)])
    {
        let layer = numbers(40, from, 1_111, 301);
        let Layer::Numbers { bytes, .. } = &layer else { unreachable!("a layer of numbers") };
        let count = 1_111 * 301;
        let staged = world.device.upload(bytes).expect("memory");
        let mut table: Buffer<u16> = world.device.upload(&vec![0xa5a5; count + 7]).expect("memory");
        let mut part = Table { float: to, numbers: &mut table, first: 5, count };
        let work = world.repack.convert(&mut part, (&staged, from));
        world.stream.run(&work).expect("a launch");
        let expected = (0..count).map(|at| {
            let number = layer.weight(at / 1_111, at % 1_111) as f32;
            if to == Float::F16 { f16::from_f32(number).to_bits() } else { bf16::from_f32(number).to_bits() }
        });
        let expected: Vec<u16> = [0xa5a5; 5].into_iter().chain(expected).chain([0xa5a5; 2]).collect();
        let found = table.read().expect("numbers");
        let wrong = found.iter().zip(&expected).filter(|(found, expected)| found != expected).count();
        assert_eq!((wrong, found.len()), (0, expected.len()), "{from:?} to {to:?}");
    }
}

#[test]
fn a_layer_of_another_layout_is_refused() {
    let world = world();
    let layout = Layout::stacked(Kind::Int4, 256, &[32], 2).expect("a layout");
    let mut bytes = world.poisoned(layout.bytes());
    let mut refused = |outputs, with| {
        let Layer::Codes { form, codes, zeros, scales, .. } = codes(1, 4, 256, outputs, 128, with) else {
            return false;
        };
        let staged = world.stage(form, &codes, zeros.as_deref(), &scales);
        let mut tiles = Tiles { layout: &layout, source: 0, bytes: &mut bytes };
        let pack = std::panic::AssertUnwindSafe(|| world.repack.quantised(&mut tiles, &staged.codes(None)));
        std::panic::catch_unwind(pack).is_err()
    };
    assert!(!refused(32, With::Middle));
    assert!(refused(40, With::Middle));
    assert!(refused(32, With::Zeros));
}

/// A figure for the log, not a bound: gate and up of a published layer, both read and written once.
#[test]
fn time_of_gate_and_up() {
    let world = world();
    for (bits, with) in [(4, With::Middle), (4, With::Order), (4, With::Zeros), (8, With::Middle)] {
        let layer = codes(50, bits, 4096, 12288, 128, with);
        let kind = Kind::of(&[layer.source()]).expect("a kind");
        let layout = Layout::interleaved(kind, 4096, 12288, 128).expect("a layout");
        let Layer::Codes { form, codes, zeros, scales, .. } = &layer else { unreachable!("a layer of codes") };
        let staged = world.stage(*form, codes, zeros.as_deref(), scales);
        let permutation = world.permutation(&layer);
        let mut bytes = world.poisoned(layout.bytes());
        let work = [0, 1].map(|source| {
            let mut tiles = Tiles { layout: &layout, source, bytes: &mut bytes };
            world.repack.quantised(&mut tiles, &staged.codes(permutation.as_ref()))
        });
        let time = world.time(20, || work.iter().for_each(|work| world.stream.run(work).expect("a launch")));
        report(&format!("gate and up, {bits} bits, {with:?}"), 2 * staged.bytes.len() + layout.bytes(), time);
    }
    let layout = Layout::stacked(Kind::F16, 4096, &[16384], 128).expect("a layout");
    let (numbers, mut bytes) = (world.poisoned(16384 * 4096 * 2), world.poisoned(layout.bytes()));
    for float in [Float::F16, Float::Bf16] {
        let mut tiles = Tiles { layout: &layout, source: 0, bytes: &mut bytes };
        let work = world.repack.dense(&mut tiles, &Rows { float, numbers: &numbers, first: 0, count: 16384 });
        let time = world.time(20, || world.stream.run(&work).expect("a launch"));
        report(&format!("16384 rows of {float:?} in tiles of F16"), numbers.len() + layout.bytes(), time);
    }
}

fn report(what: &str, bytes: usize, microseconds: f64) {
    println!("{what}: {microseconds:.0} us, {:.0} GB/s", bytes as f64 / microseconds / 1e3);
}
