//! Keys and values of past tokens, in blocks that requests are given one by one.

use half::bf16;

use crate::device::Device;
use crate::error::CudaError;
use crate::memory::Buffer;

/// Numbers of a head.
pub const HEAD_WIDTH: usize = 128;

/// Keys and values of all layers: bf16 [layers][blocks][K][2][block][128]. For every key/value head a block has the keys of its
/// positions, then their values, so that a block of a layer is one range of memory.
#[derive(Debug)]
pub struct KvCache {
    values: Buffer<bf16>,
    layers: usize,
    blocks: usize,
    block: usize,
    heads: usize,
}

impl KvCache {
    /// A cache of `blocks` blocks of `block` positions for `heads` key/value heads, all zero.
    ///
    /// # Errors
    /// When there is not enough memory.
    ///
    /// # Panics
    /// When the block is no power of two from 16 on, or there are more blocks than 32 bits can count.
    pub fn new(device: &Device, layers: usize, blocks: usize, block: usize, heads: usize) -> Result<Self, CudaError> {
        assert!(block.is_power_of_two() && block >= 16, "blocks of {block} positions");
        assert!(blocks > 0 && u32::try_from(blocks).is_ok(), "{blocks} blocks");
        let values = device.zeroed(layers * blocks * heads * 2 * block * HEAD_WIDTH)?;
        Ok(Self { values, layers, blocks, block, heads })
    }

    /// Its layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Its blocks, in each layer.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Positions of a block.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Its key/value heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Its size on the device.
    pub fn bytes(&self) -> usize {
        self.values.bytes()
    }

    /// Where in [`KvCache::values`] a block of a layer begins.
    ///
    /// # Panics
    /// When there is no such block.
    pub fn offset(&self, layer: usize, block: usize) -> usize {
        assert!(layer < self.layers && block < self.blocks, "block {block} of layer {layer} in {self:?}");
        (layer * self.blocks + block) * self.block_len()
    }

    /// Numbers of a block of one layer.
    pub fn block_len(&self) -> usize {
        self.heads * 2 * self.block * HEAD_WIDTH
    }

    /// All its numbers.
    pub fn values(&self) -> &Buffer<bf16> {
        &self.values
    }

    /// All its numbers, to be written.
    pub fn values_mut(&mut self) -> &mut Buffer<bf16> {
        &mut self.values
    }
}
