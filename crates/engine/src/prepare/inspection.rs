//! What a request becomes, in numbers.

use karst_contract::Request;
use karst_vision_input::{Grid, Size};

use super::Front;
use super::visuals::{PlannedGroup, PlannedPart, Visuals};

/// What a request becomes before the model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Its pictures and clips, in their order.
    pub parts: Vec<PartInspection>,
    /// Tokens of the whole prompt.
    pub prompt_tokens: usize,
    /// Of these, rows that hold picture features.
    pub image_tokens: usize,
    /// Most tokens of the answer: what was asked for, or what the context leaves; 0 if the prompt does not fit.
    pub max_tokens: usize,
    /// Positions that the context has.
    pub max_context: usize,
    /// Bytes of the key-value cache for prompt and answer.
    pub cache_bytes: u64,
    /// Bytes of all views' samples.
    pub pixel_bytes: u64,
}

/// A still or a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct PartInspection {
    /// Index of the message.
    pub message: usize,
    /// Index of the part in it.
    pub part: usize,
    /// Whether it is a clip.
    pub is_clip: bool,
    /// The still, or the groups of the clip's frames.
    pub groups: Vec<Group>,
}

/// A still, or frames that share rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Sides of the picture, or of each frame.
    pub size: Size,
    /// Frames; 1 for a still.
    pub frames: usize,
    /// Temporal ids of the frames.
    pub times: Option<Vec<u32>>,
    /// The number shown before it.
    pub image_id: Option<u32>,
    /// How it is sliced.
    pub grid: Option<Grid>,
    /// Sizes of the views in pixels, the overview first; each frame has them all.
    pub views: Vec<Size>,
    /// Patches of all views of all frames.
    pub patches: usize,
    /// Rows in the prompt that hold its features.
    pub tokens: usize,
}

impl Inspection {
    pub(super) fn of(front: &Front, request: &Request, visuals: &Visuals, prompt_tokens: usize) -> Self {
        let room = front.max_context.saturating_sub(prompt_tokens);
        let max_tokens = request.options.max_tokens.min(room);
        let patches = visuals.packs.iter().map(|pack| pack.patches).sum();
        Self {
            parts: visuals.parts.iter().map(|part| inspect(front, visuals, part)).collect(),
            prompt_tokens,
            image_tokens: visuals.packs.len() * front.pack_rows,
            max_tokens,
            max_context: front.max_context,
            cache_bytes: front.position_bytes * (prompt_tokens + max_tokens) as u64,
            pixel_bytes: front.view_bytes(patches),
        }
    }
}

fn inspect(front: &Front, visuals: &Visuals, part: &PlannedPart) -> PartInspection {
    let (message, index) = part.place;
    let groups = part.groups.iter().map(|planned| group(front, visuals, planned)).collect();
    PartInspection { message, part: index, is_clip: part.is_clip, groups }
}

fn group(front: &Front, visuals: &Visuals, group: &PlannedGroup) -> Group {
    let first = &visuals.pictures[group.pictures.start];
    let packs = visuals.packs.iter().filter(|pack| pack.pictures == group.pictures);
    Group {
        size: first.size,
        frames: group.pictures.len(),
        times: group.times.clone(),
        image_id: group.layout.image_id,
        grid: group.layout.grid,
        views: first.slicing.sizes().collect(),
        patches: packs.map(|pack| pack.patches).sum(),
        tokens: group.layout.blocks() * front.pack_rows,
    }
}
