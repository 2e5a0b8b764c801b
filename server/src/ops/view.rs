//! A repository as of one moment, as its readers see it: only what a ref shows is there.

use std::rc::Rc;
use std::sync::Arc;

use cairn_protocol::object::{Kind, ObjectId, TreeIter, tag_target};
use cairn_protocol::source::{ObjRef, ObjectSource};
use cairn_protocol::walk::{ObjSet, Reader};

use super::at::{self, At};
use super::fetch::find_ref;
use super::room::Room;
use super::visible::visible_set;
use super::{OpError, Served};
use crate::app::App;
use crate::limits::PEELED_TAG_BYTES_MAX;
use crate::store::catalog::RepoRow;
use crate::store::repo::Snapshot;

/// Everything here blocks and belongs on a blocking thread.
pub struct RepoView {
    /// The repository.
    pub served: Served,
    /// The moment.
    pub snapshot: Snapshot,
    visible: Arc<ObjSet>,
}

/// A name in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreePlace {
    /// git's mode.
    pub mode: u32,
    /// What is there.
    pub id: ObjectId,
}

impl RepoView {
    /// Opens the repository as of `at`, as it is now where that is `None`. What is read of it stays within `room`.
    pub fn open(app: &App, row: &RepoRow, at: Option<At>, room: Room) -> Result<Self, OpError> {
        let (served, snapshot) = at::open(app, row, at)?;
        let served = Served { room, ..served };
        let visible = visible_set(&served, &snapshot)?;
        Ok(Self { served, snapshot, visible })
    }

    /// A reader with a cache of its own, for walks. Stops at objects for which there is no room.
    pub fn reader(&self) -> Reader<'_> {
        self.served.reader(&self.snapshot)
    }

    /// Where an object is, if a ref shows it.
    pub fn place(&self, id: &ObjectId) -> Result<Option<ObjRef>, OpError> {
        Ok(self.snapshot.lookup(id)?.filter(|at| self.visible.contains(*at)))
    }

    /// The object's kind and its size in bytes, if a ref shows it.
    pub fn header(&self, id: &ObjectId) -> Result<Option<(Kind, u64)>, OpError> {
        let Some(at) = self.place(id)? else { return Ok(None) };
        let record = self.snapshot.record(at)?;
        Ok(Some((record.kind, record.size)))
    }

    /// The object's bytes, if a ref shows it and it is of that kind.
    pub fn object(&self, id: &ObjectId, kind: Kind) -> Result<Option<Vec<u8>>, OpError> {
        let Some(at) = self.place(id)? else { return Ok(None) };
        if self.snapshot.record(at)?.kind != kind {
            return Ok(None);
        }
        Ok(Some(Rc::unwrap_or_clone(self.reader().read(at)?.1)))
    }

    /// What a name stands for: a whole hash, `HEAD` (also the empty name), a ref by its full or short name. A hash comes
    /// first, as in git, so that no ref can change what it means.
    pub fn resolve(&self, name: &str) -> Result<Option<ObjectId>, OpError> {
        self.resolve_bytes(name.as_bytes())
    }

    /// The same for a name that need not be UTF-8.
    pub fn resolve_bytes(&self, name: &[u8]) -> Result<Option<ObjectId>, OpError> {
        if let Some(id) = ObjectId::from_hex(self.served.algo, name)
            && self.place(&id)?.is_some()
        {
            return Ok(Some(id));
        }
        let name = if name.is_empty() { b"HEAD" } else { name };
        find_ref(&self.served, &self.snapshot, name)
    }

    /// Follows tags, but none that is larger than tags are.
    pub fn peel(&self, mut id: ObjectId) -> Result<Option<(ObjectId, Kind)>, OpError> {
        loop {
            let Some((kind, size)) = self.header(&id)? else { return Ok(None) };
            if kind != Kind::Tag {
                return Ok(Some((id, kind)));
            }
            if size > PEELED_TAG_BYTES_MAX {
                return Ok(None);
            }
            let Some(data) = self.object(&id, Kind::Tag)? else { return Ok(None) };
            let Ok((target, _)) = tag_target(self.served.algo, &data) else { return Ok(None) };
            id = target;
        }
    }

    /// The commit that a name stands for, tags followed.
    pub fn commit_named(&self, name: &str) -> Result<Option<ObjectId>, OpError> {
        let Some(id) = self.resolve(name)? else { return Ok(None) };
        Ok(self.peel(id)?.filter(|(_, kind)| *kind == Kind::Commit).map(|(id, _)| id))
    }

    /// The root tree of a commit, tags followed; a tree is its own.
    pub fn tree_of(&self, id: ObjectId) -> Result<Option<ObjectId>, OpError> {
        let Some((id, kind)) = self.peel(id)? else { return Ok(None) };
        match kind {
            Kind::Tree => Ok(Some(id)),
            Kind::Commit => {
                let Some(at) = self.place(&id)? else { return Ok(None) };
                let tree = self.snapshot.commit(at)?.tree;
                Ok(Some(self.snapshot.record(tree)?.id))
            }
            Kind::Blob | Kind::Tag => Ok(None),
        }
    }

    /// What is at `path` below a tree. Empty parts are passed over; the empty path is the tree itself.
    pub fn entry(&self, tree: ObjectId, path: &[u8]) -> Result<Option<TreePlace>, OpError> {
        let mut here = TreePlace { mode: 0o040_000, id: tree };
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            if here.mode & 0o170_000 != 0o040_000 {
                return Ok(None);
            }
            let Some(data) = self.object(&here.id, Kind::Tree)? else { return Ok(None) };
            let mut entries = TreeIter::new(self.served.algo, &data).filter_map(Result::ok);
            let Some(entry) = entries.find(|entry| entry.name == part) else { return Ok(None) };
            let Some(id) = ObjectId::from_bytes(self.served.algo, entry.id) else { return Ok(None) };
            here = TreePlace { mode: entry.mode, id };
        }
        Ok(Some(here))
    }
}
