//! What the chat template is given.

use karst_vision_input::Layout;
use serde_json::Value;

/// Turns, tools and how to answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The turns, oldest first.
    pub turns: Vec<Turn>,
    /// Functions that the model may call, as JSON schemas.
    pub tools: Vec<Value>,
    /// Whether the model is to think.
    pub thinking: Thinking,
    /// Whether the prompt ends with the beginning of the model's turn.
    pub add_generation_prompt: bool,
}

/// Whether the model is to think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Thinking {
    /// An empty thought is put before the answer.
    Fast,
    /// A thought is begun.
    Deep,
    /// Nothing is put there: the model does as it likes.
    #[default]
    Unspecified,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// What a called function returned.
    Tool,
}

/// One turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said; neighbours are joined by a line break.
    pub content: Vec<Content>,
    /// The model's thoughts, where they are kept apart from what it said.
    pub reasoning: Option<String>,
    /// Functions that the model called.
    pub tool_calls: Vec<ToolCall>,
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text, which never becomes a control token.
    Text(String),
    /// A still (one layout) or a clip (one a group of frames).
    Visual(Vec<Layout>),
}

/// A function that the model called.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The function.
    pub name: String,
    /// Its arguments: an object, or a string that holds one.
    pub arguments: Value,
}

impl Turn {
    /// A turn that says `text`.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        let content = vec![Content::Text(text.into())];
        Self { role, content, reasoning: None, tool_calls: Vec::new() }
    }

    /// The turn's text, as far as it is text.
    pub(crate) fn plain(&self) -> String {
        let texts = self.content.iter().filter_map(|content| match content {
            Content::Text(text) => Some(text.as_str()),
            Content::Visual(_) => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn has_visuals(&self) -> bool {
        self.content.iter().any(|content| matches!(content, Content::Visual(_)))
    }
}
