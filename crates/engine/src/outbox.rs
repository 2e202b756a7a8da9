//! The events of one request on their way up: a bounded channel whose reader may be slow.
//!
//! A few of its places are kept for the end. While only those are left, pieces wait here, joined together, and the request
//! is left out of plans; so memory is bounded by one step, and the end can be told at any time without waiting for anybody.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use karst_contract::{Answer, Event, Failure};
use karst_prompt::Piece;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Places kept for the end: what waits of the thoughts, what waits of the text, and the end itself.
const KEPT: usize = 3;

/// What a reader tells the engine about its request.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The reader wants no more.
    pub(crate) cancelled: AtomicBool,
    /// The engine waits for the reader to take something; whoever takes an event clears this and wakes the engine.
    pub(crate) held: AtomicBool,
}

/// The engine's end of the channel.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: Sender<Event>,
    control: Arc<Control>,
    reasoning: String,
    text: String,
}

impl Outbox {
    /// A channel of `capacity` events, at least one more than are kept for the end.
    pub(crate) fn new(capacity: usize, control: Arc<Control>) -> (Self, Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(capacity.max(KEPT + 1));
        (Self { sender, control, reasoning: String::new(), text: String::new() }, receiver)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.control.cancelled.load(Ordering::SeqCst)
    }

    /// The flag, for work on other threads that should end early.
    pub(crate) fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// Takes pieces, to be sent by [`Outbox::flush`] or with the end. Thoughts never follow text.
    pub(crate) fn push(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Reasoning(piece) => self.reasoning.push_str(&piece),
                Piece::Text(piece) => self.text.push_str(&piece),
            }
        }
    }

    /// Sends what waits as far as there are places; `false` while something still waits for the reader.
    pub(crate) fn flush(&mut self) -> bool {
        if self.try_flush() {
            return true;
        }
        self.control.held.store(true, Ordering::SeqCst);
        // The reader may have taken everything just before it could see the flag.
        self.try_flush()
    }

    fn try_flush(&mut self) -> bool {
        while self.sender.capacity() > KEPT {
            match self.next_piece() {
                Some(event) => self.send(event),
                None => return true,
            }
        }
        self.reasoning.is_empty() && self.text.is_empty()
    }

    /// Sends what waits and then `end`. Nothing can follow, because this takes the channel.
    pub(crate) fn end(mut self, end: Event) {
        while let Some(event) = self.next_piece() {
            self.send(event);
        }
        self.send(end);
    }

    /// Tells a request that never began why.
    pub(crate) fn refuse(self, failure: Failure) {
        self.end(Event::Failed { failure, answer: Box::new(Answer::default()) });
    }

    fn next_piece(&mut self) -> Option<Event> {
        if !self.reasoning.is_empty() {
            return Some(Event::Reasoning(mem::take(&mut self.reasoning)));
        }
        (!self.text.is_empty()).then(|| Event::Text(mem::take(&mut self.text)))
    }

    /// There is a place, or there is no reader any more and the event is of no use.
    fn send(&self, event: Event) {
        drop(self.sender.try_send(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(piece: &str) -> Vec<Piece> {
        vec![Piece::Text(piece.to_owned())]
    }

    #[test]
    fn the_end_finds_a_place_in_a_full_channel() {
        let (mut outbox, mut receiver) = Outbox::new(KEPT + 2, Arc::default());
        outbox.push(vec![Piece::Reasoning("a".into())]);
        assert!(outbox.flush());
        outbox.push(text("b"));
        assert!(outbox.flush());
        outbox.push(vec![Piece::Text("c".into()), Piece::Text("d".into())]);
        assert!(!outbox.flush(), "only the kept places are left");
        assert!(outbox.control.held.load(Ordering::SeqCst));
        outbox.end(Event::Finish(Box::default()));
        let events: Vec<_> = std::iter::from_fn(|| receiver.blocking_recv()).collect();
        let piece = |piece: &str| Event::Text(piece.to_owned());
        let end = Event::Finish(Box::default());
        assert_eq!(events, [Event::Reasoning("a".into()), piece("b"), piece("cd"), end]);
    }

    #[test]
    fn a_reader_that_takes_something_lets_the_rest_through() {
        let (mut outbox, mut receiver) = Outbox::new(0, Arc::default());
        outbox.push(text("a"));
        assert!(outbox.flush());
        outbox.push(text("b"));
        assert!(!outbox.flush());
        receiver.try_recv().unwrap();
        assert!(outbox.flush());
    }

    #[test]
    fn a_reader_that_has_left_does_not_hold_anything_up() {
        let (mut outbox, receiver) = Outbox::new(0, Arc::default());
        drop(receiver);
        for _ in 0..10 {
            outbox.push(text("a"));
            outbox.flush();
        }
        outbox.end(Event::Finish(Box::default()));
    }
}
