//! Sampled ids to text: rows U1 to U5, thoughts, stop strings.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::sync::Arc;

use karst_prompt::{Piece, Tokenizer, Transcript};
use proptest::prelude::*;

/// What came out of one answer.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    reasoning: String,
    text: String,
    stopped: bool,
}

/// Pushes all ids; checks on the way that the pieces are the whole.
fn say(tokenizer: &Arc<Tokenizer>, thinking: bool, stop: &[&str], ids: &[u32]) -> Said {
    let stop = stop.iter().map(|stop| (*stop).to_owned()).collect();
    let mut transcript = Transcript::new(tokenizer, thinking, stop);
    let mut said = Said { reasoning: String::new(), text: String::new(), stopped: false };
    let mut take = |transcript: &Transcript, pieces: Vec<Piece>| {
        for piece in pieces {
            let (whole, piece) = match piece {
                Piece::Reasoning(piece) => (&mut said.reasoning, piece),
                Piece::Text(piece) => (&mut said.text, piece),
            };
            assert!(!piece.is_empty());
            whole.push_str(&piece);
        }
        assert_eq!((said.reasoning.as_str(), said.text.as_str()), (transcript.reasoning(), transcript.text()));
    };
    for &id in ids {
        let pieces = transcript.push(id);
        take(&transcript, pieces);
    }
    for _ in 0..2 {
        let pieces = transcript.finish();
        take(&transcript, pieces);
    }
    said.stopped = transcript.stopped();
    said
}

fn text(tokenizer: &Arc<Tokenizer>, stop: &[&str], ids: &[u32]) -> String {
    say(tokenizer, false, stop, ids).text
}

fn thoughts(ids: &[u32]) -> (String, String) {
    let said = say(&common::demo(), true, &[], ids);
    (said.reasoning, said.text)
}

/// One id a byte.
fn bytes(tokenizer: &Tokenizer, text: &[u8]) -> Vec<u32> {
    let ids = 0..u32::try_from(tokenizer.vocabulary_len()).unwrap();
    let single: Vec<(u8, u32)> = ids
        .filter_map(|id| tokenizer.token_bytes(id).filter(|bytes| bytes.len() == 1).map(|bytes| (bytes[0], id)))
        .collect();
    text.iter().map(|byte| single.iter().find(|(known, _)| known == byte).unwrap().1).collect()
}

fn spell(text: &str) -> Vec<u32> {
    bytes(&common::demo(), text.as_bytes())
}

/// Ids without the two that switch between thoughts and answer, and without those that end a turn.
fn is_plain(tokenizer: &Tokenizer, id: u32) -> bool {
    let control = tokenizer.control();
    ![control.think, control.think_end, control.im_end, control.end_of_text].contains(&id)
}

fn any_ids() -> impl Strategy<Value = Vec<u32>> {
    // Byte tokens are the first 256 of every vocabulary of this kind: half of all draws cut characters.
    prop::collection::vec(prop_oneof![0_u32..256, 0_u32..152_000], 0..48)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn u1_u5_the_stream_is_the_whole_decode_for_any_ids(ids in any_ids()) {
        for tokenizer in common::tokenizers() {
            let ids: Vec<u32> = ids.iter().copied().filter(|&id| is_plain(&tokenizer, id)).collect();
            let whole = tokenizer.decode(&ids);
            prop_assert_eq!(&text(&tokenizer, &[], &ids), whole.trim_start_matches('\n'));
            prop_assert_eq!(&say(&tokenizer, true, &[], &ids).reasoning, whole.trim_matches('\n'));
        }
    }

    #[test]
    fn u4_stops_are_found_wherever_the_tokens_are_cut(
        text in "[abé🚀]{0,24}",
        stops in prop::collection::vec("[abé🚀]{1,5}", 0..4),
        cuts in prop::collection::vec(1_usize..9, 1..12),
    ) {
        let tokenizer = common::demo();
        let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
        let first = stops.iter().filter_map(|stop| text.find(stop).map(|start| (start + stop.len(), start))).min();
        let expected = first.map_or(text.as_str(), |(_, start)| &text[..start]);
        // In tokens of the vocabulary, byte by byte, and in words of changing length.
        let mut words = Vec::new();
        let mut rest = text.as_str();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break }
            let end = (*cut..=rest.len()).find(|&end| rest.is_char_boundary(end)).unwrap_or(rest.len());
            words.extend(tokenizer.encode_text(&rest[..end]));
            rest = &rest[end..];
        }
        for ids in [tokenizer.encode_text(&text), spell(&text), words] {
            let said = say(&tokenizer, false, &stops, &ids);
            prop_assert_eq!((said.text.as_str(), said.stopped), (expected, first.is_some()));
        }
    }

    #[test]
    fn u3_no_piece_is_lost_or_said_twice_with_thoughts_and_stops(ids in any_ids(), thinking: bool) {
        // `say` compares the pieces with the whole after every push.
        let said = say(&common::demo(), thinking, &["a", "\u{fffd}\u{fffd}", "<box>"], &ids);
        prop_assert!(!said.text.starts_with('\n') && !said.reasoning.ends_with('\n') && !said.text.contains('a'));
    }
}

#[test]
fn u1_every_cut_of_every_kind_of_character_is_the_whole_decode() {
    for tokenizer in common::tokenizers() {
        for text_bytes in [
            "aé汉🧑\u{200d}🚀z".as_bytes(),
            b"\xe4\xb8",
            b"\xf0\x9f\xa7x",
            b"\xff\xfe\xc0\xafa",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xe4\xe4\xb8\xad\x80\x80",
            b"a\xf0\x9f\xe6\xb1\x89",
        ] {
            let ids = bytes(&tokenizer, text_bytes);
            assert_eq!(text(&tokenizer, &[], &ids), String::from_utf8_lossy(text_bytes));
            for cut in 0..ids.len() {
                assert_eq!(text(&tokenizer, &[], &ids[..cut]), String::from_utf8_lossy(&text_bytes[..cut]));
            }
        }
    }
}

#[test]
fn u2_an_answer_cut_within_a_character_ends_with_one_replacement() {
    for tokenizer in common::tokenizers() {
        let whole = "🧑\u{200d}🚀";
        let ids = tokenizer.encode_text(whole);
        for cut in 0..=ids.len() {
            let said = text(&tokenizer, &[], &ids[..cut]);
            assert_eq!(said, tokenizer.decode(&ids[..cut]));
            assert!(said.matches('\u{fffd}').count() <= 1, "{said:?}");
        }
        let mut transcript = Transcript::new(&tokenizer, false, vec![]);
        let first = bytes(&tokenizer, "🚀".as_bytes());
        assert!(first[..3].iter().all(|&id| transcript.push(id).is_empty()), "half a character was said");
        assert_eq!(transcript.finish(), [Piece::Text("\u{fffd}".to_owned())]);
    }
}

#[test]
fn u4_a_stop_is_found_over_every_border_and_is_not_said() {
    let tokenizer = common::demo();
    for stop in ["END", "\n\n", "🧑\u{200d}🚀", "aab", "</s>", "汉汉"] {
        let ids = spell(&format!("before{stop}after"));
        let said = say(&tokenizer, false, &[stop], &ids);
        assert_eq!((said.text.as_str(), said.stopped), ("before", true), "{stop:?}");
        for border in 0..stop.len() {
            let cut = say(&tokenizer, false, &[stop], &ids[.."before".len() + border]);
            let bytes = format!("before{stop}").into_bytes();
            assert_eq!(cut.text, String::from_utf8_lossy(&bytes[.."before".len() + border]), "{stop:?} {border}");
            assert!(!cut.stopped);
        }
    }
}

#[test]
fn u4_of_overlapping_stops_the_first_that_is_complete_wins() {
    let tokenizer = common::demo();
    let said = |text_: &str, stops: &[&str]| text(&tokenizer, stops, &spell(text_));
    assert_eq!(said("xabcd!", &["abcd", "bc"]), "xa");
    assert_eq!(said("xabcd!", &["bc", "abc"]), "x");
    assert_eq!(said("aaab", &["aab"]), "a");
    assert_eq!(said("ababac", &["abac"]), "ab");
    assert_eq!(said("xaby", &["b", "a"]), "x");
    assert_eq!(said("abab", &["abc", "bab"]), "a");
    assert_eq!(said("ab", &["abc"]), "ab");
    assert_eq!(said("one", &[]), "one");
}

#[test]
fn u4_text_before_a_possible_stop_is_said_at_once() {
    let tokenizer = common::demo();
    let mut transcript = Transcript::new(&tokenizer, false, vec!["STOP".to_owned()]);
    let mut said = |text: &str| spell(text).iter().flat_map(|&id| transcript.push(id)).collect::<Vec<_>>();
    let pieces = |text: &str| text.chars().map(|c| Piece::Text(c.to_string())).collect::<Vec<_>>();
    assert_eq!(said("go S"), pieces("go "));
    assert_eq!(said("TO"), []);
    assert_eq!(said("x"), [Piece::Text("STOx".to_owned())]);
    assert_eq!(said("STOPmore"), []);
    assert!(transcript.stopped());
    assert_eq!(transcript.push(spell("x")[0]), []);
    assert_eq!((transcript.finish(), transcript.text()), (vec![], "go STOx"));
}

#[test]
fn stops_are_looked_for_in_the_answer_and_not_in_the_thoughts() {
    let tokenizer = common::demo();
    let close = tokenizer.control().think_end;
    let ids = [spell("one stop two\n"), vec![close], spell("\n\nthree stop four")].concat();
    let said = say(&tokenizer, true, &["stop", "\n"], &ids);
    assert_eq!((said.reasoning.as_str(), said.text.as_str(), said.stopped), ("one stop two", "three ", true));
    // Half a stop on each side of the border is none.
    let ids = [spell("st"), vec![close], spell("op")].concat();
    assert_eq!(say(&tokenizer, true, &["stop"], &ids).text, "op");
    // A visible control token may be a stop.
    let ids = [spell("a"), vec![tokenizer.added_tokens().find(|(token, _)| *token == "<box>").unwrap().1], spell("b")]
        .concat();
    assert_eq!(text(&tokenizer, &["<box>"], &ids), "a");
}

#[test]
fn thoughts_end_at_the_control_token_and_not_at_its_letters() {
    let close = vec![common::demo().control().think_end];
    let open = vec![common::demo().control().think];
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(thoughts(&[spell("hm\n"), close.clone(), spell("\n\nyes")].concat()), pair("hm", "yes"));
    assert_eq!(thoughts(&[spell("a </think> b"), close.clone(), spell("c")].concat()), pair("a </think> b", "c"));
    assert_eq!(
        thoughts(&[spell("\n\na\n\nb\n\n"), close.clone(), spell("\n\n\nc\n\nd\n")].concat()),
        pair("a\n\nb", "c\n\nd\n")
    );
    // The prompt has opened the thoughts already.
    assert_eq!(thoughts(&[open.clone(), spell("\nhm\n"), close.clone(), spell("yes")].concat()), pair("hm", "yes"));
    // Nothing was thought, or nothing but thoughts was said.
    assert_eq!(thoughts(&[close.clone(), spell("\n\nyes")].concat()), pair("", "yes"));
    assert_eq!(thoughts(&spell("let me see\n")), pair("let me see", ""));
    assert_eq!(thoughts(&[]), pair("", ""));
    // A second end is nothing, further thoughts are thoughts.
    assert_eq!(
        thoughts(&[spell("a"), close.clone(), spell("b"), close.clone(), spell("\nc")].concat()),
        pair("a", "b\nc")
    );
    let twice = [spell("a\n"), close.clone(), spell("b"), open, spell("\nc\n"), close, spell("d")].concat();
    assert_eq!(thoughts(&twice), pair("a\n\nc", "bd"));
}

#[test]
fn a_character_cut_by_the_end_of_thoughts_stays_with_them() {
    let tokenizer = common::demo();
    let close = tokenizer.control().think_end;
    let half = bytes(&tokenizer, &"汉".as_bytes()[..2]);
    let rest = bytes(&tokenizer, &"汉".as_bytes()[2..]);
    let said = thoughts(&[spell("a"), half, vec![close], rest].concat());
    assert_eq!(said, ("a\u{fffd}".to_owned(), "\u{fffd}".to_owned()));
}

#[test]
fn without_thinking_stray_thoughts_are_not_the_answer() {
    let tokenizer = common::demo();
    let (open, close) = (tokenizer.control().think, tokenizer.control().think_end);
    let said = |ids: &[Vec<u32>]| {
        let said = say(&tokenizer, false, &[], &ids.concat());
        (said.reasoning, said.text)
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(said(&[spell("yes")]), pair("", "yes"));
    assert_eq!(said(&[spell("\n\nyes\n")]), pair("", "yes\n"));
    assert_eq!(said(&[vec![close], spell("\n\nyes")]), pair("", "yes"));
    assert_eq!(said(&[vec![open], spell("\nhm\n"), vec![close], spell("\n\nyes")]), pair("hm", "yes"));
    assert_eq!(said(&[spell("<think>")]), pair("", "<think>"));
}

#[test]
fn tokens_that_end_a_turn_are_never_text_and_other_control_tokens_are() {
    for tokenizer in common::tokenizers() {
        let control = *tokenizer.control();
        for (token, id) in tokenizer.added_tokens() {
            let said = say(&tokenizer, false, &[], &[id]);
            let silent = !is_plain(&tokenizer, id);
            assert_eq!(said.text, if silent { "" } else { token });
            assert_eq!(say(&tokenizer, true, &[], &[id]).reasoning, if silent { "" } else { token });
        }
        let box_ = tokenizer.encode_with_control("<box>1 2 3 4</box>");
        assert_eq!(text(&tokenizer, &[], &[box_, vec![control.im_end]].concat()), "<box>1 2 3 4</box>");
    }
}

#[test]
fn tokens_of_thoughts_are_counted_with_those_around_them() {
    let tokenizer = common::demo();
    let control = *tokenizer.control();
    let count = |thinking: bool, ids: &[u32]| {
        let mut transcript = Transcript::new(&tokenizer, thinking, vec![]);
        ids.iter().for_each(|&id| drop(transcript.push(id)));
        transcript.reasoning_tokens()
    };
    assert_eq!(count(true, &[spell("abc"), vec![control.think_end], spell("de")].concat()), 4);
    assert_eq!(count(true, &[spell("abc"), vec![control.im_end]].concat()), 3);
    assert_eq!(count(false, &spell("abc")), 0);
    assert_eq!(count(false, &[vec![control.think], spell("a"), vec![control.think_end], spell("b")].concat()), 3);
    assert_eq!(count(false, &[control.think_end]), 0);
}
