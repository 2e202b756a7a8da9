//! How far a checkpoint has been loaded.

use std::cell::Cell;

use karst_checkpoint::Checkpoint;
use karst_contract::Progress;

/// A checkpoint's bytes, counted as they are taken from it.
pub(crate) struct Taken<'a> {
    checkpoint: &'a Checkpoint,
    progress: &'a dyn Fn(Progress),
    done: Cell<u64>,
}

impl<'a> Taken<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, progress: &'a dyn Fn(Progress)) -> Self {
        Self { checkpoint, progress, done: Cell::new(0) }
    }

    /// Counts what was copied, and gives its pages back, lest the files' pages stand in memory beside the model.
    pub(crate) fn take(&self, prefix: &str, bytes: usize) {
        self.checkpoint.release(prefix);
        self.done.set(self.checkpoint.bytes().min(self.done.get() + bytes as u64));
        self.tell(self.done.get());
    }

    /// What the model holds and what the files hold differ by a little; the end is the end.
    pub(crate) fn finish(&self) {
        self.tell(self.checkpoint.bytes());
    }

    fn tell(&self, done: u64) {
        (self.progress)(Progress { phase: "weights", done, total: self.checkpoint.bytes() });
    }
}
