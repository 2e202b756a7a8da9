//! The engine's thread: it alone owns the backend, the scheduler and the end of every request.
//!
//! A turn takes what has come in, ends what is to end, encodes one batch of pictures and runs one step. Since all ends are
//! told here, a request has exactly one, whatever races with what.

mod step;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use karst_contract::{Code, Failure, FinishReason};

use crate::backend::Backend;
use crate::engine::{Shared, Tuning};
use crate::health::{closed, panicked};
use crate::live::{Live, Place};
use crate::outbox::Outbox;
use crate::pixels::Pixels;
use crate::plan::{FeaturesId, RequestId};
use crate::prepare::{Draft, ViewPack};
use crate::scheduler::Scheduler;
use crate::workshop::Workshop;
use step::Begun;

/// What other threads tell the engine's.
pub(crate) enum Command {
    /// A new request; its draft is on the way.
    Start(Box<Start>),
    /// A request is measured and tokenised, or cannot be.
    Drafted(RequestId, Result<Arc<Draft>, Failure>, Duration),
    /// A request's pictures are decoded and cut, or cannot be.
    Read(RequestId, Result<Vec<ViewPack>, Failure>, Duration),
    /// A flag has changed: cancelled, closing, or a slow reader has taken something.
    Wake,
}

/// A new request.
pub(crate) struct Start {
    pub(crate) request: RequestId,
    pub(crate) outbox: Outbox,
    pub(crate) place: Place,
    pub(crate) asked: Instant,
}

pub(crate) struct Worker {
    backend: Box<dyn Backend>,
    scheduler: Scheduler,
    live: BTreeMap<RequestId, Live>,
    /// Requests whose pictures wait for room in the pixel budget, in their order.
    unread: VecDeque<RequestId>,
    pixels: Pixels,
    /// The step that the backend works on while its successor is planned.
    under_way: Option<Begun>,
    /// Bytes of the features that the backend holds.
    features: BTreeMap<FeaturesId, u64>,
    inbox: Receiver<Command>,
    commands: Sender<Command>,
    workshop: Arc<Workshop>,
    shared: Arc<Shared>,
    patience: Duration,
    started: Instant,
}

impl Worker {
    pub(crate) fn new(
        backend: Box<dyn Backend>,
        (commands, inbox): (Sender<Command>, Receiver<Command>),
        workshop: Arc<Workshop>,
        shared: Arc<Shared>,
        tuning: &Tuning,
    ) -> Self {
        let description = backend.description();
        let worker = Self {
            scheduler: Scheduler::new(description.bounds, description.patches),
            backend,
            live: BTreeMap::new(),
            unread: VecDeque::new(),
            pixels: Pixels::new(tuning.pixel_bytes),
            under_way: None,
            features: BTreeMap::new(),
            inbox,
            commands,
            workshop,
            shared,
            patience: tuning.reader,
            started: Instant::now(),
        };
        worker.report();
        worker
    }

    /// Runs until the engine is closed or lost; then every request that is left is told so.
    pub(crate) fn run(mut self) {
        let end = catch_unwind(AssertUnwindSafe(|| self.work()));
        let failure = end.unwrap_or_else(|panic| panicked(panic.as_ref()));
        // First, so that whoever hears of the end and asks again is told the same.
        self.shared.health.end(failure.clone());
        let live = std::mem::take(&mut self.live);
        live.into_values().for_each(|live| live.fail(failure.clone()));
        for command in self.inbox.try_iter() {
            if let Command::Start(start) = command {
                Live::new(start.outbox, start.place, start.asked).fail(failure.clone());
            }
        }
        // A device that failed may fail again while it is put away.
        drop(catch_unwind(AssertUnwindSafe(move || drop(self))));
    }

    /// Turn after turn; returns why there are no more.
    fn work(&mut self) -> Failure {
        let mut idle = false;
        loop {
            self.receive(idle);
            match self.turn() {
                ControlFlow::Continue(worked) => idle = !worked,
                ControlFlow::Break(failure) => return failure,
            }
        }
    }

    /// Takes in what has come; when idle, waits for something or for the next reader whose time is up.
    fn receive(&mut self, idle: bool) {
        if idle {
            let first = self.scheduler.held().map(|(_, since)| since + self.patience).min();
            let command = match first {
                Some(deadline) => self.inbox.recv_timeout(deadline.saturating_sub(self.now())),
                None => self.inbox.recv().map_err(RecvTimeoutError::from),
            };
            command.into_iter().for_each(|command| self.obey(command));
        }
        while let Ok(command) = self.inbox.try_recv() {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start(start) => {
                self.live.insert(start.request, Live::new(start.outbox, start.place, start.asked));
            }
            Command::Drafted(request, draft, took) => self.drafted(request, draft, took),
            Command::Read(request, packs, took) => self.read(request, packs, took),
            Command::Wake => {}
        }
    }

    fn drafted(&mut self, request: RequestId, draft: Result<Arc<Draft>, Failure>, took: Duration) {
        let Some(live) = self.live.get_mut(&request) else { return };
        live.times.preprocess += took;
        match draft {
            Err(failure) => self.fail(request, failure),
            Ok(draft) => {
                let pictures = draft.has_pictures();
                live.saying = Some(draft.saying());
                live.draft = Some(draft);
                if pictures { self.unread.push_back(request) } else { self.enqueue(request) }
            }
        }
    }

    fn read(&mut self, request: RequestId, packs: Result<Vec<ViewPack>, Failure>, took: Duration) {
        let Some(live) = self.live.get_mut(&request) else { return };
        live.times.preprocess += took;
        match packs {
            // Readers stop early for a request that is cancelled; the next turn ends it as such.
            Err(_) if live.outbox.is_cancelled() => {}
            Err(failure) => self.fail(request, failure),
            Ok(packs) => {
                live.packs = packs.into();
                self.enqueue(request);
            }
        }
    }

    fn enqueue(&mut self, request: RequestId) {
        // The draft holds the encoded pictures, which nobody needs any more.
        let Some(draft) = self.live.get_mut(&request).and_then(|live| live.draft.take()) else { return };
        if let Err(error) = self.scheduler.enqueue(draft.job(request), self.now()) {
            self.fail(request, Failure::new(Code::ContextOverflow, error.to_string()));
        }
    }

    /// One turn; whether it did any work, or why it is the last.
    fn turn(&mut self) -> ControlFlow<Failure, bool> {
        self.end_unwanted()?;
        self.look_after_readers();
        self.start_reading();
        self.admit();
        let encoded = self.encode()?;
        if encoded {
            self.receive(false);
            self.end_unwanted()?;
        }
        let stepped = self.step()?;
        self.report();
        ControlFlow::Continue(encoded || stepped)
    }

    /// Ends what its reader has cancelled, or everything if the engine is being closed.
    fn end_unwanted(&mut self) -> ControlFlow<Failure> {
        if self.shared.is_closing() {
            return ControlFlow::Break(closed());
        }
        let cancelled = self.live.iter().filter(|(_, live)| live.outbox.is_cancelled());
        for request in cancelled.map(|(request, _)| *request).collect::<Vec<_>>() {
            self.finish(request, FinishReason::Abort);
        }
        ControlFlow::Continue(())
    }

    /// Lets readers that keep up into the plans, leaves the others out, and fails those whose time is up.
    fn look_after_readers(&mut self) {
        let now = self.now();
        for (request, live) in &mut self.live {
            if live.outbox.flush() {
                self.scheduler.resume(*request);
            } else {
                self.scheduler.hold(*request, now);
            }
        }
        let overdue = self.scheduler.held().filter(|(_, since)| now.saturating_sub(*since) >= self.patience);
        for request in overdue.map(|(request, _)| request).collect::<Vec<_>>() {
            let message = format!("nothing was read from the stream for {} seconds", self.patience.as_secs_f64());
            self.fail(request, Failure::new(Code::SlowReader, message));
        }
    }

    /// Sends pictures to be decoded while there is room for their pixels.
    fn start_reading(&mut self) {
        while let Some(request) = self.unread.front() {
            let request = *request;
            if let Some(live) = self.live.get_mut(&request)
                && let Some(draft) = &live.draft
            {
                if !self.pixels.take(draft.pixel_bytes()) {
                    return;
                }
                live.pixels = draft.pixel_bytes();
                self.workshop.read(request, Arc::clone(draft), live.outbox.control(), self.commands.clone());
            }
            self.unread.pop_front();
        }
    }

    fn admit(&mut self) {
        for admission in self.scheduler.admit(self.now()) {
            if let Some(live) = self.live.get_mut(&admission.request) {
                live.place = None;
                live.times.admitted = Some(Instant::now());
            }
        }
    }

    fn finish(&mut self, request: RequestId, reason: FinishReason) {
        if let Some(live) = self.leave(request) {
            live.finish(reason);
        }
    }

    fn fail(&mut self, request: RequestId, failure: Failure) {
        if let Some(live) = self.leave(request) {
            live.fail(failure);
        }
    }

    /// Takes a request out, with all that it holds, before its end is told.
    fn leave(&mut self, request: RequestId) -> Option<Live> {
        let features = self.scheduler.remove(request).unwrap_or_default();
        self.release(features);
        let mut live = self.live.remove(&request)?;
        self.pixels.give(live.pixels);
        live.place = None;
        self.report();
        Some(live)
    }

    fn release(&mut self, features: Vec<FeaturesId>) {
        for id in features {
            self.features.remove(&id);
            self.backend.release(id);
        }
    }

    /// Publishes the counters.
    fn report(&self) {
        let (scheduler, blocks) = (&self.scheduler, self.scheduler.blocks());
        self.shared.report(|load| {
            load.requests = self.live.len();
            load.running = scheduler.running();
            load.blocks_free = blocks.free();
            load.blocks_total = blocks.total();
            load.feature_bytes = self.features.values().sum();
            load.pixel_bytes = self.pixels.used();
        });
    }

    /// Since the engine began; the scheduler's clock.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}
