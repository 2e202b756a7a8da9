//! How long drawing takes, in a graph of many steps. Prints, and fails only where nothing was drawn.

use karst_kernels::{Buffer, SampleResult, SampleRow, SampleState, Work};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::inputs::{Shape, logits};
use crate::{World, world};

const VOCABULARY: usize = 151_748;
const STEPS: usize = 20;
const ROUNDS: usize = 15;

#[test]
fn times() {
    let world = world();
    let row = SampleRow { flags: SampleRow::ACTIVE, chance: 0.61, ..SampleRow::UNUSED };
    let sampled = SampleRow { temperature: 0.7, ..row };
    let fast = SampleRow { top_p: 0.8, top_k: 100, repetition_penalty: 1.03, ..sampled };
    let kinds = [
        ("greedy", row),
        ("top-k 100, top-p 0.8, penalty", fast),
        ("top-k 50", SampleRow { top_k: 50, ..sampled }),
        ("top-k 100, log-probabilities", SampleRow { rivals: 0, ..fast }),
        ("top-k 100, 20 rivals", SampleRow { rivals: 20, ..fast }),
        ("all tokens", sampled),
        ("top-p 0.9 of a peaked row", SampleRow { top_p: 0.9, temperature: 0.3, ..sampled }),
        ("min-p 0.1", SampleRow { min_p: 0.1, ..sampled }),
        ("top-p 0.9 of a flat row", SampleRow { top_p: 0.9, temperature: 2.0, ..sampled }),
        ("top-k 5000", SampleRow { top_k: 5000, ..sampled }),
    ];
    for (name, row) in kinds {
        let times: Vec<String> = [1, 8, 64].iter().map(|&m| format!("{:.2}", microseconds(&world, row, m))).collect();
        println!("{name}: {} us for 1, 8 and 64 rows", times.join(", "));
    }
}

fn microseconds(world: &World, row: SampleRow, m: usize) -> f64 {
    let device = &world.device;
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let values = logits(Shape::Normal(3.0), VOCABULARY, &mut rng);
    let logits = device.upload(&vec![values; m].concat()).unwrap();
    let rows: Vec<SampleRow> = (0..m as u32).map(|slot| SampleRow { slot, ..row }).collect();
    let rows = device.upload(&rows).unwrap();
    let mut state = SampleState::new(device, VOCABULARY, m, m, 0).unwrap();
    let mut results: Buffer<SampleResult> = device.zeroed(m).unwrap();
    let works = world.sampler.work(&logits, &rows, &mut state, &mut results, m);
    let steps: Vec<&Work> = (0..STEPS).flat_map(|_| &works).collect();
    let graph = world.stream.record(steps).unwrap();
    let (begin, end) = (device.event().unwrap(), device.event().unwrap());
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        begin.record(&world.stream).unwrap();
        graph.launch(&world.stream).unwrap();
        end.record(&world.stream).unwrap();
        end.synchronize().unwrap();
        best = best.min(begin.microseconds_to(&end).unwrap() / STEPS as f64);
    }
    assert!(results.read().unwrap().iter().all(|result| (result.id as usize) < VOCABULARY), "nothing was drawn");
    best
}
