//! The chat template, written in Rust: no template file is ever run.
//!
//! It is the published model's: Qwen3's, except that thinking begins the thought in the prompt.

use karst_vision_input::Layout;
use serde_json::Value;

use crate::conversation::{Content, Conversation, Role, Thinking, ToolCall, Turn};
use crate::python_json::dumps;

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Segment {
    /// Ours: control tokens in it are control tokens.
    Scaffold(&'static str),
    /// Theirs: it can never become a control token.
    Text(String),
    /// Rows of a still or of one group of frames.
    Visual(Layout),
}

use Segment::{Scaffold, Text};

const TOOLS_BEFORE: &str = "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are \
     provided with function signatures within <tools></tools> XML tags:\n<tools>";
const TOOLS_AFTER: &str = "\n</tools>\n\nFor each function call, return a json object with function name and arguments \
     within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": \
     <args-json-object>}\n</tool_call><|im_end|>\n";

/// Renders a conversation, well-formed or not, as the template does.
pub fn render(conversation: &Conversation) -> Vec<Segment> {
    let mut out = Vec::new();
    let turns = &conversation.turns;
    system(turns.first(), &conversation.tools, &mut out);
    let last_query = last_query(turns);
    for (index, turn) in turns.iter().enumerate() {
        match turn.role {
            Role::System if index == 0 => {}
            Role::System => spoken("<|im_start|>system\n", turn, &mut out),
            Role::User => spoken("<|im_start|>user\n", turn, &mut out),
            Role::Assistant => assistant(turn, index > last_query, index + 1 == turns.len(), &mut out),
            Role::Tool => tool(turns, index, &mut out),
        }
    }
    if conversation.add_generation_prompt {
        out.push(Scaffold(match conversation.thinking {
            Thinking::Fast => "<|im_start|>assistant\n<think>\n\n</think>\n\n",
            Thinking::Deep => "<|im_start|>assistant\n<think>\n",
            Thinking::Unspecified => "<|im_start|>assistant\n",
        }));
    }
    out
}

fn system(first: Option<&Turn>, tools: &[Value], out: &mut Vec<Segment>) {
    let first = first.filter(|turn| turn.role == Role::System);
    if tools.is_empty() {
        return first.into_iter().for_each(|turn| spoken("<|im_start|>system\n", turn, out));
    }
    out.push(Scaffold("<|im_start|>system\n"));
    if let Some(turn) = first {
        said(&turn.content, out);
        out.push(Scaffold("\n\n"));
    }
    out.push(Scaffold(TOOLS_BEFORE));
    for tool in tools {
        out.extend([Scaffold("\n"), Text(dumps(tool))]);
    }
    out.push(Scaffold(TOOLS_AFTER));
}

/// A turn that is shown as it is.
fn spoken(begin: &'static str, turn: &Turn, out: &mut Vec<Segment>) {
    out.push(Scaffold(begin));
    said(&turn.content, out);
    out.push(Scaffold("<|im_end|>\n"));
}

/// Content, neighbours joined by a line break.
fn said(content: &[Content], out: &mut Vec<Segment>) {
    let mut first = true;
    let mut join = |out: &mut Vec<Segment>| {
        if !std::mem::take(&mut first) {
            out.push(Scaffold("\n"));
        }
    };
    for item in content {
        match item {
            Content::Text(text) => {
                join(out);
                out.push(Text(text.clone()));
            }
            Content::Visual(layouts) => layouts.iter().for_each(|&layout| {
                join(out);
                out.push(Segment::Visual(layout));
            }),
        }
    }
}

/// The last turn in which the user asks, rather than a tool answers; the last of all if there is none.
fn last_query(turns: &[Turn]) -> usize {
    let asks = |turn: &Turn| {
        let text = turn.plain();
        let returned = text.starts_with("<tool_response>") && text.ends_with("</tool_response>");
        turn.role == Role::User && (turn.has_visuals() || !returned)
    };
    turns.iter().rposition(asks).unwrap_or(turns.len().saturating_sub(1))
}

/// The model's turn: its thoughts are shown only after the last question.
fn assistant(turn: &Turn, after_query: bool, last: bool, out: &mut Vec<Segment>) {
    let (thoughts, content) = thoughts_and_content(turn);
    out.push(Scaffold("<|im_start|>assistant\n"));
    if after_query && (last || !thoughts.is_empty()) {
        out.extend([Scaffold("<think>\n"), Text(thoughts.trim_matches('\n').to_owned())]);
        out.extend([Scaffold("\n</think>\n\n"), Text(content.trim_start_matches('\n').to_owned())]);
    } else {
        out.push(Text(content.clone()));
    }
    for (index, call) in turn.tool_calls.iter().enumerate() {
        if index > 0 || !content.is_empty() {
            out.push(Scaffold("\n"));
        }
        tool_call(call, out);
    }
    out.push(Scaffold("<|im_end|>\n"));
}

fn thoughts_and_content(turn: &Turn) -> (String, String) {
    let content = turn.plain();
    if let Some(thoughts) = &turn.reasoning {
        return (thoughts.clone(), content);
    }
    match (content.split_once("</think>"), content.rsplit_once("</think>")) {
        (Some((before, _)), Some((_, after))) => {
            let before = before.trim_end_matches('\n');
            let thoughts = before.rsplit_once("<think>").map_or(before, |(_, thoughts)| thoughts);
            (thoughts.trim_start_matches('\n').to_owned(), after.trim_start_matches('\n').to_owned())
        }
        // A thought that was cut off before its end: the template would leave it in the history.
        _ if content.starts_with("<think>") => (String::new(), String::new()),
        _ => (String::new(), content),
    }
}

fn tool_call(call: &ToolCall, out: &mut Vec<Segment>) {
    let arguments = match &call.arguments {
        Value::String(arguments) => arguments.clone(),
        arguments => dumps(arguments),
    };
    out.extend([Scaffold("<tool_call>\n{\"name\": \""), Text(call.name.clone())]);
    out.extend([Scaffold("\", \"arguments\": "), Text(arguments), Scaffold("}\n</tool_call>")]);
}

/// What functions returned, neighbours in one turn of the user's.
fn tool(turns: &[Turn], index: usize, out: &mut Vec<Segment>) {
    let is_tool = |turn: Option<&Turn>| turn.is_some_and(|turn| turn.role == Role::Tool);
    if index == 0 || !is_tool(turns.get(index - 1)) {
        out.push(Scaffold("<|im_start|>user"));
    }
    out.push(Scaffold("\n<tool_response>\n"));
    said(&turns[index].content, out);
    out.push(Scaffold("\n</tool_response>"));
    if !is_tool(turns.get(index + 1)) {
        out.push(Scaffold("<|im_end|>\n"));
    }
}
