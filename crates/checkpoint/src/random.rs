//! Checkpoints of random weights in the published layout: for tests of any form, and for benchmarks of the published shapes
//! by those who do not have the published weights.
//!
//! Weights are drawn so that every layer keeps the size of what passes through it, so numbers stay finite and answers are
//! not all the same. The same seed and name give the same numbers, however the tensors are spread over shards.
//!
//! ```
//! use karst_checkpoint::{Checkpoint, random};
//!
//! let folder = tempfile::tempdir()?;
//! let spec = random::Spec::tiny();
//! random::write(folder.path(), &spec, 7, &mut |_| {})?;
//! assert_eq!(Checkpoint::open(folder.path())?.config().decoder, spec.decoder);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod configs;
mod error;
mod fill;
mod plan;
mod shard;
mod spec;
mod tokenizer;

use std::fs;
use std::path::Path;

use karst_contract::Progress;

pub use error::RandomError;
pub use plan::{Plan, Planned};
pub use spec::Spec;

/// Every tensor that [`write`] would write, with its size and shard.
pub fn plan(spec: &Spec) -> Result<Plan, RandomError> {
    prepare(spec).map(|(_, _, plan)| plan)
}

/// Writes a checkpoint into `folder`, which must be empty or absent, and tells `progress` the bytes done. At most about a
/// megabyte is held at a time.
pub fn write(folder: &Path, spec: &Spec, seed: u64, progress: &mut dyn FnMut(Progress)) -> Result<Plan, RandomError> {
    let (tokenizer, configs, plan) = prepare(spec)?;
    empty(folder)?;
    for (name, text) in configs.files() {
        put(&folder.join(name), text.as_bytes())?;
    }
    put(&folder.join("tokenizer.json"), &tokenizer.json)?;
    if let Some(index) = plan.index() {
        put(&folder.join("model.safetensors.index.json"), index.to_string().as_bytes())?;
    }
    let mut done = 0;
    for (name, tensors) in plan.shards() {
        let path = folder.join(name);
        let mut report = |bytes| {
            done += bytes;
            progress(Progress { phase: "writing", done, total: plan.bytes() });
        };
        shard::write(&path, tensors, seed, &mut report).map_err(|source| RandomError::Write { path, source })?;
    }
    Ok(plan)
}

/// Proves that what would be written can be read, before anything is.
fn prepare(spec: &Spec) -> Result<(tokenizer::Choice, configs::Configs, Plan), RandomError> {
    let tokenizer = tokenizer::Choice::new(spec)?;
    let configs = configs::Configs::new(spec, &tokenizer.eos);
    configs.check()?;
    Ok((tokenizer, configs, Plan::new(spec)?))
}

fn empty(folder: &Path) -> Result<(), RandomError> {
    let failed = |source| RandomError::Write { path: folder.into(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    match fs::read_dir(folder).map_err(failed)?.next() {
        Some(_) => Err(RandomError::NotEmpty { folder: folder.into() }),
        None => Ok(()),
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), RandomError> {
    fs::write(path, bytes).map_err(|source| RandomError::Write { path: path.into(), source })
}
