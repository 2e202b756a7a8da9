//! The engine as its callers see it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use karst_contract::{Code, Failure, Request, limits};

use crate::backend::Backend;
use crate::error::EngineError;
use crate::generation::Generation;
use crate::health::{Health, Joined, closed, lost};
use crate::info::Info;
use crate::live::{Live, Place};
use crate::outbox::{Control, Outbox};
use crate::plan::RequestId;
use crate::prepare::{Front, Inspection};
use crate::worker::{Command, Start, Worker};
use crate::workshop::Workshop;

/// A model that answers requests, several at once. Dropping it closes it.
///
/// Shared freely between threads: starting a request never waits for the model.
pub struct Engine {
    info: Info,
    workshop: Arc<Workshop>,
    shared: Arc<Shared>,
    commands: Sender<Command>,
    thread: Joined,
    tuning: Tuning,
    next: AtomicU64,
}

/// Bounds that tests make smaller; the defaults are those of [`limits`].
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Requests that may wait.
    pub queue: usize,
    /// Events that may wait for a reader.
    pub events: usize,
    /// How long a request waits for its reader.
    pub reader: Duration,
    /// Bytes of whole decoded pictures that may be in the hands of decoders.
    pub decoded_bytes: u64,
    /// Bytes of views that may wait for their encoding.
    pub pixel_bytes: u64,
}

/// What an engine holds at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Requests that have not ended.
    pub requests: usize,
    /// Of these, those that have a slot.
    pub running: usize,
    /// Blocks of the cache that nobody has.
    pub blocks_free: usize,
    /// Blocks of the cache.
    pub blocks_total: usize,
    /// Features on the device.
    pub feature_bytes: u64,
    /// Pictures that wait for their encoding.
    pub pixel_bytes: u64,
}

/// What the engine's thread shares with its callers.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) health: Arc<Health>,
    waiting: Arc<AtomicUsize>,
    closing: AtomicBool,
    load: Mutex<Load>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            queue: limits::MAX_QUEUE,
            events: limits::MAX_EVENTS,
            reader: Duration::from_secs(limits::MAX_READER_SECONDS),
            decoded_bytes: limits::MAX_DECODED_BYTES,
            pixel_bytes: limits::MAX_DECODED_BYTES,
        }
    }
}

impl Shared {
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub(crate) fn report(&self, change: impl FnOnce(&mut Load)) {
        change(&mut self.load.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Engine {
    /// An engine of given parts: how [`Engine::open`] ends, and how tests begin.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn assemble(backend: Box<dyn Backend>, front: Front, info: Info, tuning: Tuning) -> Result<Self, EngineError> {
        let no_threads = |error: &dyn fmt::Display| EngineError::Threads { reason: error.to_string() };
        let workshop = Arc::new(Workshop::new(front, tuning.decoded_bytes).map_err(|error| no_threads(&error))?);
        let shared = Arc::new(Shared::default());
        let (commands, inbox) = mpsc::channel();
        let channel = (commands.clone(), inbox);
        let worker = Worker::new(backend, channel, Arc::clone(&workshop), Arc::clone(&shared), &tuning);
        let thread = thread::Builder::new().name("karst-engine".to_owned()).spawn(move || worker.run());
        let thread = Joined::new(thread.map_err(|error| no_threads(&error))?);
        Ok(Self { info, workshop, shared, commands, thread, tuning, next: AtomicU64::new(0) })
    }

    /// What was opened, and on what.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// What a request would become: sizes, grids, views, tokens, memory. Runs nothing on the model and waits for no request.
    ///
    /// # Errors
    /// As the request would fail, except that one that is too long for the context is described all the same.
    pub fn inspect(&self, request: &Request) -> Result<Inspection, Failure> {
        self.workshop.inspect(request)
    }

    /// Begins to answer a request. Whatever goes wrong comes as the last event.
    pub fn start(&self, request: Request) -> Generation {
        let control = Arc::new(Control::default());
        let (outbox, events) = Outbox::new(self.tuning.events, Arc::clone(&control));
        let health = Arc::clone(&self.shared.health);
        let generation = Generation::new(events, control, self.commands.clone(), health);
        match (self.refusal(), Place::take(&self.shared.waiting, self.tuning.queue)) {
            (Some(failure), _) => outbox.refuse(failure),
            (None, None) => outbox.refuse(queue_full(self.tuning.queue)),
            (None, Some(place)) => self.submit(request, outbox, place),
        }
        generation
    }

    fn submit(&self, request: Request, outbox: Outbox, place: Place) {
        let id = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        let start = Box::new(Start { request: id, outbox, place, asked: Instant::now() });
        match self.commands.send(Command::Start(start)) {
            // The engine's thread has taken the start before it can see the draft: the channel keeps the order.
            Ok(()) => self.workshop.draft(id, request, self.commands.clone()),
            Err(mpsc::SendError(Command::Start(start))) => {
                let failure = self.refusal().unwrap_or_else(closed);
                Live::new(start.outbox, start.place, start.asked).fail(failure);
            }
            Err(_) => unreachable!("the channel gives back what it was given"),
        }
    }

    /// Why nothing runs any more, if so.
    fn refusal(&self) -> Option<Failure> {
        let first = self.shared.health.failure()?;
        Some(if first.code == Code::Closed { first } else { lost(&first) })
    }

    /// The first failure that stopped the engine, if one did. After a close it says so.
    pub fn failure(&self) -> Option<Failure> {
        self.shared.health.failure()
    }

    /// What it holds now.
    pub fn load(&self) -> Load {
        *self.shared.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every request with [`Code::Closed`], waits for the step that runs, and frees the model. Closing twice, or from
    /// two threads, is the same as closing once.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // A thread that has ended needs no waking.
        drop(self.commands.send(Command::Wake));
        self.thread.join();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("info", &self.info).field("load", &self.load()).finish_non_exhaustive()
    }
}

fn queue_full(limit: usize) -> Failure {
    Failure::new(Code::QueueFull, format!("{limit} requests are waiting, and no more may"))
        .with_hint("ask again when one of them has been answered")
}
