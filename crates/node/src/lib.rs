//! The binding: karst's engine as Node sees it.
//!
//! It takes JavaScript values and gives promises; the TypeScript in `src/` makes the public API of it, so that nothing here is
//! meant for users. There is no logic: options are checked by `contract`, requests by `engine`, and what stands here turns one
//! side's values into the other's.
//!
//! The one decision: the JavaScript thread only copies. Whatever takes longer than a copy (opening a model, measuring a
//! request, waiting for an event, closing) happens on other threads and settles a promise. Each entry catches panics, each
//! error carries a stable `code` and often a `hint`, and nothing is kept that belongs to one environment only, so that workers
//! may come and go.

#![allow(clippy::needless_pass_by_value, reason = "N-API hands values over")]

mod convert;
mod entry;
mod environment;
mod event;
mod info;
mod model;
mod options;
mod part;
mod stream;
mod tables;
