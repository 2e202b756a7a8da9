//! What can go wrong in a simulation, and when.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::backend::BackendError;

/// The call, counted from 0, at which a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    /// A step.
    Step(u64),
    /// An encode.
    Encode(u64),
}

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The whole call has no memory.
    OutOfMemory,
    /// The first row of a step has no memory.
    RowOutOfMemory,
    /// The call fails, the device does not.
    Failed,
    /// The device is gone.
    DeviceLost,
    /// This number stands in the first drawn row's logits.
    Logit(f32),
    /// The call panics.
    Panic,
    /// The call waits until the gate is opened.
    Stall(Arc<Gate>),
    /// The call takes this much longer.
    Slow(Duration),
}

/// Where a stalled call waits, so that a test can do something in the middle of it.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reached: bool,
    open: bool,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Waits until a call waits at the gate.
    pub fn reached(&self) {
        self.wait(|state| state.reached);
    }

    /// Lets the call go on.
    pub fn open(&self) {
        self.change(|state| state.open = true);
    }

    fn pass(&self) {
        self.change(|state| state.reached = true);
        self.wait(|state| state.open);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn wait(&self, done: impl Fn(&State) -> bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(state, |state| !done(state)));
    }
}

impl Fault {
    /// What a fault of a whole call does.
    pub(super) fn strike(self, what: &'static str) -> Result<(), BackendError> {
        match self {
            Self::OutOfMemory => Err(BackendError::OutOfMemory { what, bytes: 1 << 20 }),
            Self::Failed => Err(BackendError::Failed(format!("{what} was told to fail"))),
            Self::DeviceLost => Err(BackendError::DeviceLost(format!("{what} was told to lose the device"))),
            Self::Panic => panic!("{what} was told to panic"),
            Self::Stall(gate) => {
                gate.pass();
                Ok(())
            }
            Self::Slow(time) => {
                std::thread::sleep(time);
                Ok(())
            }
            Self::RowOutOfMemory | Self::Logit(_) => Ok(()),
        }
    }
}
