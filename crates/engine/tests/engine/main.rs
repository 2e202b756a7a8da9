//! What the engine promises, shown on the simulated backend and, in `demo`, on the demo model.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

mod cancel;
mod common;
mod demo;
mod fairness;
mod faults;
mod lengths;
mod pictures;
mod readers;
mod said;
mod scheduler;
