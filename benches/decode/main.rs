//! Decoding on a CUDA device: what the device can do, then whole steps and single kernels beside it. Weights are random, of the
//! published shapes. Needs a driver and nothing else, so that the program can be copied to where a device is.
//!
//! ```sh
//! cargo bench --bench decode -- --only steps --batches 1,8 --contexts 512
//! ```

mod attention;
mod bench;
mod products;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use bench::{Bench, Result};
use clap::{Parser, ValueEnum};
use karst_kernels::Survey;

/// Measures decoding on a CUDA device.
#[derive(Parser)]
struct Arguments {
    /// The device's number.
    #[arg(long, default_value_t = 0)]
    device: u32,
    /// A checkpoint to load; without one, a random one of the published shapes is written to the folder for temporary files,
    /// 7.1 GB.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Requests at once.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,64")]
    batches: Vec<usize>,
    /// Positions of each request.
    #[arg(long, value_delimiter = ',', default_value = "300,512,4096,16384")]
    contexts: Vec<usize>,
    /// What to measure; everything where nothing is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<What>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Loading, and whole steps.
    Steps,
    /// The products of a layer and the head.
    Products,
    /// Attention.
    Attention,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let has = |what| arguments.only.is_empty() || arguments.only.contains(&what);
    // `cargo bench` runs everywhere, and this has nothing to measure where there is no device.
    if let Err(why) = Survey::take().choose(Some(arguments.device)) {
        println!("decoding on a CUDA device is not measured: {why}");
        return Ok(());
    }
    let bench = Bench::open(arguments.device)?;
    if has(What::Products) {
        products::run(&bench, &arguments.batches)?;
    }
    if has(What::Attention) {
        attention::run(&bench, &arguments.batches, &arguments.contexts)?;
    }
    if has(What::Steps) {
        steps::run(&bench, arguments.folder.as_deref(), &arguments.batches, &arguments.contexts)?;
    }
    Ok(())
}
