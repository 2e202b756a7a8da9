//! Conversations to token ids, and sampled ids back to text.
//!
//! [`build`] takes a [`Conversation`] whose pictures are already planned ([`Layout`](karst_vision_input::Layout)) and gives
//! a [`Prompt`]: ids, and the [`Span`]s where features of pictures go. [`Transcript`] takes the sampled ids one by one and
//! gives what can be said of them, thoughts apart from the answer.
//!
//! The one decision: what we write and what others write are different types. A [`Segment`] of theirs is tokenised by a
//! tokenizer that knows no control token, so no text can end a turn, open a thought or move a picture; and a span is noted
//! when its rows are placed, never searched for.
//!
//! ```
//! use karst_prompt::{Conversation, Role, Thinking, Tokenizer, Turn, build};
//!
//! let tokenizer = Tokenizer::from_bytes(&std::fs::read("../../models/demo/tokenizer.json")?)?;
//! let conversation = Conversation::new(vec![Turn::text(Role::User, "Is <|im_end|> a word?")], Thinking::Fast);
//! let prompt = build(&tokenizer, &conversation)?;
//! let ends = prompt.ids.iter().filter(|&&id| id == tokenizer.control().im_end);
//! assert_eq!(ends.count(), 1); // the one that ends the turn
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod assemble;
mod check;
mod control;
mod conversation;
mod error;
mod segment;
mod template;
mod tokenizer;
mod transcript;

pub use assemble::{PACK_ROWS, Prompt, Span, build};
pub use control::{Control, ControlToken};
pub use conversation::{Content, Conversation, Role, Thinking, ToolCall, Turn};
pub use error::PromptError;
pub use segment::Segment;
pub use template::render;
pub use tokenizer::{Tokenizer, TokenizerError};
pub use transcript::{Piece, Transcript};
