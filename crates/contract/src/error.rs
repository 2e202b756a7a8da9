//! Stable error codes: one table that the TypeScript error, the exit code and the HTTP status are read from.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:literal, $exit:literal;)+) => {
        /// What went wrong, as a name that never changes. Each value's text, HTTP status and exit code stand in one table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code, in the table's order.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// The name that programs compare with, such as `context_overflow`.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)+ }
            }

            /// The HTTP status a server answers with.
            pub const fn http_status(self) -> u16 {
                match self { $(Code::$variant => $status,)+ }
            }

            /// The exit code of a command-line program that ends for this reason.
            pub const fn exit_code(self) -> u8 {
                match self { $(Code::$variant => $exit,)+ }
            }

            /// One sentence for the errors table of the documentation.
            pub const fn summary(self) -> &'static str {
                match self { $(Code::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

codes! {
    /// An option is unknown, of the wrong type, or outside its range.
    InvalidOption = "invalid_option", 400, 2;
    /// A message's role, order or content cannot be used.
    InvalidMessage = "invalid_message", 400, 2;
    /// A picture's file or address cannot be read.
    PictureNotFound = "picture_not_found", 422, 2;
    /// A data URL does not have the form data:TYPE;base64,DATA.
    InvalidDataUrl = "invalid_data_url", 400, 2;
    /// The bytes are not a picture of a known format, or are damaged or cut short.
    InvalidPicture = "invalid_picture", 422, 2;
    /// A picture's bytes, sides or pixels exceed the limits.
    PictureTooLarge = "picture_too_large", 413, 2;
    /// A picture is so thin that one view of it would need too many patches.
    PictureTooThin = "picture_too_thin", 422, 2;
    /// A clip's frames, times or temporal ids do not fit together.
    InvalidClip = "invalid_clip", 422, 2;
    /// A request holds more pictures or frames than allowed.
    TooManyPictures = "too_many_pictures", 400, 2;
    /// The prompt does not fit into the context.
    ContextOverflow = "context_overflow", 400, 2;
    /// The model's folder or one of its files does not exist.
    ModelNotFound = "model_not_found", 404, 3;
    /// A file of the checkpoint is damaged, cut short or contradicts another.
    InvalidCheckpoint = "invalid_checkpoint", 500, 3;
    /// The checkpoint is whole but of a kind that is not supported.
    UnsupportedCheckpoint = "unsupported_checkpoint", 500, 3;
    /// The chosen device does not exist or cannot be used.
    DeviceUnavailable = "device_unavailable", 503, 4;
    /// The device failed; nothing runs until the model is loaded again.
    DeviceLost = "device_lost", 503, 4;
    /// There is not enough memory for the model or the request.
    OutOfMemory = "out_of_memory", 503, 4;
    /// The model produced a number that is not finite.
    NonFinite = "non_finite", 500, 1;
    /// Too many requests are waiting.
    QueueFull = "queue_full", 429, 1;
    /// The caller aborted the request.
    Aborted = "aborted", 499, 130;
    /// The reader of a stream was too slow for too long.
    SlowReader = "slow_reader", 408, 1;
    /// The model was closed.
    Closed = "closed", 503, 1;
    /// A fault inside karst; please report it.
    Internal = "internal", 500, 1;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error that knows its stable code and, where there is one, what to do next.
pub trait Coded: std::error::Error {
    /// The stable code.
    fn code(&self) -> Code;

    /// What the user can do about it, as one sentence.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// An error as it leaves karst: its type is gone, its code, words and hint remain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// What happened, with the values.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same failure with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl<E: Coded> From<&E> for Failure {
    fn from(error: &E) -> Self {
        Self { code: error.code(), message: error.to_string(), hint: error.hint() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_its_own_name_and_a_sentence() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.summary().trim().ends_with('.'), "{code}");
            assert!((400..600).contains(&code.http_status()), "{code}");
            assert_ne!(code.exit_code(), 0, "{code}");
        }
    }
}
