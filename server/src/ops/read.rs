//! What REST shows of a repository: history, trees, blobs, archives, its log. All of it blocks.
//!
//! Work gets a [`Reading`]: the repository as of one moment, the caches, and whether it holds the one turn to make large
//! objects. Work that needs the turn stops with [`Halt::Turn`] and is run again once it has it, so that whoever waits
//! holds no thread.

pub mod activity;
pub mod archive;
pub mod attributes;
pub mod batches;
pub mod blob;
pub mod cache;
pub mod history;
pub mod listing;
pub mod names;
pub mod tar;
pub mod tree;
pub mod usage;
pub mod zip;

use std::sync::Arc;

use bytes::Bytes;
use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::source::{ObjRef, ObjectSource, SourceError};
use cairn_protocol::walk::{Reader, WalkError};

use super::OpError;
use super::at::At;
use super::view::RepoView;
use crate::app::App;
use crate::error::{Error, code};
use crate::limits::{CACHED_OBJECT_BYTES_MAX, READ_BYTES_MAX, READ_LARGE_BYTES_MAX};
use crate::store::StoreError;
use crate::store::catalog::RepoRow;
use cache::Reads;

/// Why work stopped.
#[derive(Debug)]
pub enum Halt {
    /// It must make a large object and does not have the turn for it.
    Turn,
    /// It failed.
    Failed(Error),
}

/// What work comes to.
pub type Work<T> = std::result::Result<T, Halt>;

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<OpError> for Halt {
    fn from(error: OpError) -> Self {
        match error {
            OpError::Walk(WalkError::TooLarge { bytes, max }) if max >= READ_LARGE_BYTES_MAX => {
                let text = format!("an object of {bytes} bytes would be made in memory, at most {max} are");
                Self::Failed(Error::new(code::MEMORY_LIMIT, text))
            }
            OpError::Walk(WalkError::TooLarge { .. }) => Self::Turn,
            error => Self::Failed(error.into()),
        }
    }
}

impl From<SourceError> for Halt {
    fn from(error: SourceError) -> Self {
        OpError::from(error).into()
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        OpError::from(error).into()
    }
}

impl From<WalkError> for Halt {
    fn from(error: WalkError) -> Self {
        OpError::from(error).into()
    }
}

/// A repository as of one moment, read through caches.
pub struct Reading {
    /// The name of the repository.
    pub repo_name: String,
    /// The repository as its readers see it.
    pub view: RepoView,
    /// What was read before.
    pub reads: Arc<Reads>,
    /// Whether large objects may be made.
    pub has_turn: bool,
    /// Whether what is read is kept for others. Not where everything is read once.
    pub keeps: bool,
}

impl Reading {
    /// Opens the repository as of `at`.
    pub fn open(app: &App, row: &RepoRow, at: Option<At>, has_turn: bool) -> Result<Self, Halt> {
        let view = RepoView::open(app, row, at).map_err(|error| match error {
            OpError::Request(text) => Halt::Failed(Error::input("/at", text)),
            error => error.into(),
        })?;
        Ok(Self { repo_name: row.name.clone(), view, reads: Arc::clone(&app.reads), has_turn, keeps: true })
    }

    /// A reader of whole objects that stops where the turn is needed.
    pub fn reader(&self) -> Reader<'_> {
        self.view.reader().limited(if self.has_turn { READ_LARGE_BYTES_MAX } else { READ_BYTES_MAX })
    }

    /// The bytes of an object that a visible object names, or that `place` found. `None` where it is of another kind.
    pub fn shown(&self, id: &ObjectId, kind: Kind) -> Result<Option<Bytes>, Halt> {
        let key = (self.view.served.repo.id(), *id);
        if let Some((found, bytes)) = self.reads.objects.get(&key) {
            return Ok((found == kind).then_some(bytes));
        }
        let Some(at) = self.view.snapshot.lookup(id)? else { return Ok(None) };
        self.read_at(at, id, kind)
    }

    /// The bytes of an object if a ref shows it and it is of that kind.
    pub fn object(&self, id: &ObjectId, kind: Kind) -> Result<Option<Bytes>, Halt> {
        match self.view.place(id)? {
            Some(at) => self.read_at(at, id, kind),
            None => Ok(None),
        }
    }

    fn read_at(&self, at: ObjRef, id: &ObjectId, kind: Kind) -> Result<Option<Bytes>, Halt> {
        let key = (self.view.served.repo.id(), *id);
        if let Some((found, bytes)) = self.reads.objects.get(&key) {
            return Ok((found == kind).then_some(bytes));
        }
        if self.view.snapshot.record(at)?.kind != kind {
            return Ok(None);
        }
        let bytes = Bytes::from(self.reader().read(at)?.1.to_vec());
        if self.keeps && bytes.len() <= CACHED_OBJECT_BYTES_MAX {
            self.reads.objects.put(key, (kind, bytes.clone()), bytes.len());
        }
        Ok(Some(bytes))
    }
}
