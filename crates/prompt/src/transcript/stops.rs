//! Stop strings in a text that comes in pieces.

use std::mem;

/// Lets text through up to the first stop string that is complete, wherever the pieces are cut.
#[derive(Debug)]
pub(super) struct Stops {
    stops: Vec<String>,
    /// The longest end of the text that may begin a stop string.
    held: String,
    hit: bool,
}

impl Stops {
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new(), hit: false }
    }

    pub(super) fn hit(&self) -> bool {
        self.hit
    }

    /// The text that is certainly before any stop string.
    pub(super) fn push(&mut self, text: &str) -> String {
        if self.hit {
            return String::new();
        }
        self.held.push_str(text);
        let free = match self.first_stop() {
            Some(start) => {
                self.hit = true;
                self.held.truncate(start);
                start
            }
            None => self.held.len() - self.longest_beginning(),
        };
        let rest = self.held.split_off(free);
        mem::replace(&mut self.held, rest)
    }

    /// What was held back in vain.
    pub(super) fn finish(&mut self) -> String {
        mem::take(&mut self.held)
    }

    /// Where the stop string begins that ends first; of several that end there, the longest.
    fn first_stop(&self) -> Option<usize> {
        let place = |stop: &String| self.held.find(stop.as_str()).map(|start| (start + stop.len(), start));
        self.stops.iter().filter_map(place).min().map(|(_, start)| start)
    }

    /// Bytes at the end that begin a stop string. They are whole characters, since stop strings are.
    fn longest_beginning(&self) -> usize {
        let held = self.held.as_bytes();
        let begins = |stop: &String| {
            let longest = stop.len().saturating_sub(1).min(held.len());
            (1..=longest).rev().find(|&length| held.ends_with(&stop.as_bytes()[..length]))
        };
        self.stops.iter().filter_map(begins).max().unwrap_or(0)
    }
}
