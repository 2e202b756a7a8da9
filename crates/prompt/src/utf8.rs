//! Bytes to characters, as they come.

/// Bytes of which the last may be a part of a character.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending(Vec<u8>);

impl Pending {
    /// The characters that `bytes` complete. What can be no character becomes U+FFFD, by the rule of `String::from_utf8_lossy`, so that
    /// all pieces together are what it makes of all bytes together.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let mut text = String::new();
        let mut done = 0;
        for chunk in self.0.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            if done + chunk.invalid().len() == self.0.len() && may_go_on(chunk.invalid()) {
                break;
            }
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                done += chunk.invalid().len();
            }
        }
        self.0.drain(..done);
        text
    }

    /// U+FFFD for a character that was cut off, if one was.
    pub(crate) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.0)).into_owned()
    }
}

fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
