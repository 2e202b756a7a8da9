//! CUDA kernels and what launches them.
//!
//! The driver's own interface alone: nothing of the CUDA toolkit is linked or loaded, and on a machine without an NVIDIA
//! driver [`Device::open`] says so. Kernels are embedded as images that were compiled beforehand ([`images`]); a build
//! without a CUDA compiler has none and works all the same, on the processor.
//!
//! The one decision: every kernel takes one structure of plain data, which has the same layout on both sides, and every
//! launcher proves sizes before it launches.

mod attention;
mod device;
mod driver;
mod embed;
mod error;
mod event;
mod graph;
mod images;
mod kind;
mod kv_cache;
mod launch;
mod layout;
mod loader;
mod measure;
mod memory;
mod module;
mod pack;
mod product;
mod repack;
mod sample;
mod source;
mod stream;
mod survey;
mod work;

pub use attention::{Angles, Attention, HeadNorms, Layer, Tokens};
pub use device::{Device, Properties};
pub use driver::driver_version;
pub use embed::{DRAWN, Embed, Embeddings, GIVEN, Gathered, Places, Published};
pub use error::{CudaError, Unavailable};
pub use event::Event;
pub use graph::Graph;
pub use images::{has_images, image};
pub use kind::{Kind, SLOTS, TILE_ROWS};
pub use kv_cache::{HEAD_WIDTH, KvCache};
pub use launch::Launch;
pub use layout::{Layout, LayoutError, Place};
pub use loader::{LoadError, Loader, Transfer};
pub use measure::Measure;
pub use memory::{Buffer, Memory, Pinned};
pub use module::{Function, Module};
pub use pack::{pack, unpack};
pub use product::{Flow, Input, Left, Output, Prepared, Products, Residual, SQUARES, Setting, Weights};
pub use repack::{Codes, Repack, Rows, Table, Tiles};
pub use sample::{MOST_RIVALS, NO_MASK, NO_TOKEN, SampleResult, SampleRow, SampleState, Sampler};
pub use source::{Dense, Float, Form, PackError, Quantised, Source};
pub use stream::Stream;
pub use survey::{Survey, Unusable};
pub use work::Work;
