//! Every limit, with its reason. Each is checked at the first stage that can know the number it bounds, before the
//! allocation that it bounds.

/// Longest safetensors header: the published model needs under 1 MB; anything longer is no checkpoint of this family.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Most tensors in a checkpoint: the published one has 1605.
pub const MAX_TENSORS: usize = 100_000;

/// Most shard files: the published one has 2.
pub const MAX_SHARDS: usize = 1_024;

/// Longest tokenizer or tensor index: the published tokenizer has about 5 MB.
pub const MAX_JSON_BYTES: u64 = 64 << 20;

/// Most token ids, and one more than the largest: the published vocabulary has 151,748.
pub const MAX_VOCABULARY: u32 = 1 << 20;

/// Longest configuration file: the published one has 1.2 kB.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Most sides of a tensor: the family's have 4 at most.
pub const MAX_SIDES: usize = 8;

/// Longest encoded picture: a 12-megapixel photo has 2 to 8 MB.
pub const MAX_ENCODED_BYTES: u64 = 20 << 20;

/// Most pixels of a picture: a scan of 16k x 8k still fits, a decompression bomb does not.
pub const MAX_PIXELS: u64 = 1 << 27;

/// Longest side of a picture: JPEG's own limit.
pub const MAX_SIDE: u32 = 65_535;

/// Most patches of one view. Attention is quadratic in patches, so they, not pixels, bound the tower's work; every picture
/// up to 1000:1 stays within.
pub const MAX_PATCHES: u32 = 1_366;

/// Most slices a caller may ask for: the model was trained with 9; more is costly but has a use in documents.
pub const MAX_SLICES: u32 = 36;

/// Most stills in a request.
pub const MAX_PICTURES: usize = 64;

/// Most frames of clips in a request: 180 groups of 6, the most that the model was trained with.
pub const MAX_FRAMES: usize = 1_080;

/// Most frames in a pack that shares 64 rows: the model's own limit.
pub const MAX_PACKING: usize = 6;

/// Largest temporal id: two hours in steps of 0.1 s, the length of the reference's table less one.
pub const MAX_TEMPORAL_ID: u32 = 71_999;

/// Most messages in a request.
pub const MAX_MESSAGES: usize = 1_024;

/// Most texts, pictures and clips in a message: each costs a moment of the JavaScript thread.
pub const MAX_PARTS: usize = 4_096;

/// Longest text of a request in bytes, before it is tokenised: four bytes a token of the longest context.
pub const MAX_TEXT_BYTES: usize = 4 * 40_960 * 4;

/// Most stop strings, and the longest one in bytes: each is looked for after every token.
pub const MAX_STOPS: usize = 16;

/// Longest stop string in bytes.
pub const MAX_STOP_BYTES: usize = 256;

/// Most rivals that a log-probability is given for.
pub const MAX_LOGPROBS: u32 = 20;

/// Requests that may wait before further ones are refused.
pub const MAX_QUEUE: usize = 256;

/// Requests that may run at once.
pub const MAX_RUNNING: usize = 64;

/// Events that wait for a slow reader before its request is held back.
pub const MAX_EVENTS: usize = 64;

/// Seconds that a request is held back for its reader before it is cancelled.
pub const MAX_READER_SECONDS: u64 = 30;

/// Decoded pixels in flight, in bytes: later pictures wait.
pub const MAX_DECODED_BYTES: u64 = 1 << 30;
