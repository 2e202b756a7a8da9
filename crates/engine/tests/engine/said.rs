//! U2, U4, A8: tokens become text: ends, stop strings, thoughts, log-probabilities.

use karst_contract::{Event, FinishReason};
use karst_engine::backend::sim::{Options, saying};

use crate::common::{End, World, ask, tokenizer};

/// An engine that says these ids and nothing else.
fn engine_saying(ids: Vec<u32>) -> World {
    World::new(Options { rule: saying(ids), ..Options::default() })
}

/// One token a character, so that every border is a token border.
fn spelled(text: &str) -> Vec<u32> {
    text.chars().flat_map(|c| tokenizer().encode_text(&c.to_string())).collect()
}

fn end() -> u32 {
    tokenizer().control().im_end
}

#[test]
fn an_end_token_ends_the_answer_and_is_not_part_of_it() {
    for end in [tokenizer().control().im_end, tokenizer().control().end_of_text] {
        let said: Vec<u32> = spelled("Yes.").into_iter().chain([end]).collect();
        let answer = engine_saying(said.clone()).ask(ask("Well?", vec![], 50)).finished();
        assert_eq!((answer.text.as_str(), answer.finish_reason), ("Yes.", FinishReason::Stop));
        assert_eq!(answer.ids, said);
        assert_eq!(answer.usage.completion_tokens, said.len());
        assert_eq!(answer.reasoning, None);
    }
}

#[test]
fn u4_a_stop_string_over_token_borders_ends_the_answer() {
    let text = "one two STOP three";
    let whole = tokenizer().encode_text(text);
    let halves = text.char_indices().map(|(at, _)| {
        let (left, right) = text.split_at(at);
        [tokenizer().encode_text(left), tokenizer().encode_text(right)].concat()
    });
    for ids in halves.chain([whole, spelled(text)]) {
        let mut request = ask("Count", vec![], 100);
        request.options.stop = vec!["never".to_owned(), "STOP".to_owned()];
        let ended = engine_saying(ids).ask(request);
        assert_eq!(ended.streamed(), "one two ", "no part of the stop string was sent");
        let answer = ended.finished();
        assert_eq!((answer.text.as_str(), answer.finish_reason), ("one two ", FinishReason::Stop));
    }
}

#[test]
fn u4_what_only_begins_like_a_stop_string_is_said_at_the_end() {
    let mut request = ask("Count", vec![], 100);
    request.options.stop = vec!["STOP".to_owned()];
    let ids = spelled("a STO").into_iter().chain([end()]).collect();
    let answer = engine_saying(ids).ask(request).finished();
    assert_eq!((answer.text.as_str(), answer.finish_reason), ("a STO", FinishReason::Stop));
}

#[test]
fn thoughts_come_apart_from_the_answer() {
    let thoughts = spelled("I see two.");
    let said: Vec<u32> =
        [thoughts.clone(), vec![tokenizer().control().think_end], spelled("\n\n2"), vec![end()]].concat();
    let mut request = ask("How many?", vec![], 100);
    request.options.thinking = true;
    let ended = engine_saying(said).ask(request);
    let thought = |event: &Event| if let Event::Reasoning(text) = event { text.clone() } else { String::new() };
    assert_eq!(ended.pieces.iter().map(thought).collect::<String>().trim_end(), "I see two.");
    let first_text = ended.pieces.iter().position(|event| matches!(event, Event::Text(_))).unwrap();
    assert!(ended.pieces[first_text..].iter().all(|event| matches!(event, Event::Text(_))), "thoughts come first");
    let answer = ended.finished();
    assert_eq!((answer.text.as_str(), answer.reasoning.as_deref()), ("2", Some("I see two.")));
    assert!(answer.usage.reasoning_tokens >= thoughts.len(), "{:?}", answer.usage);
    assert!(answer.usage.reasoning_tokens < answer.usage.completion_tokens);
}

#[test]
fn thoughts_that_nobody_asked_for_are_kept_apart_all_the_same() {
    let tokenizer = tokenizer();
    let control = tokenizer.control();
    let said = [vec![control.think], spelled("Two?"), vec![control.think_end], spelled("2"), vec![end()]].concat();
    let ended = engine_saying(said).ask(ask("How many?", vec![], 100));
    let thoughts = ended.pieces.iter().filter(|event| matches!(event, Event::Reasoning(_))).count();
    let answer = ended.finished();
    assert!(thoughts > 0);
    assert_eq!((answer.text.as_str(), answer.reasoning.as_deref()), ("2", Some("Two?")));
}

#[test]
fn thoughts_that_never_end_are_all_there_is() {
    let mut request = ask("How many?", vec![], 5);
    request.options.thinking = true;
    let answer = engine_saying(spelled("abcdefgh")).ask(request).finished();
    assert_eq!((answer.text.as_str(), answer.reasoning.as_deref()), ("", Some("abcde")));
    assert_eq!(answer.finish_reason, FinishReason::Length);
}

#[test]
fn u2_an_answer_cut_inside_a_character_is_whole_text() {
    let whole = tokenizer().encode_text("好🧑‍🚀x");
    for tokens in 1..=whole.len() {
        let ended = engine_saying(whole.clone()).ask(ask("Draw", vec![], tokens));
        let answer = ended.finished();
        assert_eq!(answer.ids, whole[..tokens]);
        assert_eq!(answer.finish_reason, FinishReason::Length);
    }
}

#[test]
fn log_probabilities_come_with_the_texts_of_tokens() {
    let ids: Vec<u32> = spelled("Yes").into_iter().chain([end()]).collect();
    for rivals in [0, 3] {
        let mut request = ask("Well?", vec![], 50);
        request.options.logprobs = Some(rivals);
        let answer = engine_saying(ids.clone()).ask(request).finished();
        let found = answer.logprobs.unwrap();
        assert_eq!(found.iter().map(|one| one.chosen.id).collect::<Vec<_>>(), ids);
        let texts: Vec<_> = found.iter().map(|one| one.chosen.text.as_str()).collect();
        assert_eq!(texts[..3], ["Y", "e", "s"]);
        for one in found {
            assert_eq!(one.top.len(), rivals as usize);
            assert!(one.chosen.logprob < 0.0 && one.top.iter().all(|rival| rival.logprob <= one.chosen.logprob));
            assert!(one.top.first().is_none_or(|best| *best == one.chosen), "greedy takes the likeliest");
        }
    }
    assert_eq!(engine_saying(ids).ask(ask("Well?", vec![], 50)).finished().logprobs, None);
}

#[test]
fn usage_and_times_are_told() {
    let world = World::new(Options::default());
    let request = ask("What?", vec![crate::common::picture(640, 480, 3)], 6);
    let plan = world.engine.inspect(&request).unwrap();
    let answer = world.ask(request).finished();
    assert_eq!(answer.usage.prompt_tokens, plan.prompt_tokens);
    assert_eq!((answer.usage.image_tokens, plan.image_tokens), (3 * 64, 3 * 64));
    assert_eq!((answer.usage.completion_tokens, answer.usage.cached_tokens), (6, 0));
    let times = answer.timings;
    assert!(times.preprocess > 0.0 && times.queue >= 0.0);
    assert!(times.queue + times.preprocess <= times.first_token && times.first_token <= times.total, "{times:?}");
}

#[test]
fn every_end_of_a_stream_is_its_answer() {
    let world = World::new(Options::default());
    for tokens in [1, 2, 63, 64, 65, 66, 67, 200] {
        let ended = End::of(&world.engine.start(ask("What?", vec![], tokens)));
        let streamed = ended.streamed();
        assert_eq!(ended.finished().text, streamed.trim_start_matches('\n'));
    }
}
