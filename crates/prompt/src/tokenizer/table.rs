//! The bytes of every token, end to end.

use super::alphabet::bytes_of;

pub(super) struct Table {
    bytes: Vec<u8>,
    /// Where a token's bytes begin and end, by id; equal for ids that no token has.
    places: Vec<(u32, u32)>,
}

impl Table {
    /// Takes tokens with ids below [`limits::MAX_VOCABULARY`](karst_contract::limits::MAX_VOCABULARY) from a file of far
    /// fewer bytes than `u32` can count.
    pub(super) fn new<'a>(tokens: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut table = Self { bytes: Vec::new(), places: Vec::new() };
        for (token, id) in tokens {
            let start = table.bytes.len() as u32;
            table.bytes.append(&mut bytes_of(token));
            let index = id as usize;
            table.places.resize(table.places.len().max(index + 1), (0, 0));
            table.places[index] = (start, table.bytes.len() as u32);
        }
        table
    }

    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        let &(start, end) = self.places.get(id as usize)?;
        (start < end).then(|| &self.bytes[start as usize..end as usize])
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}
