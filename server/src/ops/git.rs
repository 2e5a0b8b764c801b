//! What the operations of git share: the repository they serve, and how they fail.

use std::sync::Arc;

use cairn_protocol::object::{HashAlgo, ObjectId};
use cairn_protocol::pack::PackError;
use cairn_protocol::refs::RefName;
use cairn_protocol::source::SourceError;
use cairn_protocol::upload_pack::RequestError;
use cairn_protocol::walk::{Reader, WalkError};

use super::plans::{Plans, Visible};
use super::quota::Quota;
use super::room::Room;
use crate::budget::Busy;
use crate::stop::{Stop, Stopped};
use crate::store::StoreError;
use crate::store::disk::is_full_io;
use crate::store::repo::{Repo, Snapshot};

/// What a peer is told when no space is left on the disk.
pub const DISK_FULL: &str = "the server's disk is full: nothing was stored; reading and deleting still work";

/// A repository that a caller may use, with what its operations share.
#[derive(Clone)]
pub struct Served {
    /// Its log and pinned sources.
    pub repo: Repo,
    /// The entry as of which it is read; its last one where that is `None`.
    pub as_of: Option<u64>,
    /// Its object format.
    pub algo: HashAlgo,
    /// Its default branch, without `refs/heads/`.
    pub default_branch: String,
    /// How much memory its operations may hold.
    pub room: Room,
    /// How much may be stored.
    pub quota: Quota,
    /// Ready plans of all repositories.
    pub plans: Arc<Plans>,
    /// Visible sets of all repositories.
    pub visible: Arc<Visible>,
}

impl Served {
    /// The repository as of the moment that was asked for.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.repo.snapshot(self.as_of)
    }

    /// A reader of whole objects that stops where there is no room for one.
    pub fn reader<'a>(&self, snapshot: &'a Snapshot) -> Reader<'a> {
        self.room.limit(Reader::new(snapshot, self.algo))
    }

    /// What `HEAD` points to.
    pub fn head(&self) -> RefName {
        RefName::new(format!("refs/heads/{}", self.default_branch).as_bytes())
            .expect("a default branch is checked when it is set")
    }
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// The request cannot be read.
    #[error(transparent)]
    Wire(#[from] RequestError),
    /// The request asks for something that cannot be.
    #[error("{0}")]
    Request(String),
    /// The work would go beyond a named limit.
    #[error("{0}")]
    TooLarge(String),
    /// The work holds more than it may: it is to begin again with more room.
    #[error("the work needs {bytes} bytes of memory at once")]
    Room {
        /// What it would hold.
        bytes: u64,
    },
    /// No memory became free in time.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The diff and merge engine failed.
    #[error("engine: {0}")]
    Engine(String),
    /// A want that no visible ref reaches.
    #[error("upload-pack: not our ref {0}")]
    NotOurRef(ObjectId),
    /// A `want-ref` that is not there.
    #[error("unknown ref {0}")]
    UnknownRef(RefName),
    /// A walk failed.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// More would be stored than the operator allows.
    #[error("{0}")]
    Quota(String),
    /// The request is to end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The pushed pack is refused.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk failed.
    #[error("the server could not keep the upload: {0}")]
    Spool(#[from] std::io::Error),
}

impl From<SourceError> for OpError {
    fn from(error: SourceError) -> Self {
        Self::Walk(WalkError::Source(error))
    }
}

impl OpError {
    /// What it is for a request that was told to stop: what failed since then failed for that.
    pub fn at_end_of(self, stop: &Stop) -> Self {
        stop.said().map_or(self, Self::Stopped)
    }

    /// Whether no space is left on the server's disk.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Store(error) => error.is_full(),
            Self::Spool(error) => is_full_io(error),
            Self::Walk(WalkError::Source(SourceError(error))) => {
                error.downcast_ref::<StoreError>().is_some_and(StoreError::is_full)
            }
            _ => false,
        }
    }

    /// What the peer is told. Faults of ours are named, not described: details are for the log.
    pub fn for_peer(&self) -> String {
        match self {
            error if error.is_full() => DISK_FULL.into(),
            Self::Store(error @ StoreError::Dropped { .. }) => error.to_string(),
            Self::Store(_) | Self::Spool(_) => {
                "internal error: the repository could not be read or written".into()
            }
            Self::Engine(_) => "internal error: the objects could not be compared".into(),
            Self::Walk(WalkError::NothingSelected | WalkError::TooDeep) => self.to_string(),
            Self::Walk(_) => "internal error: the repository could not be walked".into(),
            _ => self.to_string(),
        }
    }

    /// Whether it is ours: worth a line in the log.
    pub fn is_ours(&self) -> bool {
        if matches!(self, Self::Store(StoreError::Dropped { .. })) {
            return false;
        }
        matches!(self, Self::Store(_) | Self::Spool(_) | Self::Engine(_))
            || matches!(self, Self::Walk(error) if !matches!(error, WalkError::NothingSelected | WalkError::TooDeep))
    }
}
