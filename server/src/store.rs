//! Where bytes live. Nothing outside this module knows that a repository is a local SQLite file.

pub mod backup;
pub mod catalog;
pub mod disk;
pub mod files;
pub mod id;
pub mod maintain;
pub(crate) mod outside;
pub mod repo;

use cairn_protocol::object::ObjectId;
use cairn_protocol::source::SourceError;

pub use files::Files;
pub use id::{Pin, RepoId};

use crate::stop::Stopped;

/// Why the store could not do what it was asked. The text is for logs, never for peers.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused or failed. Nothing was made visible.
    #[error("sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file system refused or failed.
    #[error("file system: {0}")]
    Io(#[from] std::io::Error),
    /// An object that something new leans on is not visible to the repository.
    #[error("object {id} is not in the repository")]
    MissingObject {
        /// The object that was looked for.
        id: ObjectId,
    },
    /// A place that the snapshot does not show was asked for.
    #[error("no object at source {source_index}, ordinal {ordinal}")]
    NoSuchPlace {
        /// Index of the source.
        source_index: u16,
        /// Place in the source.
        ordinal: u32,
    },
    /// A repository's file that must exist does not.
    #[error("the file of repository {repo} is missing")]
    MissingFile {
        /// The repository.
        repo: RepoId,
    },
    /// A moment was asked for of which something was dropped since.
    #[error("entry {seq} can no longer be read: what no ref named from entry {floor} on was dropped")]
    Dropped {
        /// The entry that was asked for.
        seq: u64,
        /// The first entry as of which everything is there.
        floor: u64,
    },
    /// Stored bytes contradict each other.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// A named limit was exceeded.
    #[error("{what} is {seen}, allowed is {max}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// What was seen.
        seen: u64,
        /// What is allowed.
        max: u64,
    },
    /// The request for which it was done is to end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The caller asked for something that has no meaning.
    #[error("{0}")]
    Misuse(&'static str),
}

impl StoreError {
    /// Whether no space is left on the disk.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Sqlite(error) => disk::is_full(error),
            Self::Io(error) => disk::is_full_io(error),
            _ => false,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl From<StoreError> for SourceError {
    fn from(error: StoreError) -> Self {
        SourceError(Box::new(error))
    }
}
