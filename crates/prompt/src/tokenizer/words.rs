//! Splits text as the published pattern does, in linear time whatever the text.
//!
//! The published pattern looks ahead, so it needs a backtracking matcher; the library's gives up without a word at a
//! million spaces in a row. Here an automaton matches the same pattern without the look-ahead, whose effect is made good
//! afterwards: it only ever shortens a run of white space by the character that goes to the word behind it.

use regex::Regex;
use tokenizers::pattern::Pattern;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{Offsets, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior};

use super::error::TokenizerError;

/// Contractions; words with one character before them; single digits; other characters with a space before and line breaks
/// after them; line breaks; other white space.
const PATTERN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

/// The split, and the alphabet of bytes behind it.
pub(super) struct Words {
    pattern: Regex,
    bytes: ByteLevel,
}

impl Words {
    pub(super) fn new() -> Result<Self, TokenizerError> {
        let pattern = Regex::new(PATTERN).map_err(TokenizerError::library)?;
        Ok(Self { pattern, bytes: ByteLevel::new(false, true, false) })
    }

    /// Where the word ends that begins at `start`. Some alternative matches every character, so there always is one.
    fn end(&self, text: &str, start: usize) -> usize {
        let Some(word) = self.pattern.find_at(text, start) else { return text.len() };
        let Some(last) = word.as_str().chars().next_back() else { return text.len() };
        let is_space = last.is_whitespace() && !matches!(last, '\r' | '\n');
        let shorter = word.end() - last.len_utf8();
        if is_space && word.end() < text.len() && shorter > start { shorter } else { word.end() }
    }
}

impl Pattern for &Words {
    fn find_matches(&self, inside: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        let mut words = Vec::new();
        let mut start = 0;
        while start < inside.len() {
            let end = self.end(inside, start);
            words.push(((start, end), true));
            start = end;
        }
        Ok(words)
    }
}

impl PreTokenizer for Words {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        text.split(|_, part| part.split(self, SplitDelimiterBehavior::Isolated))?;
        self.bytes.pre_tokenize(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::form;
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;
    use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
    use tokenizers::{OffsetReferential, OffsetType};

    static OURS: LazyLock<Words> = LazyLock::new(|| Words::new().unwrap());
    static THEIRS: LazyLock<Split> = LazyLock::new(|| {
        let pattern = SplitPattern::Regex(form::PATTERN.to_owned());
        Split::new(pattern, SplitDelimiterBehavior::Isolated, false).unwrap()
    });

    fn split(pre_tokenizer: &impl PreTokenizer, text: &str) -> Vec<Offsets> {
        let mut split = PreTokenizedString::from(text);
        pre_tokenizer.pre_tokenize(&mut split).unwrap();
        let parts = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        parts.into_iter().map(|(_, place, _)| place).collect()
    }

    #[test]
    fn p7_a_million_spaces_are_split_to_the_end() {
        let text = " ".repeat(1 << 20) + "x y";
        let end = text.len();
        assert_eq!(split(&*OURS, &text), [(0, end - 4), (end - 4, end - 2), (end - 2, end)]);
    }

    #[test]
    fn every_neighbourhood_of_classes_splits_as_published() {
        let units = [
            "a", "é", "汉", "7", "½", " ", "  ", "\u{a0}", "\u{3000}", "\t", "\n", "\r\n", "\u{85}", "\u{2028}", "'",
            "'s", "'LL", "'\u{17f}", "!", "\u{200d}", "\u{301}", "\0", "\u{feff}", "🚀", "_", "ŉ", "\u{b}", "\u{1680}",
        ];
        for first in units {
            for second in units {
                for third in units {
                    let text = [first, second, third, first].concat();
                    assert_eq!(split(&*OURS, &text), split(&*THEIRS, &text), "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_splits_as_published(text in "(\\PC|[ \\t\\r\\n\u{a0}'slv7!a]){0,40}") {
            prop_assert_eq!(split(&*OURS, &text), split(&*THEIRS, &text));
        }
    }
}
