//! The chat template of the published model, written out: a conversation becomes segments.

mod body;
mod json;

use crate::control::ControlToken::{self, ImEnd, ImStart, Think, ThinkEnd, ToolResponse, ToolResponseEnd};
use crate::conversation::{Content, Conversation, Role, Thinking, ToolCall, Turn};
use crate::segment::Segment::{self, Control, Scaffold, Text};
use body::Body;

/// Renders a conversation as the published template does, with one exception: thoughts of an earlier answer that were
/// never ended are removed like ended ones, where the template leaves them in the history.
pub fn render(conversation: &Conversation) -> Vec<Segment> {
    let turns = &conversation.turns;
    let mut template = Template { segments: Vec::new(), turns, last_query: last_query(turns) };
    template.head(conversation);
    for (index, turn) in turns.iter().enumerate() {
        template.turn(index, turn);
    }
    if conversation.add_generation_prompt {
        template.answer(conversation.thinking);
    }
    template.segments
}

/// Index of the last turn in which a user asks something; answers of tools may also come in a user's turn. Later
/// assistant turns are steps of one answer and keep their thoughts.
fn last_query(turns: &[Turn]) -> usize {
    let asks = |turn: &Turn| turn.role == Role::User && !is_tool_response(&turn.content);
    turns.iter().rposition(asks).unwrap_or(turns.len().saturating_sub(1))
}

fn is_tool_response(content: &[Content]) -> bool {
    matches!(content.first(), Some(Content::Text(text)) if text.starts_with(ToolResponse.text()))
        && matches!(content.last(), Some(Content::Text(text)) if text.ends_with(ToolResponseEnd.text()))
}

struct Template<'a> {
    segments: Vec<Segment>,
    turns: &'a [Turn],
    last_query: usize,
}

impl Template<'_> {
    fn head(&mut self, conversation: &Conversation) {
        let system = conversation.turns.first().filter(|turn| turn.role == Role::System);
        if system.is_none() && conversation.tools.is_empty() {
            return;
        }
        self.segments.extend([Control(ImStart), Scaffold("system\n")]);
        if let Some(turn) = system {
            self.segments.extend(Body::of(&turn.content).segments());
        }
        if !conversation.tools.is_empty() {
            self.segments.extend(system.map(|_| Scaffold("\n\n")));
            self.tools(conversation);
        }
        self.segments.extend([Control(ImEnd), Scaffold("\n")]);
    }

    fn tools(&mut self, conversation: &Conversation) {
        self.segments.push(Scaffold(
            "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with \
             function signatures within <tools></tools> XML tags:\n<tools>",
        ));
        for tool in &conversation.tools {
            self.segments.extend([Scaffold("\n"), Text(json::dumps(tool))]);
        }
        self.segments.extend([
            Scaffold(
                "\n</tools>\n\nFor each function call, return a json object with function name and arguments within ",
            ),
            Control(ControlToken::ToolCall),
            Control(ControlToken::ToolCallEnd),
            Scaffold(" XML tags:\n"),
            Control(ControlToken::ToolCall),
            Scaffold("\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n"),
            Control(ControlToken::ToolCallEnd),
        ]);
    }

    fn turn(&mut self, index: usize, turn: &Turn) {
        match turn.role {
            Role::System if index == 0 => {} // the head has it
            Role::System => self.plain("system\n", turn),
            Role::User => self.plain("user\n", turn),
            Role::Assistant => self.assistant(index, turn),
            Role::Tool => self.tool(index, turn),
        }
    }

    fn plain(&mut self, opening: &'static str, turn: &Turn) {
        self.segments.extend([Control(ImStart), Scaffold(opening)]);
        self.segments.extend(Body::of(&turn.content).segments());
        self.segments.extend([Control(ImEnd), Scaffold("\n")]);
    }

    fn assistant(&mut self, index: usize, turn: &Turn) {
        let (thoughts, mut body) = match &turn.reasoning {
            Some(thoughts) => (thoughts.clone(), Body::of(&turn.content)),
            None => Body::without_thoughts(&turn.content),
        };
        let is_silent = body.is_empty();
        let is_last = index + 1 == self.turns.len();
        self.segments.extend([Control(ImStart), Scaffold("assistant\n")]);
        if index > self.last_query && (is_last || !thoughts.is_empty()) {
            self.thoughts(&thoughts);
            body.trim_start();
        }
        self.segments.extend(body.segments());
        self.calls(&turn.tool_calls, is_silent);
        self.segments.extend([Control(ImEnd), Scaffold("\n")]);
    }

    fn thoughts(&mut self, thoughts: &str) {
        let thoughts = Text(thoughts.trim_matches('\n').to_owned());
        self.segments.extend([Control(Think), Scaffold("\n"), thoughts]);
        self.segments.extend([Scaffold("\n"), Control(ThinkEnd), Scaffold("\n\n")]);
    }

    fn calls(&mut self, calls: &[ToolCall], is_silent: bool) {
        for (index, call) in calls.iter().enumerate() {
            let arguments = match &call.arguments {
                serde_json::Value::String(written) => written.clone(),
                value => json::dumps(value),
            };
            self.segments.extend((index > 0 || !is_silent).then_some(Scaffold("\n")));
            self.segments.extend([
                Control(ControlToken::ToolCall),
                Scaffold("\n{\"name\": \""),
                Text(call.name.clone()),
                Scaffold("\", \"arguments\": "),
                Text(arguments),
                Scaffold("}\n"),
                Control(ControlToken::ToolCallEnd),
            ]);
        }
    }

    /// Answers of several tools in a row share a turn.
    fn tool(&mut self, index: usize, turn: &Turn) {
        let is_tool = |neighbour: Option<&Turn>| neighbour.is_some_and(|turn| turn.role == Role::Tool);
        if !is_tool(index.checked_sub(1).and_then(|before| self.turns.get(before))) {
            self.segments.extend([Control(ImStart), Scaffold("user")]);
        }
        self.segments.extend([Scaffold("\n"), Control(ToolResponse), Scaffold("\n")]);
        self.segments.extend(Body::of(&turn.content).segments());
        self.segments.extend([Scaffold("\n"), Control(ToolResponseEnd)]);
        if !is_tool(self.turns.get(index + 1)) {
            self.segments.extend([Control(ImEnd), Scaffold("\n")]);
        }
    }

    fn answer(&mut self, thinking: Thinking) {
        self.segments.extend([Control(ImStart), Scaffold("assistant\n")]);
        match thinking {
            Thinking::Fast => {
                self.segments.extend([Control(Think), Scaffold("\n\n"), Control(ThinkEnd), Scaffold("\n\n")]);
            }
            Thinking::Deep => self.segments.extend([Control(Think), Scaffold("\n")]),
            Thinking::Unspecified => {}
        }
    }
}
