//! Which kernel takes a product, and how much room it needs.

use super::{Input, Output, SQUARES};
use crate::kind::{Kind, SLOTS};
use crate::layout::Layout;

/// Row blocks whose sums wait for the reducers.
const BUFFERS: usize = 2;
/// Row blocks whose halves of sums wait for a reducer of a cluster.
const GIVEN: usize = 4;
/// The least room for tokens with which two blocks of threads do the work of both together, on devices with clusters.
/// With less, exchanging sums costs more than it saves.
const PAIRED_WIDTH: usize = 32;
/// Stages of a ring that suffice for a single token; what is left of shared memory is for blocks of attention.
const ENOUGH: usize = 10;
/// Bytes of a single token's chunk of a slot.
const TOKEN_BYTES: usize = 512;

/// A kernel for some tokens and the shape that it gets.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) name: String,
    kind: Kind,
    /// Tokens a cluster has room for.
    width: usize,
    /// Blocks of threads that share slots and tokens.
    cluster: usize,
    parts: usize,
    /// Bytes of shared memory beside the ring.
    fixed: usize,
    bulk: bool,
}

impl Shape {
    /// The kernel for `count` of a step's `tokens`. `bulk`: the device has bulk copies and clusters.
    pub(super) fn of(layout: &Layout, output: &Output<'_>, tokens: usize, count: usize, bulk: bool) -> Self {
        let (kind, parts) = (layout.kind(), layout.ctas());
        let width = if tokens == 1 { 1 } else { count.next_power_of_two().max(least_width(kind)) };
        let cluster = if bulk && width >= PAIRED_WIDTH { 2 } else { 1 };
        let name = format!("product_{}_{}_{width}", kind_name(kind), output.name());
        let share = width / cluster;
        let staged = staged(kind, share.div_ceil(group_tokens(kind)), matches!(output, Output::Add(_)), bulk);
        let inputs = SLOTS * if tokens == 1 { layout.chunks() * (TOKEN_BYTES + extra_bytes(kind)) } else { staged };
        let given = if cluster > 1 { GIVEN } else { 0 };
        let partials = (BUFFERS * SLOTS * share + given * share) * 16 * 4;
        let barriers = (2 * BUFFERS + given * reducers(width)) * 8;
        let held = if matches!(output, Output::Gated(_)) { layout.blocks() / 2 * share.max(2) * 16 * 4 } else { 0 };
        let fixed = inputs + partials + share.next_multiple_of(2) * 4 + barriers + held;
        Self { name, kind, width, cluster, parts, fixed, bulk }
    }

    /// Threads a block: consumers, the producer, reducers.
    pub(super) fn threads(&self) -> u32 {
        32 * (SLOTS + 1 + reducers(self.width)) as u32
    }

    /// Blocks of threads; those of a cluster work through as many parts together.
    pub(super) fn grid(&self) -> usize {
        self.parts.next_multiple_of(self.cluster)
    }

    /// Blocks of threads of a cluster, each of which has as small a part of a stage.
    pub(super) fn cluster(&self) -> usize {
        self.cluster
    }

    /// Places of the ring that shared memory has room for, `None` if not even two, at most those of `most` whole
    /// stages. Without bulk copies a kernel knows up to four.
    pub(super) fn slots(&self, shared: usize, most: usize) -> Option<usize> {
        let room = shared.saturating_sub(self.fixed) / self.slot_bytes();
        let most = if self.width == 1 { most.min(ENOUGH) } else { most };
        let most = most.saturating_mul(self.cluster).min(if self.bulk { usize::MAX } else { 4 });
        Some(room.min(most)).filter(|&slots| slots >= 2)
    }

    /// Bytes of shared memory with a ring of `slots` places.
    pub(super) fn shared(&self, slots: usize) -> usize {
        self.fixed + slots * self.slot_bytes()
    }

    fn slot_bytes(&self) -> usize {
        self.kind.stage_bytes() / self.cluster + 16
    }
}

/// Most tokens that one kernel takes together.
pub(super) fn most_tokens(kind: Kind, bulk: bool) -> usize {
    match kind {
        Kind::Int4 | Kind::F16 if bulk => 32,
        Kind::Int4 | Kind::F16 | Kind::Bf16 => 16,
        Kind::Int8 => 8,
    }
}

const fn reducers(width: usize) -> usize {
    if width < 8 { 1 } else { 2 }
}

/// The least tokens that a kernel for several has room for.
pub(super) const fn least_width(kind: Kind) -> usize {
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

/// Tokens whose inputs stand together where several are prepared.
pub(super) const fn group_tokens(kind: Kind) -> usize {
    match kind {
        Kind::Int4 | Kind::Int8 => 4,
        Kind::F16 | Kind::Bf16 => 8,
    }
}

/// Bytes of a scale, sums and padding for each of a group's tokens.
const fn beside_bytes(kind: Kind) -> usize {
    4 * group_tokens(kind)
        * match kind {
            Kind::Int4 => 2,
            Kind::Int8 => 5,
            Kind::F16 | Kind::Bf16 => 1,
        }
}

/// Bytes of a group's inputs of one tile and of what stands beside them.
pub(super) const fn group_bytes(kind: Kind) -> usize {
    1024 + beside_bytes(kind)
}

/// Bytes of the inputs of several tokens, `groups` of them a tile, that a consumer has in shared memory.
const fn staged(kind: Kind, groups: usize, add: bool, bulk: bool) -> usize {
    let (tiles, kept) = match kind {
        Kind::Int4 => (2, 4),
        Kind::Int8 => (2, 3),
        Kind::F16 | Kind::Bf16 => (4, 5),
    };
    if add {
        return if bulk { groups * (group_bytes(kind) + beside_bytes(kind)) } else { 0 };
    }
    (tiles * groups).saturating_sub(kept) * group_bytes(kind)
}

/// Bytes of the prepared inputs of `tokens` tokens.
pub(super) fn prepared_bytes(layout: &Layout, tokens: usize) -> usize {
    let kind = layout.kind();
    SLOTS * layout.groups() * tokens.div_ceil(group_tokens(kind)) * group_bytes(kind)
}

/// Bytes that stand beside a single token's chunk: its scales and sums.
const fn extra_bytes(kind: Kind) -> usize {
    4 * match kind {
        Kind::Int8 => 10,
        Kind::Int4 | Kind::F16 | Kind::Bf16 => 3,
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
