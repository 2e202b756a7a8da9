//! Thoughts without the line breaks around them.

#[derive(Debug, Default)]
pub(super) struct Thoughts {
    said: String,
    /// Line breaks that are said only if something follows them.
    breaks: usize,
}

impl Thoughts {
    pub(super) fn said(&self) -> &str {
        &self.said
    }

    pub(super) fn push(&mut self, text: &str) -> Option<String> {
        let body = text.trim_end_matches('\n');
        let after = text.len() - body.len();
        if body.is_empty() {
            self.breaks += after;
            return None;
        }
        let before = if self.said.is_empty() { 0 } else { self.breaks };
        let body = if self.said.is_empty() { body.trim_start_matches('\n') } else { body };
        let piece = "\n".repeat(before) + body;
        self.said.push_str(&piece);
        self.breaks = after;
        Some(piece)
    }

    /// Further thoughts after those that ended begin on a line of their own.
    pub(super) fn go_on(&mut self) {
        self.breaks = self.breaks.max(1);
    }
}
