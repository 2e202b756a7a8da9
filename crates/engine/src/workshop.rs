//! Threads on which requests are prepared, apart from the engine's: a decoder of pictures never holds up a step, and a panic
//! in one ends one request.
//!
//! Drafts go before pictures, and requests take turns with their pictures, so that a long clip holds nobody up. They are
//! plain threads: one may wait for room for its pixels, and must not take up another picture while it waits for the first
//! to be cut.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use karst_contract::{Failure, Request};
use karst_media::Budget;

use crate::health::panicked;
use crate::outbox::Control;
use crate::plan::RequestId;
use crate::prepare::{Draft, Front, Inspection, Reading};
use crate::worker::Command;

/// Fewer would let one slow file hold up every draft; more would bring little and hold more pictures at once.
const THREADS: std::ops::RangeInclusive<usize> = 2..=8;

pub(crate) struct Workshop {
    front: Arc<Front>,
    budget: Budget,
    jobs: Arc<Jobs>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Jobs {
    queues: Mutex<Queues>,
    changed: Condvar,
}

#[derive(Default)]
struct Queues {
    drafts: VecDeque<Box<dyn FnOnce() + Send>>,
    readings: VecDeque<Arc<Reading>>,
    closed: bool,
}

enum Job {
    Draft(Box<dyn FnOnce() + Send>),
    Picture(Arc<Reading>, usize),
}

impl Workshop {
    /// Starts the threads; `decoded` bytes of pixels may be in their hands.
    pub(crate) fn new(front: Front, decoded: u64) -> io::Result<Self> {
        let (front, budget, jobs) = (Arc::new(front), Budget::new(decoded), Arc::<Jobs>::default());
        let mut workshop = Self { front, budget, jobs, threads: Vec::new() };
        let count = thread::available_parallelism().map_or(1, usize::from).clamp(*THREADS.start(), *THREADS.end());
        for number in 0..count {
            let jobs = Arc::clone(&workshop.jobs);
            let builder = thread::Builder::new().name(format!("karst-prepare-{number}"));
            workshop.threads.push(builder.spawn(move || jobs.work())?);
        }
        Ok(workshop)
    }

    /// What a request becomes, on the caller's thread.
    pub(crate) fn inspect(&self, request: &Request) -> Result<Inspection, Failure> {
        guarded(|| self.front.inspect(request))
    }

    /// Measures and tokenises a request; [`Command::Drafted`] follows.
    pub(crate) fn draft(&self, id: RequestId, request: Request, commands: Sender<Command>) {
        let front = Arc::clone(&self.front);
        let draft = move || {
            let start = Instant::now();
            let draft = guarded(|| front.draft(&request)).map(Arc::new);
            // An engine that has ended has told the request so.
            drop(commands.send(Command::Drafted(id, draft, start.elapsed())));
        };
        self.jobs.lock().drafts.push_back(Box::new(draft));
        self.jobs.changed.notify_one();
    }

    /// Decodes and cuts a request's pictures; [`Command::Read`] follows.
    pub(crate) fn read(&self, id: RequestId, draft: Arc<Draft>, control: Arc<Control>, commands: Sender<Command>) {
        let reading = Reading::new(id, draft, control, self.budget.clone(), commands);
        self.jobs.lock().readings.push_back(Arc::new(reading));
        self.jobs.changed.notify_all();
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        self.jobs.lock().closed = true;
        self.jobs.changed.notify_all();
        for thread in self.threads.drain(..) {
            // The thread catches the panics of its jobs, so that there is nothing to learn from its end.
            drop(thread.join());
        }
    }
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            match job {
                Job::Draft(draft) => draft(),
                Job::Picture(reading, index) => reading.read(index),
            }
        }
    }

    /// The next job; `None` when there will be no more.
    fn next(&self) -> Option<Job> {
        let mut queues = self.lock();
        loop {
            if queues.closed {
                return None;
            }
            if let Some(job) = queues.next() {
                return Some(job);
            }
            queues = self.changed.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queues {
    fn next(&mut self) -> Option<Job> {
        if let Some(draft) = self.drafts.pop_front() {
            return Some(Job::Draft(draft));
        }
        let reading = self.readings.pop_front()?;
        let (index, more) = reading.take()?;
        if more {
            self.readings.push_back(Arc::clone(&reading));
        }
        Some(Job::Picture(reading, index))
    }
}

/// Work whose panic is a failure.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}
