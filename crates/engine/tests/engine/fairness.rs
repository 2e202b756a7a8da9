//! R11: nobody starves, and the queue has an end.

use std::sync::Arc;

use karst_contract::{Code, FinishReason};
use karst_engine::Tuning;
use karst_engine::backend::sim::{At, Fault, Gate, Options, saying};

use crate::common::{CONTEXT, End, World, ask, picture, tokenizer, until};

#[test]
fn r11_a_full_queue_refuses_at_once_and_takes_again_later() {
    let gate = Gate::new();
    let options = Options { faults: vec![(At::Step(0), Fault::Stall(Arc::clone(&gate)))], ..Options::default() };
    let world = World::tuned(options, CONTEXT, Tuning { queue: 3, ..Tuning::default() });
    let first = world.engine.start(ask("First", vec![], 5));
    gate.reached();
    let waiting: Vec<_> = (0..3).map(|_| world.engine.start(ask("Next", vec![], 5))).collect();
    for _ in 0..2 {
        let (message, _) = world.ask(ask("Too many", vec![], 5)).failed(Code::QueueFull);
        assert_eq!(message, "3 requests are waiting, and no more may");
    }
    drop(waiting.into_iter().next());
    gate.open();
    assert_eq!(End::of(&first).finished().ids.len(), 5);
    until("the end", || world.engine.load().requests == 0);
    world.is_as_new();
}

/// A long answer about a sliced picture, and fifty short ones: each has a row in every step from its first to its last, and
/// all are over long before the long one is.
#[test]
fn r11_short_requests_are_answered_beside_a_long_one() {
    let gate = Gate::new();
    let stall = (At::Encode(0), Fault::Stall(Arc::clone(&gate)));
    let world = World::new(Options { faults: vec![stall], ..Options::default() });
    let long = world.engine.start(ask("Describe it", vec![picture(640, 480, 3)], 250));
    gate.reached();
    let short: Vec<_> = (0..50).map(|_| world.engine.start(ask("Hi", vec![], 4))).collect();
    gate.open();
    for generation in &short {
        assert_eq!(End::of(generation).finished().finish_reason, FinishReason::Length);
    }
    assert_eq!(End::of(&long).finished().ids.len(), 250);
    let end_of_long = steps_of(&world, 0).pop().unwrap();
    for number in 1..=50 {
        let steps = steps_of(&world, number);
        assert_eq!(steps.len(), 4);
        assert_eq!(steps[3] - steps[0], 3, "request {number} was left out of a step");
        assert!(steps[3] < end_of_long, "request {number} waited for the long one");
    }
    world.is_as_new();
}

/// I11: pictures of many requests wait for room, however small it is, and all are answered.
#[test]
fn i11_pictures_wait_for_room_and_are_all_answered() {
    let view = 588 * 1024;
    let tuning = Tuning { pixel_bytes: 3 * view, decoded_bytes: 10_000, ..Tuning::default() };
    let world = World::tuned(Options::default(), CONTEXT, tuning);
    let request = |seed| ask("What?", vec![picture(50, 50, seed), picture(40, 50, seed)], 3);
    let running: Vec<_> = (0..60).map(|seed| world.engine.start(request(seed))).collect();
    let mut most = 0;
    for generation in &running {
        most = most.max(world.engine.load().pixel_bytes);
        assert_eq!(End::of(generation).finished().ids.len(), 3);
    }
    assert!(most <= 3 * view, "{most} bytes of views");
    world.is_as_new();
}

/// The steps in which a request had a row.
fn steps_of(world: &World, number: u64) -> Vec<usize> {
    let log = world.log.lock().unwrap();
    log.rows.iter().enumerate().filter(|(_, rows)| rows.contains(&number)).map(|(step, _)| step).collect()
}

/// DESIGN: a request's answer does not depend on its company, sampled or not.
#[test]
fn a_request_alone_and_among_others_answers_the_same() {
    let mut requests: Vec<_> = (0..24)
        .map(|number| {
            let visuals = if number % 3 == 0 { vec![picture(60 + number, 50, number as u8)] } else { vec![] };
            ask(&"more words ".repeat(1 + 3 * number as usize), visuals, 3 + number as usize)
        })
        .collect();
    for request in requests.iter_mut().step_by(2) {
        request.options.sampling =
            karst_contract::Sampling { temperature: 2.0, seed: Some(5), ..karst_contract::Sampling::FAST };
    }
    let alone: Vec<_> =
        requests.iter().map(|request| World::new(Options::default()).ask(request.clone()).finished().ids).collect();
    for ahead in [false, true] {
        let world = World::new(Options { ahead, ..Options::default() });
        let running: Vec<_> = requests.iter().map(|request| world.engine.start(request.clone())).collect();
        let together: Vec<_> = running.iter().map(|generation| End::of(generation).finished().ids).collect();
        assert_eq!(alone, together, "steps ahead: {ahead}");
        assert!(world.log.lock().unwrap().widest >= 3, "they did run together");
        world.is_as_new();
    }
}

#[test]
fn seeds_are_repeatable_and_new_ones_differ() {
    let request = |seed| {
        let mut request = ask("What?", vec![], 40);
        request.options.sampling =
            karst_contract::Sampling { temperature: 2.0, top_k: 0, top_p: 1.0, seed, ..karst_contract::Sampling::FAST };
        request
    };
    // A rule that says nothing in particular: the simulation's noise decides.
    let world = World::new(Options::default());
    let ids = |seed| world.ask(request(seed)).finished().ids;
    assert_eq!(ids(Some(1)), ids(Some(1)));
    assert_eq!(ids(Some(u64::MAX)), ids(Some(u64::MAX)));
    assert_ne!(ids(Some(1)), ids(Some(2)));
    assert_ne!(ids(None), ids(None));
}

/// A step ahead of what is known, requests still end at their end token or when they are dropped, and the rows that were
/// begun for them in vain harm nobody: their slots and blocks are others' from the next step on.
#[test]
fn steps_ahead_of_an_end_harm_nobody() {
    let end = tokenizer().control().im_end;
    let said = vec![300, 301, 302, end];
    let world = World::new(Options { ahead: true, rule: saying(said.clone()), ..Options::default() });
    let running: Vec<_> = (0..40u8)
        .map(|number| {
            let visuals = if number % 4 == 1 { vec![picture(50, 60, number)] } else { vec![] };
            world.engine.start(ask(&"words ".repeat(1 + number as usize), visuals, 100))
        })
        .collect();
    for (number, generation) in running.into_iter().enumerate() {
        if number % 3 == 2 {
            drop(generation);
            continue;
        }
        let answer = End::of(&generation).finished();
        assert_eq!((answer.finish_reason, answer.ids), (FinishReason::Stop, said.clone()), "request {number}");
    }
    until("the end", || world.engine.load().requests == 0);
    world.holds_nothing();
}
