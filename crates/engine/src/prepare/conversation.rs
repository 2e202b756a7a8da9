//! A request's messages in the words of the prompt.

use std::collections::VecDeque;

use karst_contract::{Message, Part, Request, Role};
use karst_prompt::{Content, Conversation, Role as Speaker, Thinking, Turn};
use karst_vision_input::Layout;

use super::visuals::{PlannedPart, Visuals};

/// The conversation, with each picture's and clip's layouts in its place.
pub(super) fn of(request: &Request, visuals: &Visuals) -> Conversation {
    let mut layouts: VecDeque<Vec<Layout>> = visuals.parts.iter().map(PlannedPart::layouts).collect();
    Conversation {
        turns: request.messages.iter().map(|message| turn(message, &mut layouts)).collect(),
        tools: Vec::new(),
        thinking: if request.options.thinking { Thinking::Deep } else { Thinking::Fast },
        add_generation_prompt: true,
    }
}

fn turn(message: &Message, layouts: &mut VecDeque<Vec<Layout>>) -> Turn {
    let role = match message.role {
        Role::System => Speaker::System,
        Role::User => Speaker::User,
        Role::Assistant => Speaker::Assistant,
    };
    let content = message.content.iter().map(|part| match part {
        Part::Text(text) => Content::Text(text.clone()),
        // There is one entry for each such part, in the same order.
        Part::Picture(_) | Part::Clip(_) => Content::Visual(layouts.pop_front().unwrap_or_default()),
    });
    Turn { role, content: content.collect(), reasoning: message.reasoning.clone(), tool_calls: Vec::new() }
}
