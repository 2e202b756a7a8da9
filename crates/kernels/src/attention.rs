//! Attention of a step's tokens over the cache, with the norm and the rotation of queries and keys.

mod places;

use bytemuck::{Pod, Zeroable};
use cudarc::driver::sys::{self, CUfunction_attribute as Attribute, CUlaunchConfig};
use half::bf16;

use crate::device::Device;
use crate::error::{CudaError, check};
use crate::images::image;
use crate::kv_cache::{HEAD_WIDTH, KvCache};
use crate::launch::Launch;
use crate::memory::{Buffer, Memory};
use crate::module::{Function, Module};
use crate::product::{Left, Prepared};
use crate::work::Work;
pub use places::{Angles, Tokens};

/// Most parts of a context that are attended to side by side.
const SPLITS: usize = 16;

const WARPS: usize = 4;

/// Blocks of threads that keep a device busy.
const ENOUGH: usize = 256;

/// Most blocks of threads that a multiprocessor has registers for.
const MOST_BLOCKS: usize = 4;

/// Bytes of shared memory that a block has beside what it asks for, or more.
const BESIDE: usize = 17 << 10;

/// Most heads of queries for one key/value head.
const MOST_GROUP: usize = 8;

/// Norms of the heads of queries and keys.
#[derive(Debug, Clone, Copy)]
pub struct HeadNorms<'a> {
    /// [128].
    pub queries: &'a Buffer<f32>,
    /// [128].
    pub keys: &'a Buffer<f32>,
    /// Of both.
    pub epsilon: f32,
}

/// One layer's attention.
#[derive(Debug)]
pub struct Layer<'a> {
    /// [T, (N + 2 K) * 128]: queries, keys and values of the step.
    pub qkv: &'a Buffer<f32>,
    /// [T, N * 128]: the result; zero where there is no token.
    pub output: &'a mut Buffer<bf16>,
    /// Norms of the layer.
    pub norms: HeadNorms<'a>,
    /// The cache, and which of its layers.
    pub cache: (&'a mut KvCache, usize),
    /// Where the result is left for the product after it, too.
    pub left: Option<(&'a mut Prepared, Left)>,
}

/// The kernels, for one shape of heads. Their work shares memory: pieces of it must run one after another.
#[derive(Debug)]
pub struct Attention {
    module: Module,
    heads: usize,
    kv_heads: usize,
    tokens: usize,
    early: bool,
    /// Whether the device has room for clusters of all splits.
    clusters: bool,
    multiprocessors: usize,
    /// Bytes of shared memory that a block may ask for.
    shared: usize,
    scratch: Scratch,
}

/// What splits leave for the last of them to be done.
#[derive(Debug)]
struct Scratch {
    partials: Buffer<f32>,
    stats: Buffer<f32>,
    arrived: Buffer<u32>,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    qkv: u64,
    q_norm: u64,
    k_norm: u64,
    cos: u64,
    sin: u64,
    cache: u64,
    position: u64,
    table: u64,
    blocks: u64,
    output: u64,
    left: u64,
    width: u64,
    partials: u64,
    stats: u64,
    arrived: u64,
    kv_heads: u32,
    group: u32,
    block_log: u32,
    cache_blocks: u32,
    rows: u32,
    row_blocks: u32,
    positions: u32,
    epsilon: f32,
}

impl Attention {
    /// Loads the kernels for `heads` heads of queries, `kv_heads` heads of keys and values and steps of up to `tokens` tokens;
    /// `None` if this build has none for the device.
    ///
    /// # Errors
    /// When the driver refuses them.
    ///
    /// # Panics
    /// When there are no heads, or not one to eight heads of queries for each head of keys and values.
    pub fn load(device: &Device, heads: usize, kv_heads: usize, tokens: usize) -> Result<Option<Self>, CudaError> {
        let mut found = Self::load_without_clusters(device, heads, kv_heads, tokens)?;
        if let Some(found) = found.as_mut() {
            found.clusters = device.properties().capability.0 >= 9 && found.has_room()?;
        }
        Ok(found)
    }

    /// The same; the splits of a head exchange what they have found through memory alone, as they do where there are no clusters.
    ///
    /// # Errors
    /// When the driver refuses the kernels.
    ///
    /// # Panics
    /// As [`Attention::load`].
    pub fn load_without_clusters(
        device: &Device,
        heads: usize,
        kv_heads: usize,
        tokens: usize,
    ) -> Result<Option<Self>, CudaError> {
        let whole = kv_heads > 0 && heads > 0 && heads.is_multiple_of(kv_heads) && heads / kv_heads <= MOST_GROUP;
        assert!(whole, "{heads} heads of queries for {kv_heads} of keys");
        assert!((1..=65535).contains(&tokens) && kv_heads <= 65535, "{tokens} tokens of {kv_heads} heads");
        let properties = device.properties();
        let Some(image) = image("attention", properties.capability) else { return Ok(None) };
        let (module, scratch) = (device.module(image)?, Scratch::new(device, tokens, heads, kv_heads)?);
        let (multiprocessors, shared) = (properties.multiprocessors as usize, properties.shared as usize);
        let early = properties.capability.0 >= 9;
        Ok(Some(Self { module, heads, kv_heads, tokens, early, clusters: false, multiprocessors, shared, scratch }))
    }

    /// Whether the splits of a head exchange what they have found within a cluster.
    pub fn has_clusters(&self) -> bool {
        self.clusters
    }

    /// Whether the device has room for the clusters: they are larger than what every device that knows clusters must take.
    fn has_room(&self) -> Result<bool, CudaError> {
        let Ok(function) = self.function("cluster_decode", 0) else { return Ok(false) };
        let config = CUlaunchConfig {
            gridDimX: SPLITS as u32,
            gridDimY: self.kv_heads as u32,
            gridDimZ: 1,
            blockDimX: WARPS as u32 * 32,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            hStream: std::ptr::null_mut(),
            attrs: std::ptr::null_mut(),
            numAttrs: 0,
        };
        let mut count = 0;
        // SAFETY: the function lives; the driver writes one number.
        let asked = unsafe { sys::cuOccupancyMaxActiveClusters(&raw mut count, function.handle(), &raw const config) };
        Ok(check("cuOccupancyMaxActiveClusters", asked).is_ok() && count > 0)
    }

    /// A step of `count` tokens, no two of the same request: their keys and values into the cache, and their attention.
    ///
    /// # Errors
    /// When the driver refuses the kernel.
    ///
    /// # Panics
    /// When a buffer is too small.
    pub fn decode(&self, layer: Layer<'_>, tokens: &Tokens, angles: &Angles, count: usize) -> Result<Work, CudaError> {
        let bound = self.bind(layer, tokens, angles, count);
        // Many clusters do not find room beside each other: they are for the least time of one token.
        let cluster = self.clusters && count == 1;
        if !cluster {
            return self.attend("decode", count, bound);
        }
        Ok(self.work(&self.function("cluster_decode", 0)?, (SPLITS, 0), count, bound))
    }

    /// A step of `count` tokens of any requests, each after those before it: first their keys and values into the cache, then
    /// their attention. A token's result is the same as that of [`Attention::decode`], bit for bit.
    ///
    /// # Errors
    /// When the driver refuses a kernel.
    ///
    /// # Panics
    /// When a buffer is too small.
    pub fn general(
        &self,
        layer: Layer<'_>,
        tokens: &Tokens,
        angles: &Angles,
        count: usize,
    ) -> Result<[Work; 2], CudaError> {
        let bound = self.bind(layer, tokens, angles, count);
        let append = self.work(&self.module.function("attention_append", 0)?, (1, 0), count, bound.clone());
        Ok([append, self.attend("general", count, bound)?])
    }

    fn attend(&self, what: &str, count: usize, bound: (Params, Vec<Memory>)) -> Result<Work, CudaError> {
        let blocks = self.blocks(count);
        let shared = self.share(blocks * self.kv_heads * count);
        Ok(self.work(&self.function(what, shared as u32)?, (blocks, shared), count, bound))
    }

    /// Bytes of shared memory that keep more blocks than their share of `all` from a multiprocessor. A kernel that is launched early
    /// would else crowd those that are free first.
    fn share(&self, all: usize) -> usize {
        match all.div_ceil(self.multiprocessors) {
            blocks @ 1..MOST_BLOCKS if self.early => (self.shared / blocks).saturating_sub(BESIDE),
            _ => 0,
        }
    }

    /// Blocks of threads that share the splits of a head of a token. Which of them has a split makes no difference to it.
    fn blocks(&self, count: usize) -> usize {
        ENOUGH.div_ceil(self.kv_heads * count).next_power_of_two().min(SPLITS)
    }

    /// So many blocks for each head and token, with so much shared memory.
    fn work(
        &self,
        function: &Function,
        (blocks, shared): (usize, usize),
        count: usize,
        (params, memory): (Params, Vec<Memory>),
    ) -> Work {
        let grid = [blocks as u32, self.kv_heads as u32, count as u32];
        let launch = Launch { grid, threads: WARPS as u32 * 32, shared: shared as u32, early: self.early };
        // SAFETY: the buffers are as large as the kernel's parameters say, which was checked when they were bound.
        unsafe { Work::new(function, launch, &params, memory) }
    }

    /// The kernel for this shape of heads. It may share a multiprocessor with kernels that take nearly all shared memory, and
    /// prefers the same division of it from the cache: a multiprocessor that has to change it must be idle.
    fn function(&self, what: &str, shared: u32) -> Result<Function, CudaError> {
        let room = if self.heads / self.kv_heads > 4 { 8 } else { 4 };
        let function = self.module.function(&format!("attention_{what}_{room}"), shared)?;
        set(&function, Attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 100)?;
        if what.starts_with("cluster") {
            set(&function, Attribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)?;
        }
        Ok(function)
    }

    /// Parameters for these buffers, which are proven to be large enough, and the memory that they lie in.
    fn bind(&self, layer: Layer<'_>, tokens: &Tokens, angles: &Angles, count: usize) -> (Params, Vec<Memory>) {
        let Layer { qkv, output, norms, cache: (cache, index), left } = layer;
        let (width, kv_width) = (self.heads * HEAD_WIDTH, self.kv_heads * HEAD_WIDTH);
        assert!((1..=self.tokens).contains(&count), "{count} tokens of 1..={}", self.tokens);
        let rows = tokens.blocks.len() / tokens.row_blocks;
        let lengths = [tokens.position.len(), tokens.table.len()];
        assert!(rows > 0 && lengths.iter().all(|&len| len >= count), "{lengths:?} for {count} tokens of {rows} rows");
        assert!(
            qkv.len() >= count * (width + 2 * kv_width),
            "{} inputs for {count} x {}",
            qkv.len(),
            width + 2 * kv_width
        );
        assert!(output.len() >= count * width, "{} results for {count} x {width}", output.len());
        let lengths = [norms.queries.len(), norms.keys.len()];
        assert!(lengths.iter().all(|&len| len >= HEAD_WIDTH), "{lengths:?} weights of norms of {HEAD_WIDTH}");
        assert_eq!(cache.heads(), self.kv_heads, "heads of the cache");
        let left = left.map(|(prepared, left)| {
            assert_eq!((left.tokens, left.inputs), (count, width), "tokens and inputs that are left");
            let (place, width) = prepared.place(left);
            (place.address(), width, place.memory())
        });
        let (left_address, room) = left.as_ref().map_or((0, 0), |&(address, width, _)| (address, width));
        let positions = angles.positions().min(tokens.row_blocks * cache.block());
        let params = Params {
            qkv: qkv.address(),
            q_norm: norms.queries.address(),
            k_norm: norms.keys.address(),
            cos: angles.cos.address(),
            sin: angles.sin.address(),
            cache: cache.values().address_of(cache.offset(index, 0)),
            position: tokens.position.address(),
            table: tokens.table.address(),
            blocks: tokens.blocks.address(),
            output: output.address(),
            left: left_address,
            width: room as u64,
            partials: self.scratch.partials.address(),
            stats: self.scratch.stats.address(),
            arrived: self.scratch.arrived.address(),
            kv_heads: self.kv_heads as u32,
            group: (self.heads / self.kv_heads) as u32,
            block_log: cache.block().ilog2(),
            cache_blocks: cache.blocks() as u32,
            rows: rows as u32,
            row_blocks: tokens.row_blocks as u32,
            positions: positions.min(i32::MAX as usize) as u32,
            epsilon: norms.epsilon,
        };
        let mut memory = vec![qkv.memory(), output.memory(), norms.queries.memory(), norms.keys.memory()];
        memory.extend([angles.cos.memory(), angles.sin.memory(), cache.values().memory()]);
        memory.extend([tokens.position.memory(), tokens.table.memory(), tokens.blocks.memory()]);
        memory.extend(left.map(|(.., memory)| memory));
        let Scratch { partials, stats, arrived } = &self.scratch;
        memory.extend([partials.memory(), stats.memory(), arrived.memory()]);
        (params, memory)
    }
}

fn set(function: &Function, attribute: Attribute, value: i32) -> Result<(), CudaError> {
    // SAFETY: the function lives.
    check("cuFuncSetAttribute", unsafe { sys::cuFuncSetAttribute(function.handle(), attribute, value) })
}

impl Scratch {
    fn new(device: &Device, tokens: usize, heads: usize, kv_heads: usize) -> Result<Self, CudaError> {
        let parts = tokens * heads * SPLITS;
        Ok(Self {
            partials: device.zeroed(parts * HEAD_WIDTH)?,
            stats: device.zeroed(parts * 2)?,
            arrived: device.zeroed(tokens * kv_heads)?,
        })
    }
}
