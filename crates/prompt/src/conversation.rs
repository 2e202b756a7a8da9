//! What is said, before it is a prompt.

use karst_vision_input::Layout;
use serde_json::Value;

/// Turns and how they are to be answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// Oldest first.
    pub turns: Vec<Turn>,
    /// Signatures of functions that the model may call, as the caller gave them.
    pub tools: Vec<Value>,
    /// Whether the answer begins with thoughts.
    pub thinking: Thinking,
    /// Whether an answer is asked for; without it the conversation stands for itself.
    pub add_generation_prompt: bool,
}

impl Conversation {
    /// A conversation without tools whose last turn is to be answered.
    pub fn new(turns: Vec<Turn>, thinking: Thinking) -> Self {
        Self { turns, tools: Vec::new(), thinking, add_generation_prompt: true }
    }
}

/// What one speaker says.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// Neighbours are joined by a line break.
    pub content: Vec<Content>,
    /// An assistant's thoughts, if they are kept apart from its text.
    pub reasoning: Option<String>,
    /// Functions that an assistant called.
    pub tool_calls: Vec<ToolCall>,
}

impl Turn {
    /// A turn without thoughts and calls.
    pub fn new(role: Role, content: Vec<Content>) -> Self {
        Self { role, content, reasoning: None, tool_calls: Vec::new() }
    }

    /// A turn that says `text`.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self::new(role, vec![Content::Text(text.into())])
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions; only as the first turn.
    System,
    /// The user.
    User,
    /// The model, in earlier turns.
    Assistant,
    /// A function that the model called.
    Tool,
}

impl Role {
    /// The name that the prompt and the API use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text; it can never become a control token.
    Text(String),
    /// A still (one layout), or the groups of a clip in order.
    Visual(Vec<Layout>),
}

/// Whether an answer begins with thoughts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Thinking {
    /// It does not: the prompt ends with empty thoughts.
    Fast,
    /// It does: the prompt ends where thoughts begin.
    Deep,
    /// The model decides; callers of the reference get this by not saying.
    #[default]
    Unspecified,
}

/// A call of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The function.
    pub name: String,
    /// Its arguments; a string is taken as JSON that is already written.
    pub arguments: Value,
}
