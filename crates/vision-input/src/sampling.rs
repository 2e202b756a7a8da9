//! Which frames of a clip to take: the model card's `encode_video`.

/// A clip, and how densely to sample it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Frames in the clip.
    pub frames: usize,
    /// Its frames a second, on average; finite and over 0.
    pub fps: f64,
    /// Frames a second to take; finite and over 0.
    pub choose_fps: f64,
    /// Most groups of frames; the card has 180.
    pub max_frames: usize,
    /// Most frames a group; the card has 3, the model takes 6.
    pub max_packing: u32,
    /// Frames a group, whatever the rule says; at most `max_packing`.
    pub force_packing: Option<u32>,
}

/// What to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Frames a group; the last one may be short.
    pub packing: u32,
    /// Frames to take, in order.
    pub frame_indices: Vec<usize>,
    /// Temporal ids of the frames taken, by group.
    pub temporal_ids: Vec<Vec<u32>>,
}

/// Seconds a temporal id.
const TIME_SCALE: f64 = 0.1;

/// Chooses frames of a clip, at least one if it has any.
pub fn choose(options: &Options) -> Choice {
    let duration = options.frames as f64 / options.fps;
    let (count, packing) = count_and_packing(options, duration);
    let packing = options.force_packing.map_or(packing, |packing| packing.min(options.max_packing)).max(1);
    let frame_indices = uniform(options.frames, count.max(1));
    let last = scale_length(duration).saturating_sub(1);
    let id = |&frame: &usize| truncated(nearest(frame as f64 / options.fps).min(last));
    let ids: Vec<u32> = frame_indices.iter().map(id).collect();
    let temporal_ids = ids.chunks(packing as usize).map(<[u32]>::to_vec).collect();
    Choice { packing, frame_indices, temporal_ids }
}

fn count_and_packing(options: &Options, duration: f64) -> (usize, u32) {
    let most = options.max_frames as f64;
    if options.choose_fps * duration.trunc() <= most {
        let rate = options.choose_fps.min(options.fps.round_ties_even());
        return ((rate * most.min(duration)).round_ties_even() as usize, 1);
    }
    let packing = (duration * options.choose_fps / most).ceil();
    if packing <= f64::from(options.max_packing) {
        return ((duration * options.choose_fps).round_ties_even() as usize, packing as u32);
    }
    (options.max_frames.saturating_mul(options.max_packing as usize), options.max_packing)
}

/// The middles of `count` equal parts of `length` frames.
fn uniform(length: usize, count: usize) -> Vec<usize> {
    let gap = length as f64 / count as f64;
    let middle = |part: usize| (part as f64 * gap + gap / 2.0) as usize;
    (0..count).map(middle).filter(|&frame| frame < length).collect()
}

/// How many tenths of a second begin before `duration`.
fn scale_length(duration: f64) -> u32 {
    (duration / TIME_SCALE).ceil() as u32
}

/// The temporal id of a moment: its nearest tenth of a second, the lower of two as near, cut off as the reference cuts it.
pub fn temporal_id(seconds: f64) -> u32 {
    truncated(nearest(seconds))
}

/// Whether a moment lies exactly between two tenths of a second in double precision. There the reference goes up or down by
/// the shape of a search tree over the whole clip, which no rule describes, and karst goes down by decision. Elsewhere both
/// give the same id.
pub fn is_tie(seconds: f64) -> bool {
    let below = (seconds / TIME_SCALE).floor();
    let near =
        [below - 1.0, below, below + 1.0].map(|tenths| (distance(seconds, tenths), distance(seconds, tenths + 1.0)));
    near.iter().any(|(lower, upper)| lower == upper)
}

fn distance(seconds: f64, tenths: f64) -> f64 {
    (seconds - tenths * TIME_SCALE).abs()
}

fn nearest(seconds: f64) -> u32 {
    let below = (seconds / TIME_SCALE).floor().max(1.0) - 1.0;
    let candidates = (0..4).map(|step| below + f64::from(step));
    let better =
        |best: f64, tenths: f64| if distance(seconds, tenths) < distance(seconds, best) { tenths } else { best };
    candidates.fold(below, better) as u32
}

/// `int(tenths * 0.1 / 0.1)`: one too small for 3270 of 72000 ids, 43 among them. The weights have learnt these ids.
fn truncated(tenths: u32) -> u32 {
    (f64::from(tenths) * TIME_SCALE / TIME_SCALE) as u32
}
