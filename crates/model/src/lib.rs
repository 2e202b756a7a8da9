//! From weights to a forward pass.
//!
//! Takes a [`karst_checkpoint::Checkpoint`], the [`karst_vision_input::View`]s of pictures and the token ids of prompts;
//! gives features (64 rows for each picture or pack of frames) and logits. [`cpu`] computes in f32 throughout, with the
//! decoder's weights kept in the form in which they were stored: it is the fallback where there is no GPU and the oracle
//! that faster paths are compared with.
//!
//! The one decision: a forward pass takes *rows*, each with its own block table, past and chunk of ids, and computes what
//! they share (the products with the weights) once, what they do not share (attention) apart. What a row gets does
//! therefore not depend on its neighbours, to the last bit.
//!
//! ```
//! use karst_checkpoint::Checkpoint;
//! use karst_model::cpu::{Logits, Model, Options, Row};
//!
//! let checkpoint = Checkpoint::open("../../models/demo".as_ref())?;
//! let mut model = Model::load(&checkpoint, &Options::default(), &|_| {})?;
//! let row = Row { blocks: &[0], past: 0, ids: &[1202, 803, 198], features: &[], logits: Logits::Last };
//! let logits = model.forward(&[row])?;
//! assert_eq!(logits[0].len(), checkpoint.config().decoder.vocabulary);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod cpu;
pub mod cuda;
mod error;
mod progress;

pub use error::ModelError;
