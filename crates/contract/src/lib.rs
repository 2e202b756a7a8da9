//! The words that every part of karst shares.
//!
//! A [`Request`] goes down by value, only [`Event`]s come up. Between them travel [`Frame`]s, checked [`Sampling`]
//! settings and errors that carry a stable [`Code`]. Nothing here does work and nothing here needs more than `std`, so any
//! crate may speak these words without pulling in another.
//!
//! A value of these types is right by construction: a [`Frame`] has as many bytes as its sides say, a [`Sampling`] lies
//! within its ranges. Later stages therefore do not check again.

pub mod error;
pub mod event;
pub mod frame;
pub mod limits;
pub mod options;
pub mod progress;
pub mod request;
pub mod sampling;

pub use error::{Code, Coded, Failure};
pub use event::{Alternative, Answer, Event, FinishReason, Timings, TokenLogprob, Usage};
pub use frame::{Frame, FrameError};
pub use options::{OptionError, OptionValue, Options};
pub use progress::Progress;
pub use request::{Alpha, Clip, Message, Orientation, Part, Picture, Request, Role, Source, Timing};
pub use sampling::Sampling;
