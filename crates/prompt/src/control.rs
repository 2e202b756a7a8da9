//! Ids of the control tokens, read from the tokenizer's file.

use std::collections::HashMap;

use crate::error::TokenizerError;

macro_rules! control {
    ($($(#[doc = $doc:literal])+ $field:ident = $token:literal;)+) => {
        /// Ids of the tokens that prompts are built from.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Control {
            $($(#[doc = $doc])+ pub $field: u32,)+
        }

        impl Control {
            /// Looks the tokens up by their text.
            pub(crate) fn find(added: &HashMap<String, u32>) -> Result<Self, TokenizerError> {
                let id = |token: &str| {
                    added.get(token).copied().ok_or_else(|| TokenizerError::Missing { token: token.to_owned() })
                };
                Ok(Self { $($field: id($token)?,)+ })
            }
        }
    };
}

control! {
    /// Begins a turn.
    im_start = "<|im_start|>";
    /// Ends a turn.
    im_end = "<|im_end|>";
    /// Ends a text.
    end_of_text = "<|endoftext|>";
    /// Begins a thought.
    think = "<think>";
    /// Ends a thought.
    think_end = "</think>";
    /// Begins the rows of an overview.
    image = "<image>";
    /// Ends them.
    image_end = "</image>";
    /// Begins the rows of a slice.
    slice = "<slice>";
    /// Ends them.
    slice_end = "</slice>";
    /// Begins a picture's number.
    image_id = "<image_id>";
    /// Ends it.
    image_id_end = "</image_id>";
    /// Stands where a feature row goes.
    unk = "<unk>";
}
