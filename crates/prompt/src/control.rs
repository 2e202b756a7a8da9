//! The control tokens that prompts are made of.

use crate::tokenizer::TokenizerError;

macro_rules! control_tokens {
    ($($(#[doc = $doc:literal])+ $variant:ident, $field:ident = $text:literal;)+) => {
        /// A token that only karst places.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ControlToken {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ControlToken {
            /// Every control token, in the table's order.
            pub const ALL: &'static [ControlToken] = &[$(ControlToken::$variant,)+];

            /// How it is written.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        /// The ids of the control tokens in one tokenizer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Control {
            $($(#[doc = $doc])+ pub $field: u32,)+
        }

        impl Control {
            pub(crate) fn find(
                id_of: impl Fn(&'static str) -> Result<u32, TokenizerError>,
            ) -> Result<Self, TokenizerError> {
                Ok(Self { $($field: id_of($text)?,)+ })
            }

            /// The id of `token`.
            pub const fn id(&self, token: ControlToken) -> u32 {
                match token { $(ControlToken::$variant => self.$field,)+ }
            }
        }
    };
}

control_tokens! {
    /// Opens a turn.
    ImStart, im_start = "<|im_start|>";
    /// Ends a turn.
    ImEnd, im_end = "<|im_end|>";
    /// Ends everything.
    EndOfText, end_of_text = "<|endoftext|>";
    /// Opens thoughts.
    Think, think = "<think>";
    /// Ends thoughts.
    ThinkEnd, think_end = "</think>";
    /// Opens the rows of a whole picture.
    Image, image = "<image>";
    /// Ends them.
    ImageEnd, image_end = "</image>";
    /// Opens the rows of a slice.
    Slice, slice = "<slice>";
    /// Ends them.
    SliceEnd, slice_end = "</slice>";
    /// Opens the number of a picture.
    ImageId, image_id = "<image_id>";
    /// Ends it.
    ImageIdEnd, image_id_end = "</image_id>";
    /// Holds the place of one row of features.
    Unk, unk = "<unk>";
    /// Opens the call of a tool.
    ToolCall, tool_call = "<tool_call>";
    /// Ends it.
    ToolCallEnd, tool_call_end = "</tool_call>";
    /// Opens a tool's answer.
    ToolResponse, tool_response = "<tool_response>";
    /// Ends it.
    ToolResponseEnd, tool_response_end = "</tool_response>";
}
