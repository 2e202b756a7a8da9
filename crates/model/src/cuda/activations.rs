//! What passes between the kernels of a step.

use half::bf16;
use karst_checkpoint::DecoderConfig;
use karst_kernels::{Buffer, CudaError, Device, Layout, Prepared, SQUARES};

use super::inputs::PLACES;

/// Room for a step of 64 tokens.
pub(super) struct Activations {
    /// [T, H]: rows that stand for tokens, features of pictures.
    pub(super) given: Buffer<f32>,
    /// [T, H].
    pub(super) residual: Buffer<f32>,
    /// [T, H]: the residual times the next norm's weight.
    pub(super) normed: Buffer<bf16>,
    /// [T, 128]: parts of its sum of squares.
    pub(super) squares: Buffer<f32>,
    /// [T, (N + 2 K) D].
    pub(super) qkv: Buffer<f32>,
    /// [T, N D].
    pub(super) attended: Buffer<bf16>,
    /// [T, I].
    pub(super) gated: Buffer<bf16>,
    /// [M, H]: the rows to draw for.
    pub(super) picked: Buffer<bf16>,
    /// [M, 128].
    pub(super) picked_squares: Buffer<f32>,
    /// [M, V].
    pub(super) logits: Buffer<f32>,
    pub(super) prepared: Prepared,
}

impl Activations {
    pub(super) fn new<'a>(
        device: &Device,
        config: &DecoderConfig,
        layouts: impl IntoIterator<Item = &'a Layout>,
    ) -> Result<Self, CudaError> {
        let (hidden, queries) = (config.hidden, config.heads * config.head_dim);
        Ok(Self {
            given: device.zeroed(PLACES * hidden)?,
            residual: device.zeroed(PLACES * hidden)?,
            normed: device.zeroed(PLACES * hidden)?,
            squares: device.zeroed(PLACES * SQUARES)?,
            qkv: device.zeroed(PLACES * (queries + 2 * config.kv_heads * config.head_dim))?,
            attended: device.zeroed(PLACES * queries)?,
            gated: device.zeroed(PLACES * config.intermediate)?,
            picked: device.zeroed(PLACES * hidden)?,
            picked_squares: device.zeroed(PLACES * SQUARES)?,
            logits: device.zeroed(PLACES * config.vocabulary)?,
            prepared: Prepared::new(device, layouts, PLACES)?,
        })
    }
}
