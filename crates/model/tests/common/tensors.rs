//! Just enough of safetensors to read tensors of expected numbers.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// f32 tensors by name, with their shapes.
pub struct Tensors(HashMap<String, (Vec<usize>, Vec<f32>)>);

impl Tensors {
    pub fn open(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: HashMap<String, Value> = serde_json::from_slice(&bytes[8..data]).unwrap();
        let tensors = header.into_iter().filter(|(name, _)| name != "__metadata__");
        Self(tensors.map(|(name, entry)| (name, tensor(&entry, &bytes[data..]))).collect())
    }

    /// A tensor's numbers, where it exists.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.0.get(name).map(|(_, numbers)| numbers.as_slice())
    }

    pub fn shape(&self, name: &str) -> &[usize] {
        &self.0[name].0
    }
}

fn tensor(entry: &Value, data: &[u8]) -> (Vec<usize>, Vec<f32>) {
    assert_eq!(entry["dtype"], "F32");
    let numbers = |key: &str| entry[key].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize);
    let (shape, offsets): (Vec<usize>, Vec<usize>) = (numbers("shape").collect(), numbers("data_offsets").collect());
    let words = data[offsets[0]..offsets[1]].as_chunks::<4>().0;
    (shape, words.iter().map(|&word| f32::from_le_bytes(word)).collect())
}
