//! Conversations of the golden files in karst's words.

use karst_prompt::{Content, Conversation, Role, Segment, Thinking, ToolCall, Turn, render};
use karst_vision_input::{Grid, Layout};
use serde_json::Value;

/// The prompt that a row of the template's table becomes, as text.
pub fn prompt_text(row: &Value) -> String {
    let conversation = Conversation {
        turns: row["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .map(|message| turn(message, &mut Vec::new()))
            .collect(),
        tools: row["tools"].as_array().cloned().unwrap_or_default(),
        thinking: thinking(&row["enable_thinking"]),
        add_generation_prompt: row["add_generation_prompt"].as_bool().unwrap_or(false),
    };
    let text = |segment: Segment| match segment {
        Segment::Control(token) => token.text().to_owned(),
        Segment::Scaffold(text) => text.to_owned(),
        Segment::Text(text) => text,
        Segment::Visual(layouts) => {
            let places: Vec<_> = layouts.iter().map(|layout| placeholder(layout.image_id, layout.grid)).collect();
            places.join("\n")
        }
    };
    render(&conversation).into_iter().map(text).collect()
}

fn thinking(value: &Value) -> Thinking {
    match value.as_bool() {
        Some(true) => Thinking::Deep,
        Some(false) => Thinking::Fast,
        None => Thinking::Unspecified,
    }
}

/// A message with pictures; `layouts` are those of its pictures, in reverse order.
fn turn(message: &Value, layouts: &mut Vec<Vec<Layout>>) -> Turn {
    let role = match message["role"].as_str() {
        Some("system") => Role::System,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        _ => Role::User,
    };
    let content = match &message["content"] {
        Value::String(text) => vec![Content::Text(text.clone())],
        Value::Array(parts) => parts.iter().filter_map(|part| piece(part, layouts)).collect(),
        _ => Vec::new(),
    };
    let reasoning = message["reasoning_content"].as_str().map(str::to_owned);
    let tool_calls = message["tool_calls"].as_array().into_iter().flatten().map(tool_call).collect();
    Turn { role, content, reasoning, tool_calls }
}

fn piece(part: &Value, layouts: &mut Vec<Vec<Layout>>) -> Option<Content> {
    match part["text"].as_str() {
        Some(text) => Some(Content::Text(text.to_owned())),
        // Frames after the first of a group have no place of their own.
        None => layouts.pop().filter(|layouts| !layouts.is_empty()).map(Content::Visual),
    }
}

fn tool_call(call: &Value) -> ToolCall {
    let call = call.get("function").unwrap_or(call);
    ToolCall { name: call["name"].as_str().unwrap_or_default().to_owned(), arguments: call["arguments"].clone() }
}

/// The conversation of a run; `layouts` has an entry for each picture, empty for frames after the first of a group.
pub fn conversation(run: &Value, mut layouts: Vec<Vec<Layout>>) -> Conversation {
    layouts.reverse();
    let options = &run["options"];
    let system = options["system_prompt"].as_str().filter(|prompt| !prompt.is_empty());
    let system = system.map(|prompt| Turn::text(Role::System, prompt));
    let messages = run["messages"].as_array().expect("messages");
    let turns = messages.iter().map(|message| turn(message, &mut layouts));
    Conversation {
        turns: system.into_iter().chain(turns).collect(),
        tools: Vec::new(),
        thinking: if options["enable_thinking"] == true { Thinking::Deep } else { Thinking::Fast },
        add_generation_prompt: true,
    }
}

/// How the slicing table writes the place of a picture.
pub fn placeholder(id: Option<u32>, grid: Option<Grid>) -> String {
    let number = id.map_or_else(String::new, |id| format!("<image_id>{id}</image_id>"));
    let row = |grid: Grid| "<slice><unk>*64</slice>".repeat(grid.columns as usize);
    let rows = grid.map_or_else(String::new, |grid| vec![row(grid); grid.rows as usize].join("\n"));
    format!("{number}<image><unk>*64</image>{rows}")
}
