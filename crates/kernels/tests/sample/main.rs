//! Drawing on a device against the processor's sampler: the same tokens, state and log-probabilities.

mod inputs;
mod reference;
mod times;

use std::thread;

use karst_kernels::{Buffer, Device, NO_MASK, NO_TOKEN, SampleResult, SampleRow, SampleState, Sampler, Stream};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use inputs::{Shape, logits, row, set};
use reference::Row;

struct World {
    device: Device,
    stream: Stream,
    sampler: Sampler,
}

fn world() -> World {
    let device = Device::open(0).expect("a device");
    let sampler = Sampler::load(&device).expect("a module").expect("kernels for this device");
    World { stream: device.stream().expect("a stream"), sampler, device }
}

/// Rows that are drawn for at once, each with a slot of its own, and what was drawn for the slots before.
#[derive(Clone)]
struct Batch {
    vocabulary: usize,
    rows: Vec<SampleRow>,
    /// [M][V].
    logits: Vec<Vec<f32>>,
    /// [slots][words].
    generated: Vec<Vec<u32>>,
    masks: Vec<Vec<u32>>,
}

/// What a step leaves.
struct Found {
    results: Vec<SampleResult>,
    latest: Vec<u32>,
    generated: Vec<u32>,
}

/// What `latest` holds before.
const BEFORE: u32 = 123_456;

impl Batch {
    fn words(&self) -> usize {
        self.vocabulary.div_ceil(32)
    }

    fn run(&self, world: &World) -> Found {
        let (device, m) = (&world.device, self.rows.len());
        let mut state = SampleState::new(device, self.vocabulary, self.generated.len(), m, self.masks.len()).unwrap();
        state.masks().write(0, &self.masks.concat()).unwrap();
        state.restore(&vec![BEFORE; self.generated.len()], &self.generated.concat()).unwrap();
        let (logits, rows) = (device.upload(&self.logits.concat()).unwrap(), device.upload(&self.rows).unwrap());
        let mut results: Buffer<SampleResult> = device.zeroed(m).unwrap();
        results.fill(0xff, &world.stream).unwrap();
        for work in world.sampler.work(&logits, &rows, &mut state, &mut results, m) {
            world.stream.run(&work).unwrap();
        }
        Found {
            results: results.read().unwrap(),
            latest: state.latest().read().unwrap(),
            generated: state.generated().read().unwrap(),
        }
    }

    /// One row alone, in a state of the same slots.
    fn alone(&self, m: usize) -> Self {
        Self { rows: vec![self.rows[m]], logits: vec![self.logits[m].clone()], ..self.clone() }
    }

    /// Compares every row, and says how many were decided by rounding.
    fn check(&self, found: &Found) -> usize {
        let rows: Vec<usize> = (0..self.rows.len()).collect();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let part = rows.len().div_ceil(threads);
            let parts: Vec<_> = rows
                .chunks(part)
                .map(|rows| scope.spawn(move || rows.iter().filter(|&&m| self.check_row(found, m)).count()))
                .collect();
            parts.into_iter().map(|part| part.join().expect("a row is right")).sum()
        })
    }

    /// Whether the row was decided by rounding, on the other side of a bound.
    fn check_row(&self, found: &Found, m: usize) -> bool {
        let (settings, result, words) = (self.rows[m], &found.results[m], self.words());
        let slot = settings.slot as usize;
        let generated = &found.generated[slot * words..][..words];
        if settings.flags & SampleRow::ACTIVE == 0 {
            assert!(bytemuck::bytes_of(result).iter().all(|&byte| byte == 0xff), "row {m} is not active: {result:?}");
            assert!(found.latest[slot] == BEFORE && generated == self.generated[slot], "slot of the unused row {m}");
            return false;
        }
        let mut before = self.generated[slot].clone();
        if settings.flags & SampleRow::FIRST != 0 {
            before.fill(0);
        }
        let mask = self.masks.get(settings.mask as usize).map(Vec::as_slice);
        let row = Row { logits: &self.logits[m], settings, generated: &before, mask };
        let faults = || (0..).zip(row.logits).filter(|(_, logit)| !logit.is_finite());
        let drawn = if faults().next().is_none() { row.draw() } else { None };
        let Some(drawn) = drawn else {
            assert_eq!((result.id, result.faults as usize), (NO_TOKEN, faults().count()), "row {m}: {settings:?}");
            if let Some((id, value)) = faults().next() {
                assert_eq!((result.fault_id, result.fault.to_bits()), (id, value.to_bits()), "row {m}");
            }
            assert!(found.latest[slot] == BEFORE && generated == before, "slot of row {m}, which drew nothing");
            return false;
        };
        assert_eq!(result.faults, 0, "row {m}: {settings:?}");
        let is_odd = result.id != drawn.id;
        assert!(
            !is_odd || drawn.margin < 1e-6,
            "row {m}: {} for {}, margin {:e}: {settings:?}",
            result.id,
            drawn.id,
            drawn.margin
        );
        let mut after = before.clone();
        set(&mut after, result.id);
        assert!(found.latest[slot] == result.id && generated == after, "slot of row {m}, which drew {}", result.id);
        if let Ok(rivals) = usize::try_from(settings.rivals) {
            check_logprobs(&row, result, rivals.min(self.vocabulary));
        }
        is_odd
    }
}

fn check_logprobs(row: &Row<'_>, result: &SampleResult, rivals: usize) {
    let close = |found: f32, expected: f64| (f64::from(found) - expected).abs() <= 1e-6 * (1.0 + expected.abs());
    let (chosen, top) = row.logprobs(result.id, rivals);
    assert!(close(result.logprob, chosen), "{} for {chosen}", result.logprob);
    assert_eq!(result.rivals as usize, rivals);
    for (rival, &(id, logprob)) in top.iter().enumerate() {
        assert_eq!(result.rival_ids[rival], id, "rival {rival} of {rivals}");
        assert!(
            close(result.rival_logprobs[rival], logprob),
            "rival {rival}: {} for {logprob}",
            result.rival_logprobs[rival]
        );
    }
}

/// A batch of random rows of all kinds.
fn batch(vocabulary: usize, m: usize, rng: &mut ChaCha8Rng) -> Batch {
    let words = vocabulary.div_ceil(32);
    let bits = |share: f64, rng: &mut ChaCha8Rng| {
        let mut bits = vec![0; words];
        (0..vocabulary as u32).filter(|_| rng.random_bool(share)).for_each(|id| set(&mut bits, id));
        bits
    };
    let masks: Vec<_> = [0.01, 0.5, 1.0, 0.0].into_iter().map(|share| bits(share, rng)).collect();
    let generated = (0..m + 1).map(|slot| bits([0.0, 0.01, 0.3][slot % 3], rng)).collect();
    let rows = (0..m).map(|slot| row((m - slot) as u32, vocabulary, masks.len(), rng)).collect();
    let logits = (0..m).map(|_| logits(Shape::any(rng), vocabulary, rng)).collect();
    Batch { vocabulary, rows, logits, generated, masks }
}

/// Compares batches of random rows: tokens, rows of a batch, batches.
fn try_batches(sizes: &[(usize, usize, usize)], seed: u64) {
    let world = world();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for &(vocabulary, m, rounds) in sizes {
        let batches = (0..rounds).map(|_| batch(vocabulary, m, &mut rng));
        let odd: usize = batches.map(|batch| batch.check(&batch.run(&world))).sum();
        println!("{vocabulary} tokens: {} rows, {odd} decided by rounding", m * rounds);
        assert!(odd * 50 <= m * rounds, "{odd} of {} rows", m * rounds);
    }
}

#[test]
fn random_rows_draw_the_processors_tokens() {
    try_batches(&[(1284, 64, 40), (388, 64, 8), (33_000, 37, 4), (151_748, 64, 3), (262_144, 8, 1)], 11);
}

/// Little enough to be run under a checker of memory and races.
#[test]
fn small_batches_draw_the_processors_tokens() {
    try_batches(&[(1, 3, 1), (31, 16, 1), (388, 50, 1), (20_000, 12, 1)], 14);
}

#[test]
fn a_row_draws_the_same_alone_and_again() {
    let world = world();
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    for vocabulary in [1284, 151_748] {
        let batch = batch(vocabulary, 24, &mut rng);
        let (first, second) = (batch.run(&world), batch.run(&world));
        let bytes = |found: &Found| bytemuck::cast_slice::<_, u8>(&found.results).to_vec();
        assert!(bytes(&first) == bytes(&second) && first.generated == second.generated, "again");
        for m in 0..batch.rows.len() {
            let alone = batch.alone(m).run(&world);
            assert!(bytemuck::bytes_of(&alone.results[0]) == bytemuck::bytes_of(&first.results[m]), "row {m} alone");
            let slot = batch.rows[m].slot as usize;
            assert_eq!(alone.latest[slot], first.latest[slot]);
        }
    }
}

#[test]
fn rows_without_a_slot_or_a_mask_draw_nothing() {
    let world = world();
    let mut batch = batch(388, 2, &mut ChaCha8Rng::seed_from_u64(13));
    let row = SampleRow { flags: SampleRow::ACTIVE, temperature: 1.0, ..SampleRow::UNUSED };
    batch.rows = vec![SampleRow { slot: 3, ..row }, SampleRow { mask: 4, ..row }];
    let found = batch.run(&world);
    assert!(found.results.iter().all(|result| result.id == NO_TOKEN && result.faults == 0));
    assert!(found.latest == [BEFORE; 3] && found.generated == batch.generated.concat());
}

#[test]
fn a_slot_collects_what_it_draws_until_a_request_is_new() {
    let world = world();
    let (device, vocabulary) = (&world.device, 1284);
    let mut state = SampleState::new(device, vocabulary, 2, 1, 0).unwrap();
    let logits = device.upload(&vec![1.0f32; vocabulary]).unwrap();
    let mut results = device.zeroed(1).unwrap();
    let mut rows: Buffer<SampleRow> = device.zeroed(1).unwrap();
    let works = world.sampler.work(&logits, &rows, &mut state, &mut results, 1);
    // With a penalty the likeliest is the lowest that was not drawn yet.
    let greedy =
        SampleRow { flags: SampleRow::ACTIVE, slot: 1, repetition_penalty: 1.5, mask: NO_MASK, ..SampleRow::UNUSED };
    for (first, expected) in [(true, 0), (false, 1), (false, 2), (false, 3), (true, 0), (false, 1)] {
        let flags = greedy.flags | if first { SampleRow::FIRST } else { 0 };
        rows.write(0, &[SampleRow { flags, ..greedy }]).unwrap();
        works.iter().for_each(|work| world.stream.run(work).unwrap());
        assert_eq!((results.read().unwrap()[0].id, state.latest().read().unwrap()), (expected, vec![0, expected]));
    }
}

#[test]
#[should_panic(expected = "1283 logits for 1 x 1284")]
fn a_buffer_that_is_too_small_is_refused() {
    let world = world();
    let mut state = SampleState::new(&world.device, 1284, 1, 1, 0).unwrap();
    let logits = world.device.zeroed(1283).unwrap();
    let (rows, mut results) = (world.device.zeroed(1).unwrap(), world.device.zeroed(1).unwrap());
    drop(world.sampler.work(&logits, &rows, &mut state, &mut results, 1));
}
