//! What REST shows of a repository: history, trees, blobs, archives, its log. All of it blocks.
//!
//! Work gets a [`Reading`]: the repository as of one moment, the caches, and how much memory it may hold. Work that needs
//! more stops with [`Halt::Room`] and is run again once it has that, so that whoever waits holds no thread.

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

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::source::{ObjRef, ObjectSource, SourceError};
use cairn_protocol::walk::{Reader, WalkError};

use super::OpError;
use super::at::At;
use super::room::Room;
use super::view::RepoView;
use crate::app::App;
use crate::budget::Busy;
use crate::error::Error;
use crate::limits::CACHED_OBJECT_BYTES_MAX;
use crate::store::StoreError;
use crate::store::catalog::RepoRow;
use cache::Reads;

/// Why work stopped.
#[derive(Debug)]
pub enum Halt {
    /// It would hold so many bytes of memory, which is more than it may.
    Room(u64),
    /// It failed.
    Failed(Error),
}

/// What work comes to.
pub type Work<T> = std::result::Result<T, Halt>;

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        error.wished_bytes.map_or(Self::Failed(error), Self::Room)
    }
}

impl From<Busy> for Halt {
    fn from(busy: Busy) -> Self {
        Self::Failed(busy.into())
    }
}

impl From<OpError> for Halt {
    fn from(error: OpError) -> Self {
        Error::from(error).into()
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
    /// Whether what is read is kept for others. Not where everything is read once.
    pub keeps: bool,
}

impl Reading {
    /// Opens the repository as of `at`.
    pub fn open(app: &App, row: &RepoRow, at: Option<At>, room: Room) -> Result<Self, Halt> {
        let view = RepoView::open(app, row, at, room).map_err(|error| match error {
            OpError::Request(text) => Halt::Failed(Error::input("/at", text)),
            error => error.into(),
        })?;
        Ok(Self { repo_name: row.name.clone(), view, reads: Arc::clone(&app.reads), keeps: true })
    }

    /// A reader of whole objects that stops where more room is needed.
    pub fn reader(&self) -> Reader<'_> {
        self.view.reader()
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
        let bytes = Bytes::from(Rc::unwrap_or_clone(self.reader().read(at)?.1));
        if self.keeps && bytes.len() <= CACHED_OBJECT_BYTES_MAX {
            self.reads.objects.put(key, (kind, bytes.clone()), bytes.len());
        }
        Ok(Some(bytes))
    }
}
