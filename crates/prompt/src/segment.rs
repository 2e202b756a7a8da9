//! Text from users and text from us are different types.

use karst_vision_input::Layout;

use crate::control::ControlToken;

/// A piece of a rendered conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Segment {
    /// A control token; nothing else becomes one.
    Control(ControlToken),
    /// Ours, as text. `&'static str` keeps out whatever came with a request.
    Scaffold(&'static str),
    /// Theirs; can never become a control token.
    Text(String),
    /// Rows of features: a still, or the groups of a clip, joined by line breaks.
    Visual(Vec<Layout>),
}
