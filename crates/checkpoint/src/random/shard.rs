//! Writing one safetensors file, a block at a time.

use std::fs::File;
use std::io::{self, Write};
use std::iter::repeat_n;
use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::plan::Planned;

/// Writes `tensors` one after the other and tells `report` the bytes of each block.
pub(super) fn write(path: &Path, tensors: &[Planned], seed: u64, report: &mut dyn FnMut(u64)) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    let header = header(tensors);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for tensor in tensors {
        tensor.fill.write(tensor.bytes(), &mut stream(seed, &tensor.name), |block| {
            report(block.len() as u64);
            file.write_all(block)
        })?;
    }
    Ok(())
}

/// The header as the published files have it: no `__metadata__`, filled with spaces to a multiple of eight bytes.
fn header(tensors: &[Planned]) -> String {
    let mut end = 0;
    let mut entries = Map::new();
    for tensor in tensors {
        let begin = end;
        end += tensor.bytes();
        let entry = json!({ "dtype": tensor.dtype.name(), "shape": tensor.shape, "data_offsets": [begin, end] });
        entries.insert(tensor.name.clone(), entry);
    }
    let mut text = Value::from(entries).to_string();
    let filled = text.len().next_multiple_of(8);
    text.extend(repeat_n(' ', filled - text.len()));
    text
}

/// The tensor's own random numbers.
fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    // FNV-1a
    let hash =
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(hash);
    random
}
