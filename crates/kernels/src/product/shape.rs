//! Which kernel takes a product, and how much room it needs.

use super::{Input, Output, SQUARES, TOKEN_BYTES};
use crate::kind::{Kind, SLOTS};
use crate::layout::Layout;

/// Row blocks whose sums wait for the reducer.
const BUFFERS: usize = 2;
/// Tokens of one block of a cluster.
const CLUSTER_WIDTH: usize = 16;

/// A kernel for some tokens and the shape that it gets.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) name: String,
    kind: Kind,
    /// Tokens a block of threads has room for.
    width: usize,
    /// Blocks of threads that share weights.
    cluster: usize,
    parts: usize,
    /// Bytes of shared memory beside the ring.
    fixed: usize,
}

impl Shape {
    /// The kernel for `count` of a step's `tokens`.
    pub(super) fn of(layout: &Layout, output: &Output<'_>, tokens: usize, count: usize) -> Self {
        let (kind, parts) = (layout.kind(), layout.ctas());
        let room = if tokens == 1 { 1 } else { count.next_power_of_two().max(least_width(kind)) };
        let (width, cluster) = (room.min(CLUSTER_WIDTH), room.div_ceil(CLUSTER_WIDTH));
        let after = match output {
            Output::Plain(_) => "plain",
            Output::Gated(_) => "gated",
            Output::Add(_) => "add",
        };
        let name = format!("product_{}_{after}_{room}", kind_name(kind));
        let chunks = if tokens == 1 { layout.chunks() } else { 1 };
        let inputs = SLOTS * width * chunks * (TOKEN_BYTES + extra_bytes(kind));
        let partials = BUFFERS * SLOTS * width * 16 * 4;
        let held = if matches!(output, Output::Gated(_)) { layout.blocks() / 2 * width.max(2) * 16 * 4 } else { 0 };
        let fixed = inputs + partials + width.next_multiple_of(2) * 4 + 2 * BUFFERS * 8 + held;
        Self { name, kind, width, cluster, parts, fixed }
    }

    /// Threads a block: consumers, the producer, one or two reducers.
    pub(super) fn threads(&self) -> u32 {
        32 * if self.width < 8 { 18 } else { 19 }
    }

    /// Blocks of threads; those of a cluster work through as many parts together.
    pub(super) fn grid(&self) -> usize {
        self.parts.next_multiple_of(self.cluster)
    }

    /// Stages of the ring that shared memory has room for, `None` if not even two. Without bulk copies a kernel knows up to four.
    pub(super) fn slots(&self, shared: usize, bulk: bool, most: usize) -> Option<usize> {
        let room = shared.saturating_sub(self.fixed) / self.slot_bytes();
        Some(room.min(most).min(if bulk { usize::MAX } else { 4 })).filter(|&slots| slots >= 2)
    }

    /// Bytes of shared memory with a ring of `slots` stages.
    pub(super) fn shared(&self, slots: usize) -> usize {
        self.fixed + slots * self.slot_bytes()
    }

    fn slot_bytes(&self) -> usize {
        self.kind.stage_bytes() + 16
    }
}

/// Most tokens that one kernel takes together.
pub(super) fn most_tokens(kind: Kind, bulk: bool) -> usize {
    match kind {
        Kind::Int4 | Kind::F16 if bulk => 64,
        Kind::Int4 | Kind::F16 | Kind::Bf16 => 16,
        Kind::Int8 => 8,
    }
}

/// The least tokens that a kernel for several has room for.
const fn least_width(kind: Kind) -> usize {
    match kind {
        Kind::Int4 | Kind::Int8 => 4,
        Kind::F16 | Kind::Bf16 => 8,
    }
}

pub(super) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Int4 => "int4",
        Kind::Int8 => "int8",
        Kind::F16 => "f16",
        Kind::Bf16 => "bf16",
    }
}

/// Bytes that stand beside a token's chunk: its scale and sums.
pub(super) const fn extra_bytes(kind: Kind) -> usize {
    4 * match kind {
        Kind::Int4 => 3,
        Kind::Int8 => 9,
        Kind::F16 | Kind::Bf16 => 2,
    }
}

/// Most row blocks of a part whose sums registers hold, with any number of tokens.
const HELD: usize = 2;

pub(super) fn check(layout: &Layout, input: &Input<'_>, output: &Output<'_>, tokens: usize) {
    let (inputs, outputs) = (layout.inputs(), layout.outputs());
    assert!(tokens > 0, "a product of no tokens");
    assert!(inputs.is_multiple_of(8), "{inputs} inputs are no multiple of eight");
    assert!(input.values.len() >= tokens * inputs, "{} activations for {tokens} x {inputs}", input.values.len());
    assert!(input.squares.is_none_or(|squares| squares.len() >= tokens * SQUARES), "squares for {tokens} tokens");
    let single = || assert_eq!(layout.chunks(), 1, "only products that add to the residual take {inputs} inputs");
    match output {
        Output::Plain(values) => {
            single();
            assert!(!layout.is_interleaved(), "interleaved outputs are for gated products");
            assert!(values.len() >= tokens * outputs, "{} outputs for {tokens} x {outputs}", values.len());
        }
        Output::Gated(values) => {
            single();
            assert!(layout.is_interleaved(), "the outputs of a gated product are interleaved");
            assert!(values.len() >= tokens * outputs / 2, "{} outputs for {tokens} x {outputs} / 2", values.len());
        }
        Output::Add(residual) => {
            assert!(input.squares.is_none(), "no norm stands before what is added to the residual");
            assert!(layout.blocks() <= HELD, "{} row blocks a part, {HELD} at most", layout.blocks());
            assert!(layout.ctas() <= SQUARES && !layout.is_interleaved(), "{} parts", layout.ctas());
            let lengths = [residual.values.len(), residual.normed.len()];
            assert!(lengths.iter().all(|&len| len >= tokens * outputs), "{lengths:?} for {tokens} x {outputs}");
            assert!(residual.norm.len() >= outputs, "{} weights of a norm of {outputs}", residual.norm.len());
            assert!(residual.squares.len() >= tokens * SQUARES, "squares for {tokens} tokens");
        }
    }
}
