//! Loading, and whole steps as the engine runs them: each begins before the one before it is settled.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use karst_checkpoint::{Checkpoint, random};
use karst_kernels::SampleRow;
use karst_model::cuda::{Append, Decoder, Options, Row};

use crate::bench::{Bench, Floor, Result, median};

const BLOCK: usize = 16;
/// Steps that are measured, and those before them.
const STEPS: usize = 60;
const WARM: usize = 6;
/// Memory that is left to the numbers of a step, to the system and to others.
const SPARE: u64 = 6 << 30;

pub fn run(bench: &Bench, folder: Option<&Path>, batches: &[usize], contexts: &[usize]) -> Result<()> {
    let own = tempfile::tempdir()?;
    let checkpoint = Checkpoint::open(&folder.map_or_else(|| write(own.path()), |folder| Ok(folder.to_owned()))?)?;
    let (slots, context) = (batches.iter().copied().max().unwrap_or(1), contexts.iter().copied().max().unwrap_or(1));
    let context = context + BLOCK + WARM + STEPS;
    let ordinal = bench.ordinal;
    let options = Options { device: ordinal, slots, context, kv_tokens: BLOCK, block: BLOCK, tokens: 64 };
    // Twice: the second time the file is in memory for sure.
    drop(load(bench, &checkpoint, &options)?);
    let wanted = slots * context.next_multiple_of(BLOCK);
    let kv_tokens = wanted.min(free_positions(bench, &checkpoint)?);
    let mut decoder = load(bench, &checkpoint, &Options { kv_tokens, ..options })?;
    bench.measure.numbers(&bench.stream, decoder.cache_mut().values_mut(), 7)?;
    println!();
    for &batch in batches {
        for &context in contexts {
            steps(bench, &mut decoder, batch, context)?;
        }
    }
    Ok(())
}

/// A random checkpoint in a folder of its own.
fn write(within: &Path) -> Result<PathBuf> {
    let (folder, begin) = (within.join("random"), Instant::now());
    let plan = random::write(&folder, &random::Spec::published(), 1, &mut |_| {})?;
    println!("wrote {:.2} GB of random weights in {:.1} s", gigabytes(plan.bytes()), begin.elapsed().as_secs_f64());
    Ok(folder)
}

fn load(bench: &Bench, checkpoint: &Checkpoint, options: &Options) -> Result<Decoder> {
    let (free, begin) = (bench.device.free_memory()?, Instant::now());
    let decoder = Decoder::load(checkpoint, options, &|_| {})?;
    let (seconds, left) = (begin.elapsed().as_secs_f64(), bench.device.free_memory()?);
    let (bytes, cache) = (checkpoint.bytes_under("llm."), decoder.cache_bytes());
    println!(
        "loaded {:.2} GB in {seconds:.2} s; {:.2} GB of the device beside a cache of {:.2} GB",
        gigabytes(bytes),
        gigabytes(free - left - cache),
        gigabytes(cache)
    );
    Ok(decoder)
}

/// Positions of a cache for which there is room beside the weights.
fn free_positions(bench: &Bench, checkpoint: &Checkpoint) -> Result<usize> {
    let decoder = &checkpoint.config().decoder;
    let position = 2 * 2 * decoder.layers * decoder.kv_heads * decoder.head_dim;
    let taken = SPARE + checkpoint.bytes_under("llm.");
    Ok(bench.device.free_memory()?.saturating_sub(taken) as usize / position)
}

fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

fn steps(bench: &Bench, decoder: &mut Decoder, batch: usize, context: usize) -> Result<()> {
    let name = format!("batch {batch}, context {context}");
    let each = (context + WARM + STEPS).div_ceil(BLOCK);
    if batch * each > decoder.blocks() {
        println!("{name:44} does not fit: {} blocks of {}", batch * each, decoder.blocks());
        return Ok(());
    }
    let total = decoder.blocks() as u32;
    // Requests' blocks lie in turn in the cache.
    let block = |request: usize, i: usize| (i * batch + request) as u32 % total;
    let blocks: Vec<Arc<[u32]>> = (0..batch).map(|request| (0..each).map(|i| block(request, i)).collect()).collect();
    let rows = |step: usize| -> Vec<Row<'_>> {
        let draw = |slot| SampleRow { slot: slot as u32, flags: SampleRow::ACTIVE, ..SampleRow::UNUSED };
        let row = |slot: usize| Row {
            slot,
            blocks: &blocks[slot],
            past: context - 1 + step,
            append: Append::Drawn,
            draw: Some(draw(slot)),
        };
        (0..batch).map(row).collect()
    };
    let mut times = Vec::new();
    let mut before = decoder.begin(&rows(0))?;
    for step in 1..WARM + STEPS {
        let begin = Instant::now();
        let next = decoder.begin(&rows(step))?;
        decoder.settle(before)?;
        before = next;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    decoder.settle(before)?;
    let us = median(times.split_off(WARM));
    let position = (decoder.cache_bytes() / (u64::from(total) * BLOCK as u64)) as f64;
    let bytes = decoder.read_bytes() as f64 + batch as f64 * (context as f64 + STEPS as f64 / 2.0) * position;
    bench.line(&name, us, Floor { bytes, ..Floor::default() });
    println!("{:44} {:9.0} tokens/s", "", batch as f64 / us * 1e6);
    Ok(())
}
