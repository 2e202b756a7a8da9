//! Requests become events.
//!
//! Takes a folder with a model and [`Request`](karst_contract::Request)s; gives a [`Generation`] each, out of which
//! [`Event`](karst_contract::Event)s come. One thread owns the [`Backend`]: it takes in what callers ask, plans a step for all
//! who can take part, runs it and tells what was said. Pictures are decoded on threads of their own.
//!
//! The one decision: what decides is plain data. The [`scheduler`] and the cache's [`blocks`] know ids, counts and times and
//! no tensor, and every end of a request is told in one place, so that each has exactly one; a [simulation](backend::sim)
//! that fails on demand proves both.
//!
//! ```no_run
//! use karst_contract::{Event, Message, Options, Part, Request, Role};
//! use karst_engine::{Engine, EngineOptions};
//!
//! let engine = Engine::open("models/demo".as_ref(), &EngineOptions::default(), |_| {})?;
//! let question = Message { role: Role::User, content: vec![Part::Text("Hello".to_owned())], reasoning: None };
//! let generation = engine.start(Request { messages: vec![question], options: Options::default() });
//! while let Some(event) = generation.next_blocking() {
//!     if let Event::Text(piece) = event {
//!         print!("{piece}");
//!     }
//! }
//! # Ok::<(), karst_engine::EngineError>(())
//! ```

#![forbid(unsafe_code)]

mod answer;
pub mod backend;
pub mod blocks;
mod device;
mod engine;
mod error;
mod generation;
mod health;
mod info;
mod live;
mod memory;
mod open;
mod outbox;
mod pixels;
pub mod plan;
mod prepare;
pub mod sampler;
pub mod scheduler;
mod worker;
mod workshop;

pub use backend::Backend;
pub use device::DeviceChoice;
pub use engine::{Engine, Load, Tuning};
pub use error::EngineError;
pub use generation::Generation;
pub use info::{DeviceInfo, Info, LimitsInfo, ModelInfo};
pub use open::EngineOptions;
pub use prepare::{Front, Group, Inspection, PartInspection, RequestError};
