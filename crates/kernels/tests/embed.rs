//! Looking tokens up and taking rows, number by number.

use half::{bf16, f16};
use karst_kernels::{
    Buffer, DRAWN, Device, Embed, Embeddings, Float, GIVEN, Gathered, Places, Published, Residual, SQUARES, Stream,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

struct World {
    device: Device,
    stream: Stream,
    embed: Embed,
}

fn world() -> World {
    let device = Device::open(0).expect("a device");
    let embed = Embed::load(&device).expect("a module").expect("kernels for this device");
    World { stream: device.stream().expect("a stream"), embed, device }
}

/// A step: tokens, and what they are made of.
struct Case {
    hidden: usize,
    float: Float,
    table: Vec<u16>,
    norm: Vec<f32>,
    latest: Vec<u32>,
    features: Vec<f32>,
    tokens: Vec<Token>,
}

/// A place of a step.
#[derive(Debug, Clone, Copy)]
struct Token {
    position: i32,
    id: u32,
    slot: u32,
    /// The row of features that stands for it.
    feature: Option<usize>,
}

/// What a step leaves.
struct Run {
    values: Vec<f32>,
    normed: Vec<bf16>,
    squares: Vec<f32>,
}

impl Case {
    fn new(float: Float, hidden: usize, tokens: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (vocabulary, slots, rows) = (97, 5, 3);
        let word = |value: f32| match float {
            Float::F16 => f16::from_f32(value).to_bits(),
            _ => bf16::from_f32(value).to_bits(),
        };
        Self {
            hidden,
            float,
            table: (0..vocabulary * hidden).map(|_| word(rng.random_range(-0.3..0.3))).collect(),
            norm: (0..hidden).map(|_| rng.random_range(-2.0..4.0)).collect(),
            latest: (0..slots).map(|_| rng.random_range(0..vocabulary as u32)).collect(),
            features: (0..rows * hidden).map(|_| rng.random_range(-9.0..9.0)).collect(),
            tokens: (0..tokens).map(|t| token(t, vocabulary, slots, rows, &mut rng)).collect(),
        }
    }

    /// The row of a token; `None` if there is none.
    fn row(&self, token: &Token) -> Option<Vec<f32>> {
        if let Some(feature) = token.feature {
            return Some(self.features[feature * self.hidden..][..self.hidden].to_vec());
        }
        let id = if token.id == DRAWN { *self.latest.get(token.slot as usize)? } else { token.id };
        let words = self.table.get(id as usize * self.hidden..(id as usize + 1) * self.hidden)?;
        Some(match self.float {
            Float::F16 => words.iter().map(|&word| f16::from_bits(word).to_f32()).collect(),
            _ => words.iter().map(|&word| bf16::from_bits(word).to_f32()).collect(),
        })
    }

    fn run(&self, world: &World, tokens: &[Token]) -> Run {
        let (device, t, h) = (&world.device, tokens.len(), self.hidden);
        let given = |token: &Token| self.features[token.feature.unwrap_or(0) * h..][..h].to_vec();
        let numbers = device.upload(&self.table).unwrap();
        let upload = |of: fn(&Token) -> u32| device.upload(&tokens.iter().map(of).collect::<Vec<_>>()).unwrap();
        let places = Places {
            position: &device.upload(&tokens.iter().map(|token| token.position).collect::<Vec<_>>()).unwrap(),
            ids: &upload(|token| token.id),
            slots: &upload(|token| token.slot),
            given: &device.upload(&tokens.iter().flat_map(given).collect::<Vec<_>>()).unwrap(),
            latest: &device.upload(&self.latest).unwrap(),
        };
        // One more row than needed, which must stay as it is.
        let mut values = poisoned::<f32>(world, (t + 1) * h);
        let (mut normed, mut squares) =
            (poisoned::<bf16>(world, (t + 1) * h), poisoned::<f32>(world, (t + 1) * SQUARES));
        let norm = device.upload(&self.norm).unwrap();
        let mut residual = Residual { values: &mut values, norm: &norm, normed: &mut normed, squares: &mut squares };
        let table = Embeddings { float: self.float, numbers: &numbers };
        let work = world.embed.embed(&table, places, &mut residual, t, h);
        world.stream.run(&work).unwrap();
        Run { values: values.read().unwrap(), normed: normed.read().unwrap(), squares: squares.read().unwrap() }
    }
}

fn token(t: usize, vocabulary: usize, slots: usize, rows: usize, rng: &mut ChaCha8Rng) -> Token {
    let mut token =
        Token { position: t as i32, id: rng.random_range(0..vocabulary as u32), slot: u32::MAX, feature: None };
    match (t + 1) % 7 {
        2 | 3 => (token.id, token.slot) = (DRAWN, rng.random_range(0..slots as u32)),
        4 => (token.id, token.feature) = (GIVEN, Some(rng.random_range(0..rows))),
        5 => token.position = -1,
        6 => token.id = if rng.random() { vocabulary as u32 } else { DRAWN },
        _ => {}
    }
    token
}

/// Every byte of it is 0xff, which no kernel writes: a NaN of its own.
fn poisoned<T: bytemuck::Pod>(world: &World, len: usize) -> Buffer<T> {
    let mut buffer = world.device.zeroed(len).unwrap();
    buffer.fill(0xff, &world.stream).unwrap();
    buffer
}

fn check(case: &Case, tokens: &[Token], run: &Run) {
    let h = case.hidden;
    for (t, token) in tokens.iter().enumerate() {
        let (values, normed) = (&run.values[t * h..][..h], &run.normed[t * h..][..h]);
        let squares = &run.squares[t * SQUARES..][..SQUARES];
        if token.position < 0 {
            assert_untouched(values, normed, squares);
            continue;
        }
        let Some(expected) = case.row(token) else {
            assert!(values.iter().all(|v| v.to_bits() == 0x7fc0_0000), "token {t} {token:?} has a row");
            assert!(normed.iter().all(|v| v.is_nan()) && squares[0].is_nan(), "token {t} {token:?} is published");
            continue;
        };
        let wrong = values.iter().zip(&expected).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert_eq!(wrong, 0, "{wrong} of {h} numbers of token {t} {token:?}");
        let published = expected.iter().zip(&case.norm).map(|(value, weight)| bf16::from_f32(value * weight));
        let wrong = normed.iter().zip(published).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert_eq!(wrong, 0, "{wrong} of {h} normed numbers of token {t}");
        let width = h.div_ceil(SQUARES);
        for (part, &found) in squares.iter().enumerate() {
            let range = (part * width).min(h)..((part + 1) * width).min(h);
            let sum: f64 = expected[range].iter().map(|&v| f64::from(v).powi(2)).sum();
            assert!((f64::from(found) - sum).abs() <= sum * 1e-6, "part {part} of token {t}: {found} for {sum}");
        }
    }
    let t = tokens.len();
    assert_untouched(&run.values[t * h..], &run.normed[t * h..], &run.squares[t * SQUARES..]);
}

fn assert_untouched(values: &[f32], normed: &[bf16], squares: &[f32]) {
    let touched = values.iter().chain(squares).filter(|v| v.to_bits() != u32::MAX).count();
    let touched = touched + normed.iter().filter(|v| v.to_bits() != u16::MAX).count();
    assert_eq!(touched, 0, "{touched} numbers of a place that is not used");
}

#[test]
fn rows_are_the_tables_the_features_or_of_the_token_drawn_last() {
    let world = world();
    for float in [Float::F16, Float::Bf16] {
        for hidden in [8, 96, 128, 136, 1000, 4096] {
            for tokens in [1, 2, 7, 16, 64] {
                let case = Case::new(float, hidden, tokens, (hidden + tokens) as u64);
                let run = case.run(&world, &case.tokens);
                check(&case, &case.tokens, &run);
                let alone = case.run(&world, &case.tokens[tokens - 1..]);
                check(&case, &case.tokens[tokens - 1..], &alone);
                let last = &run.squares[(tokens - 1) * SQUARES..tokens * SQUARES];
                assert!(last.iter().zip(&alone.squares).all(|(a, b)| a.to_bits() == b.to_bits()), "squares alone");
            }
        }
    }
}

#[test]
fn rows_are_taken_as_they_are() {
    let world = world();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for hidden in [8, 96, 4096, 5000] {
        for (tokens, rows) in [(1, 1), (16, 1), (64, 64), (64, 5), (3, 7)] {
            let normed: Vec<bf16> = (0..tokens * hidden).map(|_| bf16::from_f32(rng.random())).collect();
            let squares: Vec<f32> = (0..tokens * SQUARES).map(|_| rng.random()).collect();
            let pick: Vec<u32> = (0..rows)
                .map(|row| {
                    if row % 4 == 3 {
                        tokens as u32 + row as u32 % 2 * 1000
                    } else {
                        rng.random_range(0..tokens as u32)
                    }
                })
                .collect();
            let picks = world.device.upload(&pick).unwrap();
            let from = (world.device.upload(&normed).unwrap(), world.device.upload(&squares).unwrap());
            let mut to = (poisoned::<bf16>(&world, (rows + 1) * hidden), poisoned::<f32>(&world, (rows + 1) * SQUARES));
            let published = Published { normed: &from.0, squares: &from.1 };
            let mut gathered = Gathered { normed: &mut to.0, squares: &mut to.1 };
            let work = world.embed.gather(published, &picks, &mut gathered, rows, (tokens, hidden));
            world.stream.run(&work).unwrap();
            let (found, found_squares) = (to.0.read().unwrap(), to.1.read().unwrap());
            for row in 0..=rows {
                let (out, parts) = (&found[row * hidden..][..hidden], &found_squares[row * SQUARES..][..SQUARES]);
                match pick.get(row).map(|&t| t as usize).filter(|&t| t < tokens) {
                    None => assert_untouched(&[], out, parts),
                    Some(t) => assert!(
                        out == &normed[t * hidden..][..hidden] && parts == &squares[t * SQUARES..][..SQUARES],
                        "row {row} of {rows} is not row {t} of {tokens}, {hidden} numbers"
                    ),
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "places for 3 tokens")]
fn a_buffer_that_is_too_small_is_refused() {
    let world = world();
    let case = Case::new(Float::F16, 8, 2, 1);
    let numbers = world.device.upload(&case.table).unwrap();
    let (words, given) = (world.device.zeroed(2).unwrap(), world.device.zeroed(24).unwrap());
    let position = world.device.zeroed(2).unwrap();
    let places = Places { position: &position, ids: &words, slots: &words, given: &given, latest: &words };
    let norm = world.device.zeroed(8).unwrap();
    let (mut values, mut normed, mut squares) =
        (world.device.zeroed(24).unwrap(), world.device.zeroed(24).unwrap(), world.device.zeroed(3 * SQUARES).unwrap());
    let mut residual = Residual { values: &mut values, norm: &norm, normed: &mut normed, squares: &mut squares };
    let table = Embeddings { float: Float::F16, numbers: &numbers };
    drop(world.embed.embed(&table, places, &mut residual, 3, 8));
}
