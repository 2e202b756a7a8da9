//! Row P7: text of any kind is tokenised in time in proportion to its length.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::time::{Duration, Instant};

/// What is repeated: each asks most of another part (merges, split, normalisation).
const UNITS: &[&str] = &[
    "a",
    " ",
    "7",
    "\u{200d}",
    "👩\u{200d}",
    "\u{301}",
    "\u{301}\u{323}",
    "e\u{301}",
    "\n",
    "\r\n",
    "\u{a0}",
    " \n",
    "'s",
    "'",
    "!",
    "word ",
    "ᄀ\u{1161}\u{11a8}",
    "汉",
    "\u{344}",
    "-",
    "\t",
    " \u{301}",
    "<unk>",
    "<|im_end|>",
];

/// Far above what was measured (1.4 s for a megabyte of digits on a busy machine), far below what a quadratic step costs.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn p7_a_megabyte_of_anything_is_linear_and_split_to_the_end() {
    let bytes = 1 << 20;
    let begin = Instant::now();
    let tokenizer = common::published().unwrap_or_else(common::demo);
    println!("{} tokens read in {:.0?}", tokenizer.vocabulary_len(), begin.elapsed());
    for unit in UNITS {
        let text = unit.repeat(bytes / unit.len()) + "\n\nthe end, 42!";
        let begin = Instant::now();
        let ids = tokenizer.encode_text(&text);
        let took = begin.elapsed();
        println!("{unit:?} x {}: {} ids, {took:.0?}", bytes / unit.len(), ids.len());
        assert!(took < LIMIT, "{unit:?}: {took:?}");
        // A splitter that gives up leaves the rest as one word, whose ids differ.
        assert!(ids.ends_with(&tokenizer.encode_text("the end, 42!")), "{unit:?}");
    }
}

#[test]
fn p7_the_time_for_four_times_the_text_is_not_sixteen_times_as_long() {
    let tokenizer = common::demo();
    for unit in ["a", " ", "\u{301}"] {
        let time = |bytes: usize| {
            let text = unit.repeat(bytes / unit.len());
            let run = |_| {
                let begin = Instant::now();
                assert!(!tokenizer.encode_text(&text).is_empty());
                begin.elapsed()
            };
            (0..3).map(run).min().unwrap()
        };
        let (short, long) = (time(1 << 18), time(1 << 20));
        assert!(long < short * 12 + Duration::from_millis(200), "{unit:?}: {short:?}, then {long:?}");
    }
}
