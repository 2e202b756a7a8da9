//! R3, R4, R5, R10: a fault ends the requests that it must end, and no other.

use karst_contract::{Answer, Code, Event, Request};
use karst_engine::backend::sim::{At, Fault, Options};

use crate::common::{End, World, ask, golden, good, picture};

/// Three requests at once: a sliced picture, a prompt of several chunks, a short one.
fn company() -> Vec<Request> {
    vec![
        ask("What is this?", vec![picture(640, 480, 7)], 12),
        ask(&"word ".repeat(120), vec![], 9),
        ask("Hello", vec![], 15),
    ]
}

fn run(world: &World) -> Vec<End> {
    let generations: Vec<_> = company().into_iter().map(|request| world.engine.start(request)).collect();
    generations.iter().map(End::of).collect()
}

/// What each of the company answers, and how many steps and encodes that takes.
fn undisturbed() -> (Vec<Answer>, u64, u64) {
    let world = World::new(Options::default());
    let answers = run(&world).into_iter().map(End::finished).collect();
    let log = world.log.lock().unwrap();
    assert!(log.violations.is_empty(), "{:?}", log.violations);
    (answers, log.steps, log.encodes)
}

/// Runs the company under a fault. At most one fails, with `code`; the others answer as undisturbed; the engine goes on.
fn fails_at_most_one(fault: (At, Fault), code: Code) -> bool {
    let (expected, ..) = undisturbed();
    let at = fault.0;
    let world = World::failing(vec![fault]);
    let mut failures = 0;
    for (end, expected) in run(&world).into_iter().zip(expected) {
        match &end.last {
            Event::Finish(answer) => assert_eq!(answer.ids, expected.ids),
            _ => {
                let (_, answer) = end.failed(code);
                assert!(expected.ids.starts_with(&answer.ids), "what was said until then is right");
                failures += 1;
            }
        }
    }
    assert!(failures <= 1);
    // Timing may have let everybody finish in fewer calls; the fault waits for a later one.
    while !world.has_passed(at) {
        world.ask(good());
    }
    world.is_as_new();
    failures == 1
}

#[test]
fn r3_oom_at_every_step_fails_one_request() {
    let (_, steps, _) = undisturbed();
    let struck =
        (0..steps).filter(|&step| fails_at_most_one((At::Step(step), Fault::RowOutOfMemory), Code::OutOfMemory));
    let struck = struck.count() as u64;
    assert!(struck >= steps / 4, "the fault struck {struck} of {steps} times");
}

/// A step that is refused as a whole is tried again row by row; a row that is alone fails.
#[test]
fn r3_oom_of_whole_steps_fails_at_most_the_culprit() {
    let (_, steps, _) = undisturbed();
    for step in 0..steps {
        fails_at_most_one((At::Step(step), Fault::OutOfMemory), Code::OutOfMemory);
        fails_at_most_one((At::Step(step), Fault::Failed), Code::Internal);
    }
    let world = World::failing((0..3).map(|step| (At::Step(step), Fault::OutOfMemory)).collect());
    world.ask(ask("Hello", vec![], 5)).failed(Code::OutOfMemory);
    world.ask(ask("Hello", vec![], 5)).failed(Code::OutOfMemory);
    world.ask(ask("Hello", vec![], 5)).failed(Code::OutOfMemory);
    world.is_as_new();
}

#[test]
fn r3_oom_at_every_encode_fails_the_picture_alone() {
    let (_, _, encodes) = undisturbed();
    assert!(encodes >= 2, "{encodes}");
    for encode in 0..encodes {
        assert!(fails_at_most_one((At::Encode(encode), Fault::OutOfMemory), Code::OutOfMemory));
        assert!(fails_at_most_one((At::Encode(encode), Fault::Failed), Code::Internal));
    }
}

/// R5: never token 0, never punctuation: the request fails.
#[test]
fn r5_nan_at_every_step_fails_one_request() {
    let (_, steps, _) = undisturbed();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let fault = |step| fails_at_most_one((At::Step(step), Fault::Logit(value)), Code::NonFinite);
        let struck = (0..steps).filter(|&step| fault(step)).count() as u64;
        assert!(struck >= steps / 4, "{value} struck {struck} of {steps} times");
    }
}

/// Runs the company under a fault that is final: whoever has not finished gets `code`, and so does everybody afterwards.
fn is_final(fault: (At, Fault), code: Code) {
    let (expected, ..) = undisturbed();
    let at = fault.0;
    let world = World::failing(vec![fault]);
    let mut failures = 0;
    for (end, expected) in run(&world).into_iter().zip(expected) {
        match &end.last {
            Event::Finish(answer) => assert_eq!(answer.ids, expected.ids),
            _ => {
                let (message, answer) = end.failed(code);
                assert!(message.contains("was told to"), "the first cause is named: {message}");
                assert!(expected.ids.starts_with(&answer.ids));
                failures += 1;
            }
        }
    }
    if failures == 0 {
        let struck = (0..50).any(|_| matches!(world.ask(good()).last, Event::Failed { .. }));
        assert!(struck, "{at:?} never came");
    }
    for _ in 0..3 {
        let (message, answer) = world.ask(good()).failed(code);
        assert!(message.contains("was told to"), "{message}");
        assert_eq!(answer, Answer::default());
    }
    assert_eq!(world.engine.failure().unwrap().code, code);
    assert!(world.engine.inspect(&good()).is_ok(), "what needs no device still works");
    world.engine.close();
    assert_eq!(world.engine.failure().unwrap().code, code, "the first failure stays");
}

#[test]
fn r10_panic_at_every_step_fails_every_waiting_request() {
    let (_, steps, encodes) = undisturbed();
    (0..steps).for_each(|step| is_final((At::Step(step), Fault::Panic), Code::Internal));
    (0..encodes).for_each(|encode| is_final((At::Encode(encode), Fault::Panic), Code::Internal));
}

#[test]
fn r4_poison_is_final() {
    let (_, steps, encodes) = undisturbed();
    (0..steps).for_each(|step| is_final((At::Step(step), Fault::DeviceLost), Code::DeviceLost));
    (0..encodes).for_each(|encode| is_final((At::Encode(encode), Fault::DeviceLost), Code::DeviceLost));
}

/// A new engine in the same process is not poisoned by the old one.
#[test]
fn r4_another_engine_goes_on() {
    let lost = World::failing(vec![(At::Step(0), Fault::DeviceLost)]);
    let other = World::new(Options::default());
    lost.ask(good()).failed(Code::DeviceLost);
    assert_eq!(other.ask(good()).finished().ids, golden().ids);
}
