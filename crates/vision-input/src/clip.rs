//! Frames of a clip in groups that share rows.

use karst_contract::{Code, Coded, Timing, limits};

use crate::sampling::temporal_id;

/// Groups that a clip has before frames are packed: the model card's MAX_NUM_FRAMES.
const GROUPS: usize = 180;

/// Why frames do not make a clip.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClipError {
    /// There are no frames.
    #[error("a clip needs at least one frame")]
    Empty,
    /// There are too many frames.
    #[error("a clip of {frames} frames, at most {limit}")]
    TooMany {
        /// Given frames.
        frames: usize,
        /// The limit.
        limit: usize,
    },
    /// The times are not one a frame.
    #[error("{frames} frames have {times} {what}")]
    Count {
        /// Given frames.
        frames: usize,
        /// Given times or ids.
        times: usize,
        /// Which of them.
        what: &'static str,
    },
    /// A time is negative, not a number, too late, or earlier than the one before.
    #[error("the time of frame {frame} is {seconds} s; times are from 0 to {limit} s and do not fall")]
    Time {
        /// The frame, from 0.
        frame: usize,
        /// Its time.
        seconds: f64,
        /// The latest time.
        limit: f64,
    },
    /// Frames a second are not positive.
    #[error("{fps} frames a second; it must be a number over 0")]
    Fps {
        /// What was given.
        fps: f64,
    },
    /// The packing is not within the model's range.
    #[error("{packing} frames a pack; the model takes 1 to {}", limits::MAX_PACKING)]
    Packing {
        /// What was given.
        packing: usize,
    },
    /// A temporal id is beyond the model's range.
    #[error("temporal id {id} of frame {frame}; the model knows 0 to {}", limits::MAX_TEMPORAL_ID)]
    TemporalId {
        /// The frame, from 0.
        frame: usize,
        /// Its id.
        id: u32,
    },
}

impl Coded for ClipError {
    fn code(&self) -> Code {
        match self {
            Self::TooMany { .. } => Code::TooManyPictures,
            _ => Code::InvalidClip,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Count { .. } => Some("give one time, or one temporal id, for each frame".to_owned()),
            Self::TooMany { .. } => Some("take fewer frames a second, or a part of the clip".to_owned()),
            _ => None,
        }
    }
}

/// Groups of temporal ids, one id a frame: as they are given, or from times by the model card's rule. Without a packing, frames are
/// packed only as far as 180 groups need.
///
/// # Errors
/// When times, ids or packing do not fit the frames or the model.
pub fn group(timing: &Timing, frames: usize, packing: Option<u32>) -> Result<Vec<Vec<u32>>, ClipError> {
    if frames == 0 {
        return Err(ClipError::Empty);
    }
    if frames > limits::MAX_FRAMES {
        return Err(ClipError::TooMany { frames, limit: limits::MAX_FRAMES });
    }
    let ids = match timing {
        Timing::TemporalIds(groups) => return given(groups, frames),
        Timing::Times(times) => ids_of_times(times, frames)?,
        Timing::Fps(fps) => ids_of_times(&even_times(*fps, frames)?, frames)?,
    };
    let packing = packing.map_or(frames.div_ceil(GROUPS), |packing| packing as usize);
    if !(1..=limits::MAX_PACKING).contains(&packing) {
        return Err(ClipError::Packing { packing });
    }
    Ok(ids.chunks(packing).map(<[u32]>::to_vec).collect())
}

fn given(groups: &[Vec<u32>], frames: usize) -> Result<Vec<Vec<u32>>, ClipError> {
    if let Some(group) = groups.iter().find(|group| !(1..=limits::MAX_PACKING).contains(&group.len())) {
        return Err(ClipError::Packing { packing: group.len() });
    }
    let times = groups.iter().map(Vec::len).sum();
    if times != frames {
        return Err(ClipError::Count { frames, times, what: "temporal ids" });
    }
    match groups.iter().flatten().enumerate().find(|&(_, &id)| id > limits::MAX_TEMPORAL_ID) {
        Some((frame, &id)) => Err(ClipError::TemporalId { frame, id }),
        None => Ok(groups.to_vec()),
    }
}

fn ids_of_times(times: &[f64], frames: usize) -> Result<Vec<u32>, ClipError> {
    if times.len() != frames {
        return Err(ClipError::Count { frames, times: times.len(), what: "times" });
    }
    let limit = f64::from(limits::MAX_TEMPORAL_ID) / 10.0;
    let mut before = 0.0;
    for (frame, &seconds) in times.iter().enumerate() {
        if !(before..=limit).contains(&seconds) {
            return Err(ClipError::Time { frame, seconds, limit });
        }
        before = seconds;
    }
    Ok(times.iter().copied().map(temporal_id).collect())
}

/// The middles of the frames' shares of the clip, where the reference samples, too.
fn even_times(fps: f64, frames: usize) -> Result<Vec<f64>, ClipError> {
    if !(fps.is_finite() && fps > 0.0) {
        return Err(ClipError::Fps { fps });
    }
    Ok((0..frames).map(|frame| (frame as f64 + 0.5) / fps).collect())
}
