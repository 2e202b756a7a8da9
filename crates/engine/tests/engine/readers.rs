//! H5: slow readers, and readers of every kind.

use std::task::Poll;
use std::time::Duration;

use karst_contract::{Code, Event};
use karst_engine::Tuning;
use karst_engine::backend::sim::Options;

use crate::common::{CONTEXT, End, World, ask, until};

fn small() -> Tuning {
    Tuning { events: 8, ..Tuning::default() }
}

#[test]
fn a_slow_reader_stops_only_itself_and_loses_nothing() {
    let expected = World::new(Options::default()).ask(ask("Slow", vec![], 200)).finished();
    let world = World::tuned(Options::default(), CONTEXT, small());
    let slow = world.engine.start(ask("Slow", vec![], 200));
    for _ in 0..3 {
        let quick = world.ask(ask("Quick", vec![], 50)).finished();
        assert_eq!(quick.ids.len(), 50);
    }
    let rows = world.rows_of(0);
    assert!(rows < 20, "{rows} rows ran for a reader that takes nothing");
    let end = End::of(&slow);
    assert!(end.pieces.len() > 20);
    assert_eq!(end.finished().ids, expected.ids);
    world.is_as_new();
}

#[test]
fn h5_a_reader_that_takes_nothing_for_too_long_is_given_up() {
    let tuning = Tuning { reader: Duration::from_millis(80), ..small() };
    let world = World::tuned(Options::default(), CONTEXT, tuning);
    let slow = world.engine.start(ask("Slow", vec![], 200));
    let other = world.ask(ask("Quick", vec![], 100)).finished();
    assert_eq!(other.ids.len(), 100);
    until("the end", || world.engine.load().requests == 0);
    let end = End::of(&slow);
    let streamed = end.streamed();
    let (message, answer) = end.failed(Code::SlowReader);
    assert_eq!(message, "nothing was read from the stream for 0.08 seconds");
    assert_eq!(answer.text, streamed, "what was said until then was sent");
    world.is_as_new();
}

/// Taking a little now and then is enough.
#[test]
fn a_reader_that_takes_something_in_time_is_waited_for() {
    let tuning = Tuning { reader: Duration::from_secs(1), ..small() };
    let world = World::tuned(Options::default(), CONTEXT, tuning);
    let slow = world.engine.start(ask("Slow", vec![], 60));
    let start = std::time::Instant::now();
    let mut ended = false;
    while !ended {
        std::thread::sleep(Duration::from_millis(40));
        match slow.next_blocking().unwrap() {
            Event::Finish(answer) => {
                assert_eq!(answer.ids.len(), 60);
                ended = true;
            }
            Event::Failed { failure, .. } => panic!("{failure}"),
            _ => {}
        }
    }
    assert!(start.elapsed() > tuning.reader, "it was slower in all than any single wait may be");
}

#[test]
fn a_generation_is_read_without_waiting() {
    let world = World::new(Options::default());
    let generation = world.engine.start(ask("What?", vec![], 10));
    let mut events = Vec::new();
    loop {
        match generation.try_next() {
            Poll::Pending => std::thread::yield_now(),
            Poll::Ready(Some(event)) => events.push(event),
            Poll::Ready(None) => break,
        }
    }
    assert!(matches!(events.last(), Some(Event::Finish(_))), "{events:?}");
}

#[test]
fn a_generation_is_read_by_tasks() {
    let world = World::new(Options::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let generation = world.engine.start(ask("What?", vec![], 10));
    let events = runtime.block_on(async {
        let mut events = Vec::new();
        while let Some(event) = generation.next().await {
            events.push(event);
        }
        events
    });
    assert!(matches!(events.last(), Some(Event::Finish(_))), "{events:?}");
}

#[test]
fn engines_and_generations_go_to_any_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<karst_engine::Engine>();
    shared::<karst_engine::Generation>();
}
