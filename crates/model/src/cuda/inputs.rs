//! The numbers that the host gives a launch: one block, copied at once.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};
use karst_kernels::{Buffer, CudaError, Device, SampleRow, Tokens};

/// Most tokens of a launch, and most rows that it draws for.
pub(super) const PLACES: usize = 64;

/// A pick of no row.
pub(super) const NO_PICK: u32 = u32::MAX;

/// What a launch is about.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Inputs {
    /// Where each token stands in its request; -1 where there is none.
    pub(super) position: [i32; PLACES],
    /// The slot of its request, whose blocks it reads.
    pub(super) slot: [u32; PLACES],
    /// Which it is.
    pub(super) id: [u32; PLACES],
    /// The place of the token that each row of logits is made of.
    pub(super) pick: [u32; PLACES],
    /// How each row is drawn.
    pub(super) rows: [SampleRow; PLACES],
}

/// The same on the device.
pub(super) struct DeviceInputs {
    pub(super) block: Buffer<Inputs>,
    /// Positions, slots, and the blocks of each slot's request.
    pub(super) tokens: Tokens,
    pub(super) id: Buffer<u32>,
    pub(super) pick: Buffer<u32>,
    pub(super) rows: Buffer<SampleRow>,
}

impl Inputs {
    /// No token, no row.
    pub(super) fn none() -> Self {
        Self {
            position: [-1; PLACES],
            slot: [0; PLACES],
            id: [0; PLACES],
            pick: [NO_PICK; PLACES],
            rows: [SampleRow::UNUSED; PLACES],
        }
    }
}

impl DeviceInputs {
    /// For `slots` requests of up to `row_blocks` blocks.
    pub(super) fn new(device: &Device, slots: usize, row_blocks: usize) -> Result<Self, CudaError> {
        let block = device.upload(&[Inputs::none()])?;
        let blocks = device.zeroed(slots * row_blocks)?;
        let (position, slot) = (offset_of!(Inputs, position), offset_of!(Inputs, slot));
        Ok(Self {
            tokens: Tokens::of(block.part(position, PLACES), block.part(slot, PLACES), blocks, row_blocks),
            id: block.part(offset_of!(Inputs, id), PLACES),
            pick: block.part(offset_of!(Inputs, pick), PLACES),
            rows: block.part(offset_of!(Inputs, rows), PLACES),
            block,
        })
    }
}
