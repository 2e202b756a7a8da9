//! How the inputs of a matrix are ordered and cut into segments.

use std::ops::Range;

use super::codes::Form;

/// Most inputs of a segment. A segment's weights in `f32` (32 KiB for a tile) stay in the nearest caches.
const SEGMENT: usize = 128;

/// A run of inputs that are summed up before the sum is scaled. All belong to one quantisation group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Places of its inputs, filled up to whole rows of codes.
    pub(super) inputs: Range<usize>,
    /// Its rows of codes.
    pub(super) rows: Range<usize>,
    /// Its quantisation group.
    pub(super) group: usize,
}

/// The order of a matrix's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) segments: Vec<Segment>,
    /// The input at each place, [`Layout::NONE`] at a filler; absent where input i is at place i.
    sources: Option<Vec<u32>>,
    /// Inputs of the matrix.
    inputs: usize,
}

impl Layout {
    /// Marks a place that no input takes.
    pub(super) const NONE: u32 = u32::MAX;

    /// Inputs in the order in which they come, without groups.
    pub(super) fn plain(inputs: usize, form: Form) -> Layout {
        Layout::grouped(&vec![0; inputs], form)
    }

    /// Inputs sorted by their group, those of a group in the order in which they come.
    pub(super) fn grouped(groups: &[u32], form: Form) -> Layout {
        let depth = form.depth();
        let mut order: Vec<u32> = (0..groups.len() as u32).collect();
        order.sort_by_key(|&input| groups[input as usize]);
        let mut sources = Vec::with_capacity(order.len() + depth);
        let mut segments = Vec::new();
        for members in order.chunk_by(|&a, &b| groups[a as usize] == groups[b as usize]) {
            let group = groups[members[0] as usize] as usize;
            for members in members.chunks(SEGMENT) {
                let start = sources.len();
                sources.extend_from_slice(members);
                sources.resize(sources.len().next_multiple_of(depth), Layout::NONE);
                let inputs = start..sources.len();
                segments.push(Segment { rows: start / depth..sources.len() / depth, inputs, group });
            }
        }
        let moved = sources[..groups.len()].iter().enumerate().any(|(place, &input)| place != input as usize);
        Layout { segments, sources: moved.then_some(sources), inputs: groups.len() }
    }

    /// Places, fillers included.
    pub(super) fn places(&self) -> usize {
        self.segments.last().map_or(0, |last| last.inputs.end)
    }

    /// Rows of codes.
    pub(super) fn rows(&self) -> usize {
        self.segments.last().map_or(0, |last| last.rows.end)
    }

    /// Groups, those without inputs included.
    pub(super) fn groups(&self) -> usize {
        self.segments.last().map_or(0, |last| last.group + 1)
    }

    /// The input at `place`.
    pub(super) fn source(&self, place: usize) -> Option<usize> {
        let source = self.sources.as_ref().map_or(place, |sources| sources[place] as usize);
        (source < self.inputs).then_some(source)
    }

    /// Whether input i is at place i.
    pub(super) fn in_order(&self) -> bool {
        self.sources.is_none()
    }

    /// Bytes that the order takes.
    pub(super) fn bytes(&self) -> usize {
        self.sources.as_ref().map_or(0, |sources| size_of_val(sources.as_slice()))
            + size_of_val(self.segments.as_slice())
    }

    /// The numbers of one row that belong to `segment`, gathered into `space` where they are not in order. Fillers at the
    /// end are left out.
    #[inline(always)]
    pub(super) fn gather<'a>(&self, row: &'a [f32], segment: &Segment, space: &'a mut Vec<f32>) -> &'a [f32] {
        let Some(sources) = &self.sources else {
            return &row[segment.inputs.start..segment.inputs.end.min(self.inputs)];
        };
        space.clear();
        let sources = sources[segment.inputs.clone()].iter().take_while(|&&source| source != Layout::NONE);
        space.extend(sources.map(|&source| row[source as usize]));
        space
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_in_order_are_not_gathered() {
        let layout = Layout::grouped(&(0..512).map(|i| i / 256).collect::<Vec<_>>(), Form::Nibbles);
        assert!(layout.in_order());
        assert_eq!(layout.segments.iter().map(|segment| segment.group).collect::<Vec<_>>(), [0, 0, 1, 1]);
        assert_eq!((layout.places(), layout.rows()), (512, 64));
    }

    #[test]
    fn every_input_has_one_place_however_the_groups_lie() {
        for (inputs, groups) in [(40, 1), (100, 3), (389, 7), (1024, 8)] {
            let group_of: Vec<u32> = (0..inputs).map(|i| (i * 7919 + i / 3) % groups).collect();
            for form in [Form::Nibbles, Form::Bytes] {
                let layout = Layout::grouped(&group_of, form);
                let mut found: Vec<_> = (0..layout.places()).filter_map(|place| layout.source(place)).collect();
                found.sort_unstable();
                assert!(found.iter().copied().eq(0..inputs as usize), "{inputs} {groups}");
                for segment in &layout.segments {
                    let members = segment.inputs.clone().filter_map(|place| layout.source(place));
                    assert!(members.map(|input| group_of[input]).all(|group| group as usize == segment.group));
                    assert!(segment.inputs.len() <= SEGMENT);
                }
            }
        }
    }

    #[test]
    fn a_last_segment_is_filled_up_to_whole_rows() {
        let layout = Layout::plain(388, Form::Nibbles);
        assert!(layout.in_order());
        assert_eq!((layout.places(), layout.source(387), layout.source(388)), (392, Some(387), None));
    }
}
