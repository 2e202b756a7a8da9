//! Reads numbers and spans from foreign bytes; whatever lies beyond their end is a cause, not a panic.

use crate::error::Cause;
use crate::format::Format;

/// A place in foreign bytes.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    format: Format,
    bytes: &'a [u8],
    at: usize,
    /// What is expected ahead, for the case that the bytes end.
    missing: &'static str,
    /// Whether these are all bytes of the picture, so that an early end means that it was cut short.
    whole: bool,
}

impl<'a> Reader<'a> {
    /// At the beginning of a picture, which has to reach as far as `missing`.
    pub(super) const fn new(format: Format, bytes: &'a [u8], missing: &'static str) -> Self {
        Self { format, bytes, at: 0, missing, whole: true }
    }

    /// At the beginning of a part whose length is known; if it ends before `missing`, the picture contradicts itself.
    pub(super) const fn part(format: Format, bytes: &'a [u8], missing: &'static str) -> Self {
        Self { format, bytes, at: 0, missing, whole: false }
    }

    /// How many bytes were read.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Cause> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len()).ok_or_else(|| self.cut_short())?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Cause> {
        self.take(N)?.try_into().map_err(|_| self.cut_short())
    }

    pub(super) fn u8(&mut self) -> Result<u8, Cause> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16_be(&mut self) -> Result<u16, Cause> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u16_le(&mut self) -> Result<u16, Cause> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u24_le(&mut self) -> Result<u32, Cause> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    pub(super) fn u32_be(&mut self) -> Result<u32, Cause> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u32_le(&mut self) -> Result<u32, Cause> {
        self.array().map(u32::from_le_bytes)
    }

    /// Goes to the next byte of this value and past it.
    pub(super) fn skip_past(&mut self, value: u8) -> Result<(), Cause> {
        let ahead = self.bytes[self.at..].iter().position(|&byte| byte == value).ok_or_else(|| self.cut_short())?;
        self.at += ahead + 1;
        Ok(())
    }

    /// The next byte, without going past it.
    pub(super) fn peek(&self) -> Result<u8, Cause> {
        self.bytes.get(self.at).copied().ok_or_else(|| self.cut_short())
    }

    /// Whether nothing is left.
    pub(super) const fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn cut_short(&self) -> Cause {
        let (format, bytes, missing) = (self.format, self.bytes.len(), self.missing);
        if self.whole {
            return Cause::CutShort { format, bytes, missing };
        }
        Cause::damaged(format, format!("a part of {bytes} bytes ends before {missing}"))
    }
}
