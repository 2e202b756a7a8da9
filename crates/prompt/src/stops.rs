//! Texts that end an answer, found over the borders of tokens.

/// Holds back the end of the text while it may be the beginning of a stop text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stops {
    texts: Vec<String>,
    held: String,
    found: bool,
}

impl Stops {
    pub(crate) fn new(texts: Vec<String>) -> Self {
        Self { texts, held: String::new(), found: false }
    }

    /// What of the text so far is certainly before any stop text. The first stop text to be complete wins, the longest of those.
    pub(crate) fn push(&mut self, text: &str) -> String {
        if self.found {
            return String::new();
        }
        self.held.push_str(text);
        let places = self.texts.iter().filter_map(|stop| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        if let Some((_, start)) = places.min() {
            self.found = true;
            let held = std::mem::take(&mut self.held);
            return held[..start].to_owned();
        }
        let rest = self.held.split_off(self.held.len() - self.longest_beginning());
        std::mem::replace(&mut self.held, rest)
    }

    /// What was held back, when nothing more comes.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Whether something is held back.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    pub(crate) fn found(&self) -> bool {
        self.found
    }

    /// Bytes at the end of the held text that a stop text begins with.
    fn longest_beginning(&self) -> usize {
        let beginning = |stop: &String| {
            let most = self.held.len().min(stop.len().saturating_sub(1));
            (1..=most).rev().find(|&bytes| stop.is_char_boundary(bytes) && self.held.ends_with(&stop[..bytes]))
        };
        self.texts.iter().filter_map(beginning).max().unwrap_or(0)
    }
}
