//! Which decoders the kernels compute.

use karst_checkpoint::DecoderConfig;
use karst_kernels::HEAD_WIDTH;

/// Inputs that products keep in shared memory at once.
const MOST_HIDDEN: usize = 4096;

/// Heads of queries for each head of keys.
const MOST_GROUP: usize = 8;

/// Tokens that the sampler tells apart.
const MOST_VOCABULARY: usize = 1 << 18;

/// A decoder that the kernels do not compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernels take {what} of {taken}, and the model's is {found}")]
pub struct Unsupported {
    /// What.
    pub what: &'static str,
    /// What they take.
    pub taken: &'static str,
    /// What the model has.
    pub found: usize,
}

/// Whether the kernels compute this decoder.
///
/// # Errors
/// The first number that they do not take.
pub fn check(config: &DecoderConfig) -> Result<(), Unsupported> {
    let group = config.heads / config.kv_heads;
    let rules = [
        (config.head_dim == HEAD_WIDTH, "a width of heads", "128", config.head_dim),
        ((1..=MOST_GROUP).contains(&group), "a group of query heads", "1 to 8", group),
        (config.hidden <= MOST_HIDDEN, "a hidden width", "at most 4096", config.hidden),
        (config.hidden.is_multiple_of(8), "a hidden width", "a multiple of 8", config.hidden),
        (config.intermediate.is_multiple_of(8), "an intermediate width", "a multiple of 8", config.intermediate),
        (config.vocabulary <= MOST_VOCABULARY, "a vocabulary", "at most 262144", config.vocabulary),
    ];
    let broken = rules.into_iter().find(|(holds, ..)| !holds);
    broken.map_or(Ok(()), |(_, what, taken, found)| Err(Unsupported { what, taken, found }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published() -> DecoderConfig {
        karst_checkpoint::random::Spec::published().decoder
    }

    #[test]
    fn the_published_decoder_is_computed() {
        assert_eq!(check(&published()), Ok(()));
    }

    #[test]
    fn what_is_not_computed_is_named() {
        let error = check(&DecoderConfig { head_dim: 64, ..published() }).unwrap_err();
        assert_eq!(error.to_string(), "the kernels take a width of heads of 128, and the model's is 64");
        let wide = check(&DecoderConfig { hidden: 5120, ..published() }).unwrap_err();
        assert_eq!((wide.what, wide.found), ("a hidden width", 5120));
        assert!(check(&DecoderConfig { kv_heads: 2, ..published() }).is_err());
        assert!(check(&DecoderConfig { vocabulary: 300_000, ..published() }).is_err());
    }
}
