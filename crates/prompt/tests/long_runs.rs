//! Row P7: text of any kind is tokenised in time that grows with its length.
use std::time::Instant;
mod common;

#[test]
fn measure() {
    let kinds: &[(&str, &str)] = &[
        ("a", "a"),
        ("space", " "),
        ("digit", "7"),
        ("zwj", "\u{200d}"),
        ("family", "👩\u{200d}"),
        ("mark", "\u{301}"),
        ("marks", "\u{301}\u{323}"),
        ("e+mark", "e\u{301}"),
        ("nl", "\n"),
        ("crlf", "\r\n"),
        ("nbsp", "\u{a0}"),
        ("s nl", " \n"),
        ("'s", "'s"),
        ("'", "'"),
        ("!", "!"),
        ("word ", "word "),
        ("jamo", "\u{1100}\u{1161}\u{11a8}"),
        ("han", "汉"),
        ("0344", "\u{344}"),
        ("-", "-"),
        ("tab", "\t"),
    ];
    for tokenizer in common::tokenizers() {
        for (name, unit) in kinds {
            let mut times = vec![];
            for bytes in [1usize << 18, 1 << 20] {
                let text = unit.repeat(bytes / unit.len()) + "x hello world";
                let t = Instant::now();
                let ids = tokenizer.encode_text(&text);
                times.push((t.elapsed(), ids.len()));
                let tail = tokenizer.encode_text(" world");
                assert!(ids.ends_with(&tail), "{name} {bytes}");
            }
            println!("{name:8} {times:?}");
        }
    }
}
