//! Tokens drawn on the device, in the order of the processor's sampler: repetition penalty, temperature, top-k, top-p, min-p.

mod row;
mod state;

pub use row::{MOST_RIVALS, NO_MASK, NO_TOKEN, SampleResult, SampleRow};
pub use state::SampleState;

use bytemuck::{Pod, Zeroable};

use crate::device::Device;
use crate::error::CudaError;
use crate::images::image;
use crate::launch::Launch;
use crate::memory::Buffer;
use crate::module::Function;
use crate::work::Work;

/// Warps of a block that scans logits, a run of tokens each.
const SCAN_WARPS: usize = 4;

/// Threads of the block that draws for a row.
const CHOOSE_THREADS: u32 = 512;

/// The kernels.
#[derive(Debug)]
pub struct Sampler {
    scan: Function,
    choose: Function,
    early: bool,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    logits: u64,
    rows: u64,
    results: u64,
    latest: u64,
    generated: u64,
    masks: u64,
    keys: u64,
    sums: u64,
    raw_keys: u64,
    raw_sums: u64,
    vocabulary: u32,
    runs: u32,
    slots: u32,
    masks_len: u32,
}

impl Sampler {
    /// Loads the kernels; `None` if this build has none for the device.
    ///
    /// # Errors
    /// When the driver refuses them.
    pub fn load(device: &Device) -> Result<Option<Self>, CudaError> {
        let capability = device.properties().capability;
        let Some(image) = image("sample", capability) else { return Ok(None) };
        let module = device.module(image)?;
        let (scan, choose) = (module.function("sample_scan", 0)?, module.function("sample_choose", 0)?);
        Ok(Some(Self { scan, choose, early: capability.0 >= 9 }))
    }

    /// Draws for the first `count` rows of `logits` [M, V] by `rows` [M], into `results` [M] and the slots of the rows, which are
    /// all different. Rows that are not active are left as they are. The two pieces run in this order.
    ///
    /// # Panics
    /// When a buffer is too small, or the state has room for fewer rows.
    pub fn work(
        &self,
        logits: &Buffer<f32>,
        rows: &Buffer<SampleRow>,
        state: &mut SampleState,
        results: &mut Buffer<SampleResult>,
        count: usize,
    ) -> [Work; 2] {
        let vocabulary = state.vocabulary();
        assert!((1..=state.rows()).contains(&count), "{count} rows of 1..={}", state.rows());
        assert!(logits.len() >= count * vocabulary, "{} logits for {count} x {vocabulary}", logits.len());
        assert!(rows.len() >= count, "settings of {} rows, not {count}", rows.len());
        assert!(results.len() >= count, "{} results for {count} rows", results.len());
        let params = params(logits, rows, state, results);
        let mut memory = vec![logits.memory(), rows.memory(), results.memory()];
        memory.extend(state.memory());
        let blocks = state.runs().div_ceil(SCAN_WARPS) as u32;
        let scan =
            Launch { grid: [blocks, count as u32, 1], threads: SCAN_WARPS as u32 * 32, shared: 0, early: self.early };
        let choose = Launch { grid: [count as u32, 1, 1], threads: CHOOSE_THREADS, shared: 0, early: self.early };
        // SAFETY: the logits, settings and results were checked to have as many rows, and the state was made for so many of this
        // vocabulary. The kernels leave rows whose slot or mask is not there.
        unsafe {
            [Work::new(&self.scan, scan, &params, memory.clone()), Work::new(&self.choose, choose, &params, memory)]
        }
    }
}

fn params(
    logits: &Buffer<f32>,
    rows: &Buffer<SampleRow>,
    state: &SampleState,
    results: &Buffer<SampleResult>,
) -> Params {
    Params {
        logits: logits.address(),
        rows: rows.address(),
        results: results.address(),
        latest: state.latest.address(),
        generated: state.generated.address(),
        masks: state.masks.address(),
        keys: state.keys.address(),
        sums: state.sums.address(),
        raw_keys: state.raw_keys.address(),
        raw_sums: state.raw_sums.address(),
        vocabulary: state.vocabulary() as u32,
        runs: state.runs() as u32,
        slots: state.latest.len() as u32,
        masks_len: state.mask_count() as u32,
    }
}
