//! What turns pictures into features: tower and resampler, with the threads that they run on.

use karst_checkpoint::Checkpoint;
use karst_contract::{Progress, limits};
use karst_vision_input::{Pack, View};
use rayon::ThreadPool;

use super::load;
use super::resampler::{Encoded, Resampler};
use super::tower::Tower;
use super::unbatched;
use crate::ModelError;
use crate::progress::Taken;

/// Tower and resampler, ready to run.
pub struct Vision {
    threads: ThreadPool,
    tower: Tower,
    resampler: Resampler,
    /// Whether the checkpoint resamples all packs in a batch.
    batched: bool,
}

/// What packs of views became: rows that stand in for embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// For each pack, [Q, H].
    pub packs: Vec<Vec<f32>>,
}

impl Features {
    /// What holding them costs.
    pub fn bytes(&self) -> u64 {
        self.packs.iter().map(|pack| 4 * pack.len() as u64).sum()
    }
}

impl Vision {
    /// Loads tower and resampler alone; `threads` as in [`Options`](super::Options).
    ///
    /// # Errors
    /// When a tensor is missing, misshapen or holds what is not a number, or memory does not suffice.
    pub fn load(
        checkpoint: &Checkpoint,
        threads: Option<usize>,
        progress: &dyn Fn(Progress),
    ) -> Result<Self, ModelError> {
        Self::load_part(checkpoint, threads, &Taken::new(checkpoint, progress))
    }

    pub(crate) fn load_part(
        checkpoint: &Checkpoint,
        threads: Option<usize>,
        taken: &Taken<'_>,
    ) -> Result<Self, ModelError> {
        let count = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
        let name = |i| format!("karst-{i}");
        let threads = rayon::ThreadPoolBuilder::new().num_threads(count).thread_name(name).build()?;
        let (tower, resampler) = load::vision(checkpoint, &threads, taken)?;
        Ok(Self { threads, tower, resampler, batched: checkpoint.config().resampler.batched })
    }

    /// The threads that it runs on.
    pub(crate) fn threads(&self) -> &ThreadPool {
        &self.threads
    }

    /// Its weights, in bytes.
    pub fn bytes(&self) -> u64 {
        self.tower.bytes() + self.resampler.bytes()
    }

    /// The tower's output of each view, [P, Hv].
    ///
    /// # Errors
    /// When a view's bytes do not fit its sides.
    pub fn tower(&self, views: &[View]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.threads.install(|| views.iter().map(|view| self.tower.forward(view)).collect())
    }

    /// The features [Q, H] of one pack.
    ///
    /// # Errors
    /// When a view's numbers do not fit its sides.
    pub fn resample(&self, pack: &[Encoded<'_>]) -> Result<Vec<f32>, ModelError> {
        self.threads.install(|| self.resampler.forward(pack))
    }

    /// The features of all packs. What the tower makes of a view lives no longer than its pack is worked on. A pack's features
    /// depend on its own views alone, unless the checkpoint does not resample in a batch: then on the longest view, too.
    ///
    /// # Errors
    /// When a pack names views that do not exist, or its features are not finite.
    pub fn encode(&self, views: &[View], packs: &[Pack]) -> Result<Features, ModelError> {
        let packs = packs.iter().enumerate().map(|(i, pack)| self.encode_pack(views, i, pack));
        Ok(Features { packs: packs.collect::<Result<_, _>>()? })
    }

    fn encode_pack(&self, views: &[View], index: usize, pack: &Pack) -> Result<Vec<f32>, ModelError> {
        check_pack(views.len(), index, pack)?;
        let time = |i: usize| pack.times.as_ref().map(|times| times[i]);
        let frames: Vec<_> = pack.views.iter().enumerate().map(|(i, &view)| (&views[view], time(i))).collect();
        let length = views.iter().map(View::count).max().unwrap_or(0);
        // Where nothing is padded, and where there is one frame, both ways are the same.
        let batched = self.batched || frames.len() == 1 || frames.iter().all(|(view, _)| view.count() == length);
        let features = self.threads.install(|| match batched {
            true => self.encode_batched(&frames),
            false => unbatched::encode(&self.tower, &self.resampler, &frames, length),
        })?;
        if features.iter().all(|number| number.is_finite()) {
            Ok(features)
        } else {
            Err(ModelError::NonFiniteFeatures { pack: index })
        }
    }

    fn encode_batched(&self, frames: &[(&View, Option<u32>)]) -> Result<Vec<f32>, ModelError> {
        let patches = frames.iter().map(|(view, _)| self.tower.forward(view)).collect::<Result<Vec<_>, _>>()?;
        let encoded = frames.iter().zip(&patches).map(|(&(view, time), patches)| Encoded {
            rows: view.rows,
            columns: view.columns,
            patches,
            time,
        });
        self.resampler.forward(&encoded.collect::<Vec<_>>())
    }
}

fn check_pack(available: usize, index: usize, pack: &Pack) -> Result<(), ModelError> {
    let (views, times) = (&pack.views, pack.times.as_ref().map(Vec::len));
    let count = (1..=limits::MAX_PACKING).contains(&views.len());
    if count && times.is_none_or(|times| times == views.len()) && views.iter().all(|&view| view < available) {
        return Ok(());
    }
    Err(ModelError::Pack { pack: index, views: views.clone(), times, available })
}
