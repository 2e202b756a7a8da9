//! Where a picture's bytes come from, and how many of them are taken.

use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use karst_contract::{Frame, Source, limits};

use crate::data_url;
use crate::error::Cause;

/// What a source holds.
pub(crate) enum Material<'a> {
    /// An encoded picture, neither empty nor over the limit.
    Encoded(Cow<'a, [u8]>),
    /// Pixels, ready.
    Pixels(&'a Frame),
}

pub(crate) fn read(source: &Source) -> Result<Material<'_>, Cause> {
    let bytes = match source {
        Source::Path(path) => Cow::Owned(file(path)?),
        Source::Bytes(bytes) => Cow::Borrowed(&**bytes),
        Source::DataUrl(url) => Cow::Owned(data_url::decode(url)?),
        Source::Frame(frame) => return Ok(Material::Pixels(frame)),
    };
    check_length(bytes.len() as u64)?;
    if bytes.is_empty() {
        return Err(Cause::NoBytes);
    }
    Ok(Material::Encoded(bytes))
}

/// A regular file's bytes. Its kind is asked for before it is opened, since opening a pipe waits for a writer, and again
/// on what was opened; its length is asked for only to refuse early, what is read is bounded by counting.
fn file(path: &Path) -> Result<Vec<u8>, Cause> {
    let metadata = path.metadata().map_err(cause)?;
    check_kind(&metadata)?;
    check_length(metadata.len())?;
    let file = File::open(path).map_err(cause)?;
    check_kind(&file.metadata().map_err(cause)?)?;
    let mut bytes = Vec::new();
    file.take(limits::MAX_ENCODED_BYTES + 1).read_to_end(&mut bytes).map_err(cause)?;
    Ok(bytes)
}

fn check_kind(metadata: &Metadata) -> Result<(), Cause> {
    if metadata.is_file() {
        return Ok(());
    }
    let kind = if metadata.is_dir() { "a folder" } else { "a device, pipe or socket" };
    Err(Cause::NotAFile { kind })
}

fn check_length(bytes: u64) -> Result<(), Cause> {
    let limit = limits::MAX_ENCODED_BYTES;
    if bytes > limit { Err(Cause::TooManyBytes { bytes, limit }) } else { Ok(()) }
}

fn cause(error: io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::NotFound => Cause::NotFound,
        _ => Cause::Unreadable(error),
    }
}
