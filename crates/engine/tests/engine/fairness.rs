//! R11: nobody starves, and the queue has an end.

use std::sync::Arc;

use karst_contract::{Code, FinishReason};
use karst_engine::Tuning;
use karst_engine::backend::sim::{At, Fault, Gate, Options};

use crate::common::{CONTEXT, End, World, ask, picture, until};

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

/// One long clip and many short texts: each text is answered while the clip is still being looked at.
#[test]
fn r11_short_requests_are_answered_beside_a_long_one() {
    let gate = Gate::new();
    let stall = (At::Encode(3), Fault::Stall(Arc::clone(&gate)));
    // The stall shows only that encodes come one by one between steps; it is open from the start.
    gate.open();
    let world = World::new(Options { faults: vec![stall], ..Options::default() });
    let long = world.engine.start(ask("Describe it", vec![picture(900, 400, 3)], 100));
    let mut steps = Vec::new();
    for _ in 0..50 {
        let before = world.steps();
        let answer = world.ask(ask("Hi", vec![], 4)).finished();
        assert_eq!(answer.finish_reason, FinishReason::Length);
        steps.push(world.steps() - before);
    }
    assert!(steps.iter().all(|&steps| steps <= 20), "a short answer took {steps:?} steps");
    assert_eq!(End::of(&long).finished().ids.len(), 100);
    world.is_as_new();
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
    let world = World::new(Options::default());
    let running: Vec<_> = requests.iter().map(|request| world.engine.start(request.clone())).collect();
    let together: Vec<_> = running.iter().map(|generation| End::of(generation).finished().ids).collect();
    assert_eq!(alone, together);
    assert!(world.log.lock().unwrap().widest >= 3, "they did run together");
    world.is_as_new();
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
