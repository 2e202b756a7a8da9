//! A turn's content as segments, and the thoughts in an earlier answer.

use std::collections::VecDeque;

use crate::control::ControlToken;
use crate::conversation::Content;
use crate::segment::Segment;

const OPEN: &str = ControlToken::Think.text();
const CLOSE: &str = ControlToken::ThinkEnd.text();

/// Content whose neighbours are joined by a line break.
pub(super) struct Body(VecDeque<Segment>);

impl Body {
    pub(super) fn of(content: &[Content]) -> Self {
        Self::join(content.iter().map(segment))
    }

    /// The thoughts and what else an answer says. Text up to the last `</think>` goes, or all of it if it opens thoughts
    /// and never ends them; pictures stay, since they have packs.
    pub(super) fn without_thoughts(content: &[Content]) -> (String, Self) {
        let Some((end, rest)) = content.iter().enumerate().rev().find_map(after_thoughts) else {
            return Self::without_open_thoughts(content);
        };
        let rest = rest.trim_start_matches('\n').to_owned();
        let answer = [Segment::Text(rest)].into_iter().chain(content[end + 1..].iter().map(segment));
        let mut body = Self::join(pictures(&content[..end]).chain(answer));
        body.trim_start();
        let said = all_text(content);
        let thoughts = said.split(CLOSE).next().unwrap_or_default().trim_end_matches('\n');
        let thoughts = thoughts.rsplit(OPEN).next().unwrap_or_default().trim_start_matches('\n');
        (thoughts.to_owned(), body)
    }

    fn without_open_thoughts(content: &[Content]) -> (String, Self) {
        match all_text(content).trim_start().strip_prefix(OPEN) {
            Some(thoughts) => (thoughts.to_owned(), Self::join(pictures(content))),
            None => (String::new(), Self::of(content)),
        }
    }

    fn join(parts: impl Iterator<Item = Segment>) -> Self {
        let mut segments = VecDeque::new();
        for part in parts {
            if !segments.is_empty() {
                segments.push_back(Segment::Scaffold("\n"));
            }
            segments.push_back(part);
        }
        Self(segments)
    }

    /// Removes leading line breaks, the joining ones included.
    pub(super) fn trim_start(&mut self) {
        while let Some(first) = self.0.front_mut() {
            match first {
                Segment::Text(text) => *text = text.trim_start_matches('\n').to_owned(),
                Segment::Scaffold(text) => *text = text.trim_start_matches('\n'),
                Segment::Control(_) | Segment::Visual(_) => return,
            }
            if !is_empty(first) {
                return;
            }
            self.0.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(is_empty)
    }

    pub(super) fn segments(self) -> impl Iterator<Item = Segment> {
        self.0.into_iter()
    }
}

fn after_thoughts((index, part): (usize, &Content)) -> Option<(usize, &str)> {
    text(part)?.rsplit_once(CLOSE).map(|(_, rest)| (index, rest))
}

fn segment(part: &Content) -> Segment {
    match part {
        Content::Text(text) => Segment::Text(text.clone()),
        Content::Visual(layouts) => Segment::Visual(layouts.clone()),
    }
}

fn text(part: &Content) -> Option<&str> {
    if let Content::Text(text) = part { Some(text) } else { None }
}

fn pictures(content: &[Content]) -> impl Iterator<Item = Segment> {
    content.iter().filter(|part| text(part).is_none()).map(segment)
}

fn all_text(content: &[Content]) -> String {
    content.iter().filter_map(text).collect::<Vec<_>>().join("\n")
}

fn is_empty(segment: &Segment) -> bool {
    match segment {
        Segment::Text(text) => text.is_empty(),
        Segment::Scaffold(text) => text.is_empty(),
        Segment::Control(_) | Segment::Visual(_) => false,
    }
}
