//! The folder of a checkpoint: bare names in, files that lie in it out.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use karst_contract::{Code, Coded};

/// Why a file of the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is no such folder.
    #[error("there is no folder {}", .folder.display())]
    Missing {
        /// The path as given.
        folder: PathBuf,
    },
    /// The path is that of a file.
    #[error("{} is not a folder", .folder.display())]
    NotFolder {
        /// The path as given.
        folder: PathBuf,
    },
    /// The folder lacks a file that every checkpoint has.
    #[error("{} has no file {file}", .folder.display())]
    FileMissing {
        /// The folder.
        folder: PathBuf,
        /// The file.
        file: String,
    },
    /// A file is named by more than its bare name.
    #[error("{name:?} is not the bare name of a file")]
    NotBare {
        /// The name.
        name: String,
    },
    /// A link leads out of the folder.
    #[error("{file} is a link to {}, which lies outside {}", .target.display(), .folder.display())]
    Outside {
        /// The file.
        file: String,
        /// Where the link leads.
        target: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// A folder, a device, a pipe or a socket.
    #[error("{file} is not a regular file")]
    NotRegular {
        /// Its name.
        file: String,
    },
    /// A file is longer than any of its kind.
    #[error("{file} has {bytes} bytes; at most {limit} are allowed")]
    TooLong {
        /// The file.
        file: String,
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The system refuses to read a file.
    #[error("{file} cannot be read: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl Coded for FolderError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } | Self::NotFolder { .. } | Self::FileMissing { .. } => Code::ModelNotFound,
            _ => Code::InvalidCheckpoint,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } | Self::NotFolder { .. } | Self::FileMissing { .. } => {
                Some("give the folder that holds config.json, tokenizer.json and the .safetensors files".into())
            }
            Self::Outside { .. } => Some("put the file itself into the folder".into()),
            _ => None,
        }
    }
}

/// A folder whose links have been followed.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Where the files of a hub cache lie: `snapshots/<revision>/<name>` there is a link to `../../blobs/<digest>`.
    blobs: Option<PathBuf>,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let root = fs::canonicalize(path).map_err(|_| FolderError::Missing { folder: path.into() })?;
        if !root.is_dir() {
            return Err(FolderError::NotFolder { folder: path.into() });
        }
        let blobs = blobs_of(&root).and_then(|blobs| fs::canonicalize(blobs).ok());
        Ok(Self { root, blobs })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// A file and its length; `None` if there is none of this name.
    pub(crate) fn find(&self, name: &str) -> Result<Option<(File, u64)>, FolderError> {
        let Some(path) = self.resolve(name)? else { return Ok(None) };
        let unreadable = |source| FolderError::Unreadable { file: name.into(), source };
        // Asked before it is opened: opening a pipe would wait for its writer.
        if !fs::metadata(&path).map_err(unreadable)?.is_file() {
            return Err(FolderError::NotRegular { file: name.into() });
        }
        let file = File::open(&path).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?;
        if !found.is_file() {
            return Err(FolderError::NotRegular { file: name.into() });
        }
        Ok(Some((file, found.len())))
    }

    /// A file that must exist, and its length.
    pub(crate) fn file(&self, name: &str) -> Result<(File, u64), FolderError> {
        let missing = || FolderError::FileMissing { folder: self.root.clone(), file: name.into() };
        self.find(name)?.ok_or_else(missing)
    }

    /// The bytes of a file of at most `limit` bytes; `None` if there is none of this name.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FolderError> {
        let Some((file, length)) = self.find(name)? else { return Ok(None) };
        read_all(name, file, length, limit).map(Some)
    }

    /// The bytes of a file that must exist.
    pub(crate) fn read_needed(&self, name: &str, limit: u64) -> Result<Vec<u8>, FolderError> {
        let (file, length) = self.file(name)?;
        read_all(name, file, length, limit)
    }

    /// Where the file of a bare name really lies; `None` if nowhere.
    fn resolve(&self, name: &str) -> Result<Option<PathBuf>, FolderError> {
        if !is_bare(name) {
            return Err(FolderError::NotBare { name: name.into() });
        }
        let target = match fs::canonicalize(self.root.join(name)) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FolderError::Unreadable { file: name.into(), source }),
        };
        let inside = |folder: &Path| target.parent().is_some_and(|parent| parent.starts_with(folder));
        if inside(&self.root) || self.blobs.as_deref().is_some_and(inside) {
            return Ok(Some(target));
        }
        Err(FolderError::Outside { file: name.into(), target, folder: self.root.clone() })
    }
}

/// The folder of blobs beside `snapshots`, if `root` is a snapshot of a hub cache.
fn blobs_of(root: &Path) -> Option<PathBuf> {
    let snapshots = root.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"))?;
    Some(snapshots.parent()?.join("blobs"))
}

/// Whether a name is one component on every system: no separators, drive letters or streams (`:`), and not `.` or `..`.
fn is_bare(name: &str) -> bool {
    let special = |character: char| matches!(character, '/' | '\\' | ':') || character.is_control();
    !name.is_empty() && name.len() <= 255 && name != "." && name != ".." && !name.contains(special)
}

/// Reads no more than `limit` bytes, whatever length the file is said to have.
fn read_all(name: &str, file: File, length: u64, limit: u64) -> Result<Vec<u8>, FolderError> {
    let too_long = |bytes| FolderError::TooLong { file: name.into(), bytes, limit };
    if length > limit {
        return Err(too_long(length));
    }
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| FolderError::Unreadable { file: name.into(), source })?;
    if bytes.len() as u64 > limit { Err(too_long(bytes.len() as u64)) } else { Ok(bytes) }
}
