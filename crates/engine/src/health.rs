//! Whether an engine still runs, and if not, since what.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use karst_contract::{Code, Failure};

/// Set once: the first reason for which the engine stopped. All later calls name it.
#[derive(Debug, Default)]
pub(crate) struct Health {
    end: OnceLock<Failure>,
}

impl Health {
    /// The failure that a call meets now, if any.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.end.get().cloned()
    }

    /// Notes why the engine stopped, unless it had stopped already.
    pub(crate) fn end(&self, failure: Failure) -> Failure {
        self.end.get_or_init(|| failure).clone()
    }
}

/// What waiting requests are told when the model is closed.
pub(crate) fn closed() -> Failure {
    Failure::new(Code::Closed, "the model was closed")
}

/// What waiting requests are told after `first` stopped the engine.
pub(crate) fn lost(first: &Failure) -> Failure {
    let message = format!("nothing runs any more, since this happened: {}", first.message);
    Failure { code: first.code, message, hint: first.hint.clone() }.with_hint("load the model again")
}

/// The words of a panic.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let words = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("a fault inside karst: {}", words.unwrap_or("no words"));
    Failure::new(Code::Internal, message).with_hint("please report it, with the request that led to it")
}

/// A thread that is joined once, by whoever comes first; others wait until it has been.
#[derive(Debug)]
pub(crate) struct Joined(Mutex<Option<JoinHandle<()>>>);

impl Joined {
    pub(crate) fn new(thread: JoinHandle<()>) -> Self {
        Self(Mutex::new(Some(thread)))
    }

    pub(crate) fn join(&self) {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The thread catches its own panics, so that there is nothing to learn from its end.
        thread.take().map(JoinHandle::join);
    }
}
