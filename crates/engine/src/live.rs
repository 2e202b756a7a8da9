//! One request on its way through the engine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use karst_contract::{Answer, Event, Failure, FinishReason, Timings};
use karst_vision_input::{Pack, View};

use crate::answer::Saying;
use crate::outbox::Outbox;
use crate::prepare::{Draft, ViewPack};

/// A place among the requests that wait; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    /// A place, unless all of `limit` are taken.
    pub(crate) fn take(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let next = |taken: usize| (taken < limit).then_some(taken + 1);
        taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).ok().map(|_| Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// All that the engine's thread holds for one request.
pub(crate) struct Live {
    pub(crate) outbox: Outbox,
    /// Until it is admitted.
    pub(crate) place: Option<Place>,
    /// Between its measuring and its place in the queue.
    pub(crate) draft: Option<Arc<Draft>>,
    /// Packs that have no features yet.
    pub(crate) packs: VecDeque<ViewPack>,
    /// Bytes of the pixel budget that it holds.
    pub(crate) pixels: u64,
    /// Once its prompt is known.
    pub(crate) saying: Option<Saying>,
    pub(crate) times: Times,
}

/// When things happened to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) asked: Instant,
    pub(crate) preprocess: Duration,
    pub(crate) admitted: Option<Instant>,
    pub(crate) first_token: Option<Instant>,
}

impl Live {
    pub(crate) fn new(outbox: Outbox, place: Place, asked: Instant) -> Self {
        let times = Times { asked, preprocess: Duration::ZERO, admitted: None, first_token: None };
        Self { outbox, place: Some(place), draft: None, packs: VecDeque::new(), pixels: 0, saying: None, times }
    }

    /// Takes the next `count` packs, as the backend takes them, with the bytes of their pixels.
    pub(crate) fn next_packs(&mut self, count: usize) -> (Vec<View>, Vec<Pack>, u64) {
        let (mut views, mut packs, mut bytes) = (Vec::new(), Vec::new(), 0);
        for pack in self.packs.drain(..count) {
            bytes += pack.bytes();
            packs.push(Pack { views: (views.len()..views.len() + pack.views.len()).collect(), times: pack.times });
            views.extend(pack.views);
        }
        (views, packs, bytes)
    }

    /// Tells the end: the whole answer.
    pub(crate) fn finish(self, reason: FinishReason) {
        let (outbox, answer) = self.answer(reason);
        outbox.end(Event::Finish(Box::new(answer)));
    }

    /// Tells the end: what went wrong, and what was said until then.
    pub(crate) fn fail(self, failure: Failure) {
        let (outbox, answer) = self.answer(FinishReason::Abort);
        outbox.end(Event::Failed { failure, answer: Box::new(answer) });
    }

    fn answer(mut self, finish_reason: FinishReason) -> (Outbox, Answer) {
        let timings = self.times.until(Instant::now());
        let Some(saying) = self.saying else {
            return (self.outbox, Answer { finish_reason, timings, ..Answer::default() });
        };
        let (pieces, answer) = saying.end(finish_reason, timings);
        self.outbox.push(pieces);
        (self.outbox, answer)
    }
}

impl Times {
    /// In milliseconds; a time that has not come yet counts as now.
    fn until(&self, now: Instant) -> Timings {
        let since_asked = |time: Option<Instant>| time.unwrap_or(now).duration_since(self.asked);
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        Timings {
            queue: milliseconds(since_asked(self.admitted).saturating_sub(self.preprocess)),
            preprocess: milliseconds(self.preprocess),
            first_token: milliseconds(since_asked(self.first_token)),
            total: milliseconds(since_asked(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_places_are_bounded_and_come_back() {
        let taken = Arc::new(AtomicUsize::new(0));
        let places: Vec<_> = (0..3).map(|_| Place::take(&taken, 3).unwrap()).collect();
        assert!(Place::take(&taken, 3).is_none());
        drop(places);
        assert_eq!(taken.load(Ordering::SeqCst), 0);
        assert!(Place::take(&taken, 3).is_some());
    }

    #[test]
    fn times_add_up() {
        let asked = Instant::now();
        let at = |ms| asked + Duration::from_millis(ms);
        let times =
            Times { asked, preprocess: Duration::from_millis(30), admitted: Some(at(50)), first_token: Some(at(80)) };
        let found = times.until(at(100));
        assert_eq!((found.queue, found.preprocess, found.first_token, found.total), (20.0, 30.0, 80.0, 100.0));
    }
}
