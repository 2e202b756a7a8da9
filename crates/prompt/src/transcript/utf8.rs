//! Bytes to characters, never in the middle of one.

use std::str;

/// Gives, over all pushes and the finish, what `String::from_utf8_lossy` gives for all bytes at once.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The bytes of a character that may still be completed; at most three.
    open: Vec<u8>,
}

impl Utf8 {
    /// All whole characters so far; bytes that can no longer become one are U+FFFD.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.open.extend_from_slice(bytes);
        let mut text = String::new();
        let mut kept = 0;
        let mut chunks = self.open.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            if chunks.peek().is_none() && is_open(chunk.invalid()) {
                kept = chunk.invalid().len();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.open.drain(..self.open.len() - kept);
        text
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self) -> &'static str {
        if self.open.is_empty() {
            return "";
        }
        self.open.clear();
        "\u{fffd}"
    }
}

/// Whether more bytes can make a character of these.
fn is_open(invalid: &[u8]) -> bool {
    str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}
