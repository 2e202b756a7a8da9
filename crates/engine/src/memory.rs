//! How large the key-value cache may be.
//!
//! Every request is to have its whole context, as many requests as may run at once. Where memory does not allow that, the
//! cache is made smaller and requests wait for each other; it never holds less than one whole context. Three quarters of
//! what the weights leave may go to the cache; the rest is for pictures, features and the numbers of a step.

use std::fs;

use karst_checkpoint::DecoderConfig;

use crate::error::EngineError;

/// What is to be held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// Bytes of the checkpoint's tensors, an estimate of the weights in memory.
    pub(crate) weights: u64,
    /// Bytes of the cache a position.
    pub(crate) position: u64,
    /// Positions of one request.
    pub(crate) context: usize,
    /// Requests at once.
    pub(crate) requests: usize,
    /// Tokens a block.
    pub(crate) block: usize,
}

/// Bytes of the cache a position: keys and values of all layers, in numbers of `bytes` bytes.
pub(crate) fn position_bytes(decoder: &DecoderConfig, bytes: u64) -> u64 {
    2 * bytes * (decoder.layers * decoder.kv_heads * decoder.head_dim) as u64
}

/// Positions that the cache gets, when `free` bytes can be had; `None` where that is not known, and then nothing is cut.
pub(crate) fn cache_positions(wish: &Wish, free: Option<u64>) -> Result<usize, EngineError> {
    let context = wish.context.next_multiple_of(wish.block);
    let wanted = context * wish.requests;
    let Some(free) = free else { return Ok(wanted) };
    let budget = free.saturating_sub(wish.weights) / 4 * 3;
    let possible = usize::try_from(budget / wish.position.max(1)).unwrap_or(usize::MAX);
    if possible < context {
        let cache = wish.position.saturating_mul(context as u64);
        return Err(EngineError::OutOfMemory { weights: wish.weights, context: wish.context, cache, free });
    }
    Ok(wanted.min(possible / wish.block * wish.block))
}

/// Bytes that the system can give: what Linux says is available, within the limit of the process's group.
pub(crate) fn free() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let group = group_free();
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The limit of a container, as version 2 of control groups tells it; `max` is none. Cached files count as used there, so
/// they are added again.
fn group_free() -> Option<u64> {
    let number = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok();
    let stat = fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")).and_then(|bytes| bytes.parse().ok());
    let used = number("memory.current")?.saturating_sub(cached.unwrap_or(0));
    Some(number("memory.max")?.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// The published shapes: 36 layers, 8 heads of 128.
    fn published() -> Wish {
        let position = 2 * 4 * 36 * 8 * 128;
        Wish { weights: 6 * GIB, position, context: 8192, requests: 4, block: 16 }
    }

    #[test]
    fn every_request_gets_its_context_where_memory_allows() {
        assert_eq!(cache_positions(&published(), Some(64 * GIB)).unwrap(), 4 * 8192);
        assert_eq!(cache_positions(&published(), None).unwrap(), 4 * 8192);
    }

    #[test]
    fn the_cache_shrinks_to_what_is_free_and_never_below_one_context() {
        let positions = cache_positions(&published(), Some(12 * GIB)).unwrap();
        assert!((8192..4 * 8192).contains(&positions) && positions.is_multiple_of(16), "{positions}");
        assert!(positions as u64 * published().position <= 6 * GIB / 4 * 3);
        let error = cache_positions(&published(), Some(8 * GIB)).unwrap_err();
        let text = "the model needs 6144 MiB, and a context of 8192 tokens 2304 MiB more; 8192 MiB are free";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn a_context_is_rounded_up_to_whole_blocks() {
        let wish = Wish { context: 100, requests: 3, ..published() };
        assert_eq!(cache_positions(&wish, None).unwrap(), 3 * 112);
    }

    #[test]
    fn available_memory_is_read_from_linux() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   24382728 kB\n"), Some(24_382_728 * 1024));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(available("MemAvailable: 99999999999999999999 kB"), None);
    }
}
