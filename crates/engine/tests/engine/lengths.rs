//! P5, A1, A3, I10: counts and lengths, each refused with its numbers before anything is done.

use karst_contract::{Code, FinishReason, Message, Part, Request, Role, limits};
use karst_engine::Tuning;
use karst_engine::backend::sim::{Options, hashed};
use karst_engine::plan::Bounds;

use crate::common::{World, ask, good, greedy, picture, still};

fn world_of(context: usize) -> World {
    World::tuned(Options::default(), context, Tuning::default())
}

fn prompt_tokens(request: &Request) -> usize {
    world_of(10).engine.inspect(request).unwrap().prompt_tokens
}

#[test]
fn p5_a_prompt_of_the_context_less_one_is_answered_with_one_token() {
    let request = ask("What is in the picture?", vec![picture(60, 40, 9)], 100);
    let need = prompt_tokens(&request);
    let answer = world_of(need + 1).ask(request.clone()).finished();
    assert_eq!((answer.ids.len(), answer.finish_reason), (1, FinishReason::Length));
    for limit in [need, need - 1, 1] {
        let world = world_of(limit);
        let (message, _) = world.ask(request.clone()).failed(Code::ContextOverflow);
        let numbers = format!("the prompt has {need} tokens, 64 of them for pictures; the context has {limit}");
        assert!(message.starts_with(&numbers), "{message}");
        assert_eq!(world.steps(), 0);
    }
}

/// A3: an answer is cut where the context ends, whatever was asked for.
#[test]
fn a3_max_tokens_is_clamped_to_the_rest_of_the_context() {
    let need = prompt_tokens(&ask("Go on", vec![], 1));
    for (asked, said) in [(0, 1), (1, 1), (19, 19), (20, 20), (21, 20), (usize::MAX, 20)] {
        let answer = world_of(need + 20).ask(ask("Go on", vec![], asked)).finished();
        assert_eq!((answer.ids.len(), answer.finish_reason), (said, FinishReason::Length), "{asked} asked");
    }
}

/// A1: options out of range never reach the engine: the parser is the only way to make them from outside.
#[test]
fn a1_numbers_out_of_range_are_refused_by_name() {
    use karst_contract::{OptionValue, Options};
    for value in [0.0, -1.0, 1.5, 2e9, 1e12, f64::NAN] {
        let error = Options::parse(&[("maxTokens".to_owned(), OptionValue::Number(value))]).unwrap_err();
        assert!(error.to_string().contains("maxTokens"), "{error}");
    }
}

/// I10: rows are counted before pictures are decoded: this one's pixels could not be.
#[test]
fn i10_pictures_that_exceed_the_context_are_not_decoded() {
    let mut png = std::fs::read(crate::common::models().join("samples/sliced-text.png")).unwrap();
    let middle = png.len() / 2;
    png[middle] ^= 0xff;
    let mut damaged = still(1, 1, 1);
    damaged.source = karst_contract::Source::Bytes(png.into());
    let request = ask("Read", vec![Part::Picture(damaged)], 5);
    let need = prompt_tokens(&request);
    assert!(need > 5 * 64);
    world_of(need).ask(request.clone()).failed(Code::ContextOverflow);
    let world = world_of(need + 10);
    world.ask(request).failed(Code::InvalidPicture);
    assert_eq!(world.engine.load().requests, 0);
}

#[test]
fn i10_too_many_pictures_are_refused_by_count() {
    let world = world_of(100_000);
    let many = |count| ask("What?", vec![picture(14, 14, 1); count], 1);
    assert!(world.engine.inspect(&many(limits::MAX_PICTURES)).is_ok());
    let error = world.engine.inspect(&many(limits::MAX_PICTURES + 1)).unwrap_err();
    assert_eq!(error.code, Code::TooManyPictures);
    assert_eq!(error.message, "the conversation has 65 pictures, at most 64");
}

#[test]
fn p5_an_empty_question_is_answered() {
    let world = world_of(100);
    let mut empty = ask("", vec![], 3);
    assert_eq!(world.ask(empty.clone()).finished().ids.len(), 3);
    empty.messages[0].content.clear();
    assert_eq!(world.ask(empty).finished().ids.len(), 3);
}

fn conversation(roles: &[Role]) -> Request {
    let message = |&role| Message { role, content: vec![Part::Text("x".to_owned())], reasoning: None };
    Request { messages: roles.iter().map(message).collect(), options: greedy(3) }
}

#[test]
fn roles_out_of_place_are_refused() {
    use Role::{Assistant, System, User};
    let world = world_of(20_000);
    let refused = |request: Request| drop(world.ask(request).failed(Code::InvalidMessage));
    let many = vec![User; limits::MAX_MESSAGES + 1];
    for roles in [&[][..], &[User, System, User], &[User, Assistant], &[System], &[Assistant, User], &many] {
        refused(conversation(roles));
    }
    let mut thoughts = conversation(&[User]);
    thoughts.messages[0].reasoning = Some("hm".to_owned());
    refused(thoughts);
    assert_eq!(world.ask(conversation(&[System, User, Assistant, User])).finished().ids.len(), 3);
}

#[test]
fn p7_text_that_no_context_holds_is_refused_before_it_is_tokenised() {
    let world = world_of(20_000);
    let start = std::time::Instant::now();
    world.ask(ask(&"a".repeat(limits::MAX_TEXT_BYTES), vec![], 1)).failed(Code::ContextOverflow);
    world.ask(ask(&"a".repeat(50 << 20), vec![], 1)).failed(Code::ContextOverflow);
    assert!(start.elapsed().as_secs() < 5);
    assert_eq!(world.ask(good()).finished().ids.len(), 7);
}

/// A cache that is smaller than all contexts together makes requests wait, not fail.
#[test]
fn requests_wait_for_blocks_of_the_cache() {
    let bounds = Bounds { slots: 4, blocks: 5, block: 16, chunk: 32, pack_rows: 64 };
    let world = World::tuned(Options { bounds, rule: hashed(900), ..Options::default() }, 80, Tuning::default());
    let running: Vec<_> = (0..6).map(|_| world.engine.start(ask("Go on", vec![], 40))).collect();
    for generation in &running {
        assert_eq!(crate::common::End::of(generation).finished().ids.len(), 40);
    }
    assert_eq!(world.log.lock().unwrap().widest, 1, "one at a time fits");
    assert_eq!(world.engine.load().blocks_free, 5);
}
