//! Counts of a request, each before what it bounds is read or allocated. Roles and texts are the prompt's to check.

use karst_contract::{Part, Request, limits};
use karst_prompt::Prompt;

use super::visuals::Visuals;
use super::{Front, RequestError};

/// How many pictures and frames there are.
pub(super) fn counts(request: &Request) -> Result<(), RequestError> {
    let parts = || request.messages.iter().flat_map(|message| &message.content);
    let stills = parts().filter(|part| matches!(part, Part::Picture(_))).count();
    if stills > limits::MAX_PICTURES {
        return Err(RequestError::TooManyPictures { count: stills, limit: limits::MAX_PICTURES });
    }
    let frames = parts().map(|part| if let Part::Clip(clip) = part { clip.frames.len() } else { 0 }).sum();
    if frames > limits::MAX_FRAMES {
        return Err(RequestError::TooManyFrames { count: frames, limit: limits::MAX_FRAMES });
    }
    Ok(())
}

/// Positions that the context leaves for the answer, at least one.
pub(super) fn room(prompt: &Prompt, visuals: &Visuals, front: &Front) -> Result<usize, RequestError> {
    let need = prompt.ids.len();
    match front.max_context.checked_sub(need) {
        Some(room) if room > 0 => Ok(room),
        _ => Err(RequestError::ContextOverflow {
            need,
            images: visuals.packs.len() * front.pack_rows,
            limit: front.max_context,
            most: front.max_positions,
        }),
    }
}
