//! The bytes of one shard: mapped, or copied where the file may change. The only file with `unsafe`.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;

use memmap2::Mmap;

/// How the shards are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Mapped: nothing is read before it is used. Whoever uses this promises that the files are neither written nor
    /// shortened while the checkpoint is open: reading what is gone ends the process (`SIGBUS`).
    #[default]
    Mapped,
    /// Copied into memory when the checkpoint is opened, so that the files may change afterwards. For folders that others
    /// write to, and for network file systems.
    Copied,
}

/// The bytes of a file.
#[derive(Debug)]
pub(crate) enum Map {
    Mapped(Mmap),
    Copied(Vec<u8>),
}

impl Map {
    /// The `length` bytes of `file`, which is refused if it has another length by now.
    pub(crate) fn new(file: &File, length: u64, access: Access) -> io::Result<Self> {
        let map = match access {
            Access::Mapped => Self::Mapped(map(file)?),
            Access::Copied => Self::Copied(copy(file, length)?),
        };
        match file.metadata()?.len() == length && map.bytes().len() as u64 == length {
            true => Ok(map),
            false => Err(io::Error::other("its length changed while it was opened")),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Copied(bytes) => bytes,
        }
    }

    /// Lets the system take back the memory of the pages that `range` touches. They are read again when they are used again.
    pub(crate) fn release(&self, range: Range<usize>) -> io::Result<()> {
        match self {
            Self::Mapped(map) => release(map, range),
            Self::Copied(_) => Ok(()),
        }
    }
}

fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is read-only and shared, and its bytes are only ever read as plain numbers, for which every bit
    // pattern is valid. What Rust cannot check is that no one writes to or shortens the file while it is mapped: the user
    // promises that by choosing `Access::Mapped` (the default, documented there); `Access::Copied` needs no promise. Lengths
    // of all shards are proven before the first is mapped, so a file that was cut short before is never mapped.
    unsafe { Mmap::map(file) }
}

#[cfg(unix)]
fn release(map: &Mmap, range: Range<usize>) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    // SAFETY: `MADV_DONTNEED` on a shared, read-only map of a file only drops pages that hold what the file holds; the next
    // access reads them again, so no reference sees another value. The range lies within the map: it comes from a header
    // that was proven against the file's length, and memmap2 checks it once more.
    unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) }
}

#[cfg(not(unix))]
fn release(_: &Mmap, _: Range<usize>) -> io::Result<()> {
    Ok(()) // no such advice; the system takes clean pages back by itself
}

fn copy(mut file: &File, length: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(length).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
    file.rewind()?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
