//! Loading, and whole steps as the engine runs them: each begins before the one before it is settled.

use std::path::Path;
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
/// Memory that is left to the system and to others.
const SPARE: u64 = 4 << 30;

pub fn run(bench: &Bench, folder: Option<&Path>, batches: &[usize], contexts: &[usize]) -> Result<()> {
    let own = tempfile::tempdir()?;
    let folder = match folder {
        Some(folder) => folder,
        None => {
            let begin = Instant::now();
            let plan = random::write(&own.path().join("random"), &random::Spec::published(), 1, &mut |_| {})?;
            println!(
                "wrote {:.2} GB of random weights in {:.1} s",
                plan.bytes() as f64 / 1e9,
                begin.elapsed().as_secs_f64()
            );
            &own.path().join("random")
        }
    };
    let checkpoint = Checkpoint::open(folder)?;
    let (slots, context) = (batches.iter().copied().max().unwrap_or(1), contexts.iter().copied().max().unwrap_or(1));
    let room = |options: &Options| -> Result<Decoder> {
        let (free, begin) = (bench.device.free_memory()?, Instant::now());
        let decoder = Decoder::load(&checkpoint, options, &|_| {})?;
        let (seconds, left) = (begin.elapsed().as_secs_f64(), bench.device.free_memory()?);
        let used = (free - left - decoder.cache_bytes()) as f64 / 1e9;
        let bytes = checkpoint.bytes_under("llm.") as f64 / 1e9;
        println!(
            "loaded {bytes:.2} GB in {seconds:.2} s; {used:.2} GB of the device beside a cache of {:.2} GB",
            decoder.cache_bytes() as f64 / 1e9
        );
        Ok(decoder)
    };
    let options = Options {
        device: 0,
        slots,
        context: context + BLOCK + WARM + STEPS,
        kv_tokens: BLOCK,
        block: BLOCK,
        tokens: 64,
    };
    // Twice: the second time the file is in memory for sure.
    drop(room(&options)?);
    let position = checkpoint.config().decoder.layers * checkpoint.config().decoder.kv_heads * 512;
    let free = bench.device.free_memory()?.saturating_sub(SPARE + 8 * 1_000_000_000) as usize / position;
    let wanted = slots * options.context.next_multiple_of(BLOCK);
    let mut decoder = room(&Options { kv_tokens: wanted.min(free), ..options })?;
    bench.measure.numbers(&bench.stream, decoder.cache_mut().values_mut(), 7)?;
    println!();
    for &batch in batches {
        for &context in contexts {
            steps(bench, &mut decoder, batch, context)?;
        }
    }
    Ok(())
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
