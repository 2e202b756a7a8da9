//! The caller's end of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::task::Poll;

use karst_contract::{Answer, Code, Event, Failure};
use tokio::sync::Mutex;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use crate::health::{Health, lost};
use crate::outbox::Control;
use crate::worker::Command;

/// A request that was started: events come out, the last of them [`Event::Finish`] or [`Event::Failed`], exactly one.
///
/// Dropping it cancels the request. It outlives its engine: after a close the end is still told.
#[derive(Debug)]
pub struct Generation {
    events: Mutex<Receiver<Event>>,
    control: Arc<Control>,
    commands: Sender<Command>,
    health: Arc<Health>,
    ended: AtomicBool,
}

impl Generation {
    pub(crate) fn new(
        events: Receiver<Event>,
        control: Arc<Control>,
        commands: Sender<Command>,
        health: Arc<Health>,
    ) -> Self {
        Self { events: Mutex::new(events), control, commands, health, ended: AtomicBool::new(false) }
    }

    /// The next event; `None` after the last.
    pub async fn next(&self) -> Option<Event> {
        let event = self.events.lock().await.recv().await;
        self.taken(event)
    }

    /// As [`Generation::next`], for threads that may wait.
    ///
    /// # Panics
    /// On a thread that runs asynchronous tasks.
    pub fn next_blocking(&self) -> Option<Event> {
        let event = self.events.blocking_lock().blocking_recv();
        self.taken(event)
    }

    /// What [`Generation::next`] would say without waiting; [`Poll::Pending`] if it would wait.
    pub fn try_next(&self) -> Poll<Option<Event>> {
        let Ok(mut events) = self.events.try_lock() else { return Poll::Pending };
        match events.try_recv() {
            Ok(event) => Poll::Ready(self.taken(Some(event))),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Disconnected) => Poll::Ready(self.taken(None)),
        }
    }

    /// Ends the request within one step. Its last event is [`Event::Finish`] with what was said until then, unless it had
    /// ended in another way before.
    pub fn cancel(&self) {
        if !self.control.cancelled.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Lets the engine go on if it waits for this reader, and sees to the end of a channel that broke off without one.
    fn taken(&self, event: Option<Event>) -> Option<Event> {
        if self.control.held.swap(false, Ordering::SeqCst) {
            self.wake();
        }
        match &event {
            Some(Event::Finish(_) | Event::Failed { .. }) => self.ended.store(true, Ordering::SeqCst),
            None if !self.ended.swap(true, Ordering::SeqCst) => return Some(self.broken_off()),
            _ => {}
        }
        event
    }

    /// The engine's thread ended between taking the request and saying anything about it.
    fn broken_off(&self) -> Event {
        let unknown = || Failure::new(Code::Internal, "the request ended without an answer");
        let failure = self.health.failure().map_or_else(unknown, |first| lost(&first));
        Event::Failed { failure, answer: Box::new(Answer::default()) }
    }

    /// An engine that has ended needs no waking.
    fn wake(&self) {
        drop(self.commands.send(Command::Wake));
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancel();
    }
}
