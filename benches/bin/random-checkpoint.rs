//! Writes a checkpoint of random weights in the published layout, of any shape and form.
//!
//! ```sh
//! cargo run --release -p karst-benches --bin random-checkpoint -- --out /tmp/8b            # the published shapes, 7.1 GB
//! cargo run --release -p karst-benches --bin random-checkpoint -- --out /tmp/t --shape tiny --form gptq-int8 --group -1
//! ```

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use karst_checkpoint::random::{self, Plan, RandomError, Spec};
use karst_checkpoint::{Dtype, Quantization, ZeroForm};
use karst_contract::{Coded, Progress};

/// Writes a checkpoint of random weights in the published layout.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The folder to write, which must be empty or absent.
    #[arg(long)]
    out: PathBuf,
    /// The shapes to begin with; the options below change single ones.
    #[arg(long, value_enum, default_value = "published")]
    shape: Shape,
    /// How the linear layers of the decoder are stored.
    #[arg(long, value_enum, default_value = "gptq-int4")]
    form: Form,
    /// Format of everything that is not quantised.
    #[arg(long, value_enum, default_value = "fp16")]
    dtype: Number,
    /// Most bytes of a shard.
    #[arg(long, default_value_t = 4 << 30)]
    shard_bytes: u64,
    /// A tokenizer.json to copy; without it a small one is made.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// The same seed gives the same weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only prints the sizes.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    quantised: Quantised,
    #[command(flatten)]
    decoder: Decoder,
    #[command(flatten)]
    vision: Vision,
}

/// Shapes of the language model.
#[derive(clap::Args)]
#[command(next_help_heading = "Language model")]
struct Decoder {
    /// Layers (L).
    #[arg(long)]
    layers: Option<usize>,
    /// Width (H), a multiple of 128.
    #[arg(long)]
    hidden: Option<usize>,
    /// Query heads (N).
    #[arg(long)]
    heads: Option<usize>,
    /// Key and value heads (K).
    #[arg(long)]
    kv_heads: Option<usize>,
    /// Width of a head (D).
    #[arg(long)]
    head_dim: Option<usize>,
    /// Width of the MLP (I).
    #[arg(long)]
    intermediate: Option<usize>,
    /// Tokens (V).
    #[arg(long)]
    vocabulary: Option<usize>,
}

/// Shapes of the vision tower.
#[derive(clap::Args)]
#[command(next_help_heading = "Vision tower")]
struct Vision {
    /// Layers.
    #[arg(long)]
    vision_layers: Option<usize>,
    /// Width.
    #[arg(long)]
    vision_hidden: Option<usize>,
    /// Attention heads.
    #[arg(long)]
    vision_heads: Option<usize>,
    /// Width of the MLP.
    #[arg(long)]
    vision_intermediate: Option<usize>,
    /// Pixels of a side of the position table.
    #[arg(long)]
    image_size: Option<usize>,
}

/// Details of the quantised forms.
#[derive(clap::Args)]
#[command(next_help_heading = "Quantisation")]
struct Quantised {
    /// Inputs that share a scale (G); -1 for all.
    #[arg(long, default_value_t = 128, allow_negative_numbers = true)]
    group: i64,
    /// Zero points that differ.
    #[arg(long)]
    asymmetric: bool,
    /// Inputs assigned to groups in a random order.
    #[arg(long)]
    act_order: bool,
    /// How zero points are stored.
    #[arg(long, value_enum, default_value = "gptq")]
    checkpoint_format: Format,
    /// A bias of zeros for every quantised layer.
    #[arg(long)]
    zero_biases: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    Published,
    Tiny,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    GptqInt4,
    GptqInt8,
    Dense,
}

#[derive(Clone, Copy, ValueEnum)]
enum Number {
    Fp32,
    Fp16,
    Bf16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Gptq,
    #[value(name = "gptq_v2")]
    GptqV2,
}

impl Arguments {
    fn spec(&self) -> Spec {
        let mut spec = match self.shape {
            Shape::Published => Spec::published(),
            Shape::Tiny => Spec::tiny(),
        };
        self.decoder.apply(&mut spec);
        self.vision.apply(&mut spec);
        let dtype = match self.dtype {
            Number::Fp32 => Dtype::F32,
            Number::Fp16 => Dtype::F16,
            Number::Bf16 => Dtype::BF16,
        };
        let (zero_biases, tokenizer) = (self.quantised.zero_biases, self.tokenizer.clone());
        let quantization = self.quantised.of(self.form);
        Spec { quantization, dtype, zero_biases, shard_bytes: self.shard_bytes, tokenizer, ..spec }
    }
}

impl Decoder {
    fn apply(&self, spec: &mut Spec) {
        let decoder = &mut spec.decoder;
        set(&mut decoder.layers, self.layers);
        set(&mut decoder.hidden, self.hidden);
        set(&mut decoder.heads, self.heads);
        set(&mut decoder.kv_heads, self.kv_heads);
        set(&mut decoder.head_dim, self.head_dim);
        set(&mut decoder.intermediate, self.intermediate);
        set(&mut decoder.vocabulary, self.vocabulary);
    }
}

impl Vision {
    fn apply(&self, spec: &mut Spec) {
        let vision = &mut spec.vision;
        set(&mut vision.layers, self.vision_layers);
        set(&mut vision.hidden, self.vision_hidden);
        set(&mut vision.heads, self.vision_heads);
        set(&mut vision.intermediate, self.vision_intermediate);
        set(&mut vision.image_size, self.image_size);
    }
}

fn set(number: &mut usize, to: Option<usize>) {
    *number = to.unwrap_or(*number);
}

impl Quantised {
    fn of(&self, form: Form) -> Option<Quantization> {
        let bits = match form {
            Form::GptqInt4 => 4,
            Form::GptqInt8 => 8,
            Form::Dense => return None,
        };
        let zeros = match self.checkpoint_format {
            Format::Gptq => ZeroForm::V1,
            Format::GptqV2 => ZeroForm::V2,
        };
        // Any number but -1 that is no group is refused, as it is in a file.
        let group = (self.group != -1).then(|| usize::try_from(self.group).unwrap_or(0));
        Some(Quantization { bits, group, symmetric: !self.asymmetric, act_order: self.act_order, zeros })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", error.code());
            error.hint().iter().for_each(|hint| eprintln!("{hint}"));
            ExitCode::from(error.code().exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), RandomError> {
    let spec = arguments.spec();
    if arguments.dry_run {
        sizes(&random::plan(&spec)?);
        return Ok(());
    }
    let start = Instant::now();
    let plan = random::write(&arguments.out, &spec, arguments.seed, &mut percent())?;
    sizes(&plan);
    let seconds = start.elapsed().as_secs_f64();
    println!("written to {} in {seconds:.1} s", arguments.out.display());
    Ok(())
}

/// Shows each percent once, on a terminal only.
fn percent() -> impl FnMut(Progress) {
    let mut shown = None;
    move |progress| {
        let percent = progress.done * 100 / progress.total.max(1);
        if io::stderr().is_terminal() && shown != Some(percent) {
            shown = Some(percent);
            eprint!("\r{} {percent} %{}", progress.phase, if percent == 100 { "\n" } else { "" });
            let _ = io::stderr().flush(); // a terminal that is gone is no reason to stop
        }
    }
}

fn sizes(plan: &Plan) {
    for (name, tensors) in plan.shards() {
        let bytes: u64 = tensors.iter().map(random::Planned::bytes).sum();
        println!("{name:<36} {:>5} tensors {bytes:>15} bytes", tensors.len());
    }
    println!("{:<36} {:>5} tensors {:>15} bytes", "all", plan.tensors().count(), plan.bytes());
}
