//! R1, R2, R9, C4: a request that is cancelled, dropped or closed at any time ends once, frees everything and disturbs nobody.

use std::sync::Arc;
use std::time::Duration;

use karst_contract::{Code, Event, FinishReason, Request};
use karst_engine::backend::sim::{At, Fault, Gate, Options};
use karst_engine::plan::Bounds;
use karst_engine::{Generation, Tuning};

use crate::common::{CONTEXT, End, World, ask, picture, until};

/// How a reader leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Leave {
    Cancel,
    Drop,
    Close,
}

const ALL: [Leave; 3] = [Leave::Cancel, Leave::Drop, Leave::Close];

/// A request that is stopped at a gate, in some state.
struct Scene {
    world: World,
    gate: Arc<Gate>,
    victim: Generation,
    /// The victim's number.
    number: u64,
    /// Another request that shares the engine, and what it must answer.
    other: Option<Generation>,
}

fn gated(at: At, slots: usize) -> (World, Arc<Gate>) {
    let gate = Gate::new();
    let mut options = Options { faults: vec![(at, Fault::Stall(Arc::clone(&gate)))], ..Options::default() };
    options.bounds = Bounds { slots, ..options.bounds };
    (World::new(options), gate)
}

fn stopped(at: At, request: Request) -> Scene {
    let (world, gate) = gated(at, 4);
    let victim = world.engine.start(request);
    gate.reached();
    Scene { world, gate, victim, number: 0, other: None }
}

fn queued() -> Scene {
    let (world, gate) = gated(At::Step(0), 1);
    let other = world.engine.start(ask("Who is first?", vec![], 5));
    gate.reached();
    let victim = world.engine.start(ask("Who is second?", vec![picture(50, 50, 3)], 5));
    Scene { world, gate, victim, number: 1, other: Some(other) }
}

fn in_vision() -> Scene {
    // Six views in batches of one: the first is being encoded.
    stopped(At::Encode(0), ask("What?", vec![picture(900, 600, 3)], 5))
}

fn in_prefill() -> Scene {
    stopped(At::Step(1), ask(&"long ".repeat(150), vec![], 5))
}

fn in_decode() -> Scene {
    stopped(At::Step(3), ask("What?", vec![], 40))
}

fn at_the_last_token() -> Scene {
    stopped(At::Step(3), ask("What?", vec![], 4))
}

/// A reader leaves; the step that ran is the last one that knew of the request.
fn leave(scene: Scene, how: Leave) {
    let Scene { world, gate, victim, number, other } = scene;
    let before = world.rows_of(number);
    match how {
        Leave::Cancel => {
            victim.cancel();
            victim.cancel();
            gate.open();
            let answer = End::of(&victim).aborted();
            assert_eq!(answer.usage.completion_tokens, answer.ids.len());
        }
        Leave::Drop => {
            drop(victim);
            gate.open();
        }
        Leave::Close => return close(&world, &gate, &victim, other),
    }
    if let Some(other) = other {
        let answer = End::of(&other).finished();
        assert_eq!((answer.finish_reason, answer.ids.len()), (FinishReason::Length, 5));
    }
    until("the end", || world.engine.load().requests == 0);
    assert!(world.rows_of(number) <= before, "it ran in a step after it had been cancelled");
    world.is_as_new();
}

/// R9: closing in any state, twice, from two threads.
fn close(world: &World, gate: &Gate, victim: &Generation, other: Option<Generation>) {
    std::thread::scope(|scope| {
        let closers = [(); 2].map(|()| scope.spawn(|| world.engine.close()));
        std::thread::sleep(Duration::from_millis(5));
        assert!(closers.iter().all(|closer| !closer.is_finished()), "a close waits for the step that runs");
        gate.open();
    });
    match End::of(victim).last {
        Event::Failed { failure, .. } => assert_eq!(failure.code, Code::Closed),
        // The step that ran was its last one.
        Event::Finish(answer) => assert_eq!((answer.finish_reason, answer.ids.len()), (FinishReason::Length, 4)),
        other => panic!("{other:?}"),
    }
    other.into_iter().for_each(|other| drop(End::of(&other).failed(Code::Closed)));
    world.engine.close();
    world.ask(ask("Hello", vec![], 1)).failed(Code::Closed);
    assert!(world.log.lock().unwrap().violations.is_empty());
}

#[test]
fn r1_cancel_matrix_queued() {
    ALL.into_iter().for_each(|how| leave(queued(), how));
}

#[test]
fn r1_cancel_matrix_vision() {
    ALL.into_iter().for_each(|how| leave(in_vision(), how));
}

#[test]
fn r1_cancel_matrix_prefill() {
    ALL.into_iter().for_each(|how| leave(in_prefill(), how));
}

#[test]
fn r1_cancel_matrix_decode() {
    ALL.into_iter().for_each(|how| leave(in_decode(), how));
}

#[test]
fn r1_cancel_matrix_last_token() {
    ALL.into_iter().for_each(|how| leave(at_the_last_token(), how));
}

#[test]
fn r1_cancel_matrix_back_pressure() {
    for how in [Leave::Cancel, Leave::Drop] {
        let tuning = Tuning { events: 4, ..Tuning::default() };
        let world = World::tuned(Options::default(), CONTEXT, tuning);
        let victim = world.engine.start(ask("What?", vec![], 300));
        until("a full channel", || world.steps() >= 2 && quiet(&world));
        match how {
            Leave::Drop => drop(victim),
            _ => {
                victim.cancel();
                let answer = End::of(&victim).aborted();
                assert!(answer.ids.len() < 300 && !answer.text.is_empty());
            }
        }
        until("the end", || world.engine.load().requests == 0);
        world.is_as_new();
    }
}

/// No step in a while.
fn quiet(world: &World) -> bool {
    let steps = world.steps();
    std::thread::sleep(Duration::from_millis(20));
    steps == world.steps()
}

#[test]
fn r1_cancel_before_anything_has_happened() {
    let world = World::new(Options::default());
    for _ in 0..200 {
        let generation = world.engine.start(ask("What?", vec![picture(50, 50, 3)], 5));
        generation.cancel();
        assert!(End::of(&generation).aborted().ids.is_empty());
    }
    world.is_as_new();
}

/// R2: cancel, finish and drop race freely; each request has one end, and it is the last event ([`End::of`] checks it).
#[test]
fn r2_one_terminal_event_in_every_interleaving() {
    let world = World::new(Options::default());
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let engine = &world.engine;
            scope.spawn(move || {
                for round in 0..60u64 {
                    let tokens = 1 + (thread + round) as usize % 5;
                    let visuals = if round % 7 == 0 { vec![picture(40, 40, 5)] } else { vec![] };
                    let generation = engine.start(ask("What?", visuals, tokens));
                    let taken = (round % 4) as usize;
                    let early: Vec<Event> = (0..taken).map_while(|_| generation.next_blocking()).collect();
                    if early.iter().any(|event| matches!(event, Event::Finish(_))) {
                        assert_eq!(generation.next_blocking(), None);
                        generation.cancel();
                        assert_eq!(generation.next_blocking(), None, "cancelling what has ended says nothing");
                        continue;
                    }
                    match (thread + round) % 3 {
                        0 => drop(generation),
                        1 => {
                            generation.cancel();
                            let reason = End::of(&generation).last;
                            assert!(matches!(reason, Event::Finish(_)), "{reason:?}");
                        }
                        _ => drop(End::of(&generation)),
                    }
                }
            });
        }
    });
    until("the end", || world.engine.load().requests == 0);
    world.is_as_new();
}

/// R9: dropping the engine is closing it, whatever runs; generations outlive it.
#[test]
fn r9_dropping_the_engine_ends_its_requests() {
    let world = World::new(Options::default());
    let running: Vec<_> = (0..10).map(|_| world.engine.start(ask("What?", vec![picture(30, 30, 1)], 400))).collect();
    drop(world);
    for generation in running {
        End::of(&generation).failed(Code::Closed);
    }
}
