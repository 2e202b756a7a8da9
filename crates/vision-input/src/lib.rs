//! What a picture becomes before the model sees it.
//!
//! Takes a [`Frame`](karst_contract::Frame), gives [`View`]s: the whole picture at about 448 x 448 pixels and, if it is
//! large, slices of it at that size, cut into patches of 14 x 14. [`plan()`] decides the sizes from the sides alone, so that
//! tokens can be counted before a pixel is decoded; [`views`] does the work, in parallel.
//!
//! The one decision: everything is equal to the reference implementation to the byte, Pillow's rounding included, because
//! the weights have learnt what that gives. Nothing here reads a file or waits for anything.
//!
//! ```
//! use karst_vision_input::{Settings, Size, plan};
//!
//! let slicing = plan(Size { width: 1024, height: 768 }, 9, &Settings::default())?;
//! assert_eq!(slicing.views(), 5); // the overview and 2 x 2 slices
//! # Ok::<(), karst_vision_input::SlicingError>(())
//! ```

#![forbid(unsafe_code)]

pub mod clip;
mod layout;
mod omega;
pub mod position;
pub mod resize;
pub mod sampling;
mod slicing;
mod view;

pub use layout::{Layout, Pack};
pub use slicing::{Grid, Settings, Size, Slices, Slicing, SlicingError, plan, rule};
pub use view::{View, normalised, views};
