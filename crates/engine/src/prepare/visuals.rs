//! Pictures and clips of a request, planned from their sides alone: grids, packs, numbers.

use karst_contract::{Clip, Part, Picture, Request};
use karst_vision_input::{Layout, Size, Slicing, clip, plan as slice};

use super::{Front, RequestError};

/// All pictures of a request, and what becomes of them.
pub(crate) struct Visuals {
    /// Stills and frames, in their order.
    pub(crate) pictures: Vec<Planned>,
    /// In the order of their places in the prompt.
    pub(crate) packs: Vec<PlannedPack>,
    /// One for each part that is not text.
    pub(crate) parts: Vec<PlannedPart>,
}

/// A picture that is measured and not decoded.
pub(crate) struct Planned {
    pub(crate) picture: Picture,
    pub(crate) size: Size,
    pub(crate) slicing: Slicing,
}

/// Views that will share Q rows.
pub(crate) struct PlannedPack {
    /// Indices of pictures, and for each the index of the same view.
    pub(crate) pictures: std::ops::Range<usize>,
    pub(crate) view: usize,
    pub(crate) times: Option<Vec<u32>>,
    /// P of all views together.
    pub(crate) patches: usize,
}

/// A still or a clip.
pub(crate) struct PlannedPart {
    /// Index of its message, and its own there.
    pub(crate) place: (usize, usize),
    pub(crate) is_clip: bool,
    /// One for a still.
    pub(crate) groups: Vec<PlannedGroup>,
}

/// A still, or frames that share rows.
pub(crate) struct PlannedGroup {
    pub(crate) layout: Layout,
    pub(crate) pictures: std::ops::Range<usize>,
    pub(crate) times: Option<Vec<u32>>,
}

impl PlannedPart {
    pub(crate) fn layouts(&self) -> Vec<Layout> {
        self.groups.iter().map(|group| group.layout).collect()
    }
}

/// Plans all pictures of a request.
pub(super) fn plan(request: &Request, front: &Front) -> Result<Visuals, RequestError> {
    let numbered = request.options.image_ids.unwrap_or(front.image_ids && !has_clip(request));
    let max_slices = request.options.max_slices.unwrap_or(front.settings.max_slices);
    let visuals = Visuals { pictures: Vec::new(), packs: Vec::new(), parts: Vec::new() };
    let mut planner = Planner { front, numbered, max_slices, visuals };
    for (message, part, content) in parts(request) {
        let (is_clip, groups) = match content {
            Part::Text(_) => continue,
            Part::Picture(picture) => (false, vec![planner.still(picture)?]),
            Part::Clip(clip) => (true, planner.clip(clip)?),
        };
        planner.visuals.parts.push(PlannedPart { place: (message, part), is_clip, groups });
    }
    Ok(planner.visuals)
}

fn parts(request: &Request) -> impl Iterator<Item = (usize, usize, &Part)> {
    let messages = request.messages.iter().enumerate();
    messages.flat_map(|(message, turn)| {
        turn.content.iter().enumerate().map(move |(part, content)| (message, part, content))
    })
}

fn has_clip(request: &Request) -> bool {
    parts(request).any(|(_, _, part)| matches!(part, Part::Clip(_)))
}

struct Planner<'a> {
    front: &'a Front,
    numbered: bool,
    /// Of a still that names none.
    max_slices: u32,
    visuals: Visuals,
}

impl Planner<'_> {
    fn still(&mut self, picture: &Picture) -> Result<PlannedGroup, RequestError> {
        let size = self.measure(picture)?;
        let slicing = self.slice(size, picture.max_slices.unwrap_or(self.max_slices))?;
        self.visuals.pictures.push(Planned { picture: picture.clone(), size, slicing });
        Ok(self.group(1, slicing, None))
    }

    fn clip(&mut self, clip: &Clip) -> Result<Vec<PlannedGroup>, RequestError> {
        if let Some(frame) = clip.frames.iter().position(|frame| frame.max_slices.is_some()) {
            return Err(RequestError::FrameSlices { frame: frame + 1 });
        }
        let grouped = clip::group(&clip.timing, clip.frames.len(), clip.packing).map_err(RequestError::Clip)?;
        let mut frames = clip.frames.iter();
        let mut groups = Vec::new();
        for times in grouped {
            let frames: Vec<_> = frames.by_ref().take(times.len()).collect();
            groups.push(self.frames(&frames, clip.max_slices.unwrap_or(1), times)?);
        }
        Ok(groups)
    }

    /// One group: slices of frames can share rows only where all frames are cut alike.
    fn frames(&mut self, frames: &[&Picture], max_slices: u32, times: Vec<u32>) -> Result<PlannedGroup, RequestError> {
        let first = self.visuals.pictures.len();
        let mut slicing = None;
        for picture in frames {
            let size = self.measure(picture)?;
            let other = self.visuals.pictures[first..].iter().find(|planned| planned.size != size);
            if let Some(other) = other {
                let frame = self.visuals.pictures.len() - first + 1;
                return Err(RequestError::MixedSizes { frame, size, other: other.size });
            }
            let cut = match slicing {
                Some(cut) => cut,
                None => *slicing.insert(self.slice(size, max_slices)?),
            };
            self.visuals.pictures.push(Planned { picture: (*picture).clone(), size, slicing: cut });
        }
        match slicing {
            Some(slicing) => Ok(self.group(frames.len(), slicing, Some(times))),
            None => Err(RequestError::EmptyGroup),
        }
    }

    /// The last `count` pictures as one group: a pack for each of their views.
    fn group(&mut self, count: usize, slicing: Slicing, times: Option<Vec<u32>>) -> PlannedGroup {
        let end = self.visuals.pictures.len();
        let pictures = end - count..end;
        let side = self.front.settings.patch_size;
        for (view, size) in slicing.sizes().enumerate() {
            let patches = count * (size.width / side) as usize * (size.height / side) as usize;
            let (pictures, times) = (pictures.clone(), times.clone());
            self.visuals.packs.push(PlannedPack { pictures, view, times, patches });
        }
        // Every picture before it counts, frames that show no number of their own included: the reference numbers so.
        let image_id = self.numbered.then_some(pictures.start as u32);
        PlannedGroup { layout: Layout { image_id, grid: slicing.slices.map(|slices| slices.grid) }, pictures, times }
    }

    fn measure(&self, picture: &Picture) -> Result<Size, RequestError> {
        let number = self.visuals.pictures.len() + 1;
        let (width, height) =
            karst_media::measure(picture).map_err(|source| RequestError::Picture { number, source })?;
        Ok(Size { width, height })
    }

    fn slice(&self, size: Size, max_slices: u32) -> Result<Slicing, RequestError> {
        let number = self.visuals.pictures.len() + 1;
        slice(size, max_slices, &self.front.settings).map_err(|source| RequestError::Slicing { number, source })
    }
}
