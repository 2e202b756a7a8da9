//! The order of turns, as the reference asserts it, and their lengths.

use karst_contract::limits;

use crate::conversation::{Content, Conversation, Role, Turn};
use crate::error::PromptError;
use crate::segment::Segment;

/// Checks roles and their order.
pub(crate) fn turns(conversation: &Conversation) -> Result<(), PromptError> {
    let turns = &conversation.turns;
    let Some(last) = turns.last() else { return Err(PromptError::Empty) };
    if turns.len() > limits::MAX_MESSAGES {
        return Err(PromptError::TooManyTurns { turns: turns.len(), limit: limits::MAX_MESSAGES });
    }
    first(turns)?;
    if conversation.add_generation_prompt && !matches!(last.role, Role::User | Role::Tool) {
        return Err(PromptError::LastTurn { role: last.role });
    }
    turns.iter().enumerate().try_for_each(|(index, turn)| each(index, turn))
}

fn first(turns: &[Turn]) -> Result<(), PromptError> {
    let start = usize::from(turns[0].role == Role::System);
    match turns.get(start) {
        None => Err(PromptError::LastTurn { role: Role::System }),
        Some(turn) if turn.role == Role::User => Ok(()),
        Some(turn) if turn.role == Role::System => Err(PromptError::LateSystem { turn: start + 1 }),
        Some(turn) => Err(PromptError::FirstTurn { turn: start + 1, role: turn.role }),
    }
}

fn each(index: usize, Turn { role, content, reasoning, tool_calls }: &Turn) -> Result<(), PromptError> {
    let (turn, role) = (index + 1, *role);
    if role == Role::System && index > 0 {
        return Err(PromptError::LateSystem { turn });
    }
    if role != Role::Assistant && reasoning.is_some() {
        return Err(PromptError::ForeignThoughts { turn, role });
    }
    if role != Role::Assistant && !tool_calls.is_empty() {
        return Err(PromptError::ForeignCalls { turn, role });
    }
    if content.iter().any(|part| matches!(part, Content::Visual(layouts) if layouts.is_empty())) {
        return Err(PromptError::EmptyVisual { turn });
    }
    Ok(())
}

/// Checks the bytes of foreign text, before any of it is tokenised.
pub(crate) fn text(segments: &[Segment]) -> Result<(), PromptError> {
    let length = |segment: &Segment| if let Segment::Text(text) = segment { text.len() } else { 0 };
    let bytes = segments.iter().map(length).fold(0, usize::saturating_add);
    let limit = limits::MAX_TEXT_BYTES;
    if bytes > limit { Err(PromptError::TextTooLong { bytes, limit }) } else { Ok(()) }
}
