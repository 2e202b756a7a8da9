//! The answer: without leading line breaks, up to a stop string.

use super::stops::Stops;

#[derive(Debug)]
pub(super) struct Answer {
    said: String,
    begun: bool,
    stops: Stops,
}

impl Answer {
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self { said: String::new(), begun: false, stops: Stops::new(stops) }
    }

    pub(super) fn said(&self) -> &str {
        &self.said
    }

    pub(super) fn stopped(&self) -> bool {
        self.stops.hit()
    }

    pub(super) fn push(&mut self, text: &str) -> Option<String> {
        let text = if self.begun { text } else { text.trim_start_matches('\n') };
        self.begun |= !text.is_empty();
        let piece = self.stops.push(text);
        self.say(piece)
    }

    pub(super) fn finish(&mut self) -> Option<String> {
        let piece = self.stops.finish();
        self.say(piece)
    }

    fn say(&mut self, piece: String) -> Option<String> {
        self.said.push_str(&piece);
        (!piece.is_empty()).then_some(piece)
    }
}
