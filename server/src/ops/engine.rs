//! The port between a repository and the gix crates that diff and merge trees.
//!
//! gix names objects in its own types and fails in its own words: both stay in here and in the operations that call it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::Read;
use std::rc::Rc;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId, hash_object};
use cairn_protocol::walk::Reader;

use super::OpError;
use super::room::Room;
use super::view::RepoView;
use crate::limits::ENGINE_OBJECT_BYTES_MAX;

/// An id as gix has it.
pub fn gix_id(id: &ObjectId) -> gix_hash::ObjectId {
    gix_hash::ObjectId::from_bytes_or_panic(id.as_bytes())
}

/// An id of gix as the repository has it.
pub fn our_id(algo: HashAlgo, id: &gix_hash::oid) -> ObjectId {
    ObjectId::from_bytes(algo, id.as_bytes()).expect("both sides use the repository's hash")
}

/// The hash as gix names it.
pub fn gix_kind(algo: HashAlgo) -> gix_hash::Kind {
    match algo {
        HashAlgo::Sha1 => gix_hash::Kind::Sha1,
        HashAlgo::Sha256 => gix_hash::Kind::Sha256,
    }
}

/// The visible objects of a repository, and above them those that an operation makes and may throw away.
pub struct Objects<'a> {
    view: &'a RepoView,
    reader: RefCell<Reader<'a>>,
    made: RefCell<HashMap<gix_hash::ObjectId, (gix_object::Kind, Vec<u8>)>>,
    made_bytes: Cell<u64>,
    made_bytes_max: u64,
    failed: RefCell<Option<OpError>>,
}

impl<'a> Objects<'a> {
    /// Nothing made yet; at most `made_bytes_max` bytes of objects will be.
    pub fn new(view: &'a RepoView, made_bytes_max: u64) -> Self {
        Self {
            view,
            reader: RefCell::new(view.reader()),
            made: RefCell::default(),
            made_bytes: Cell::new(0),
            made_bytes_max,
            failed: RefCell::new(None),
        }
    }

    /// The hash of the repository.
    pub fn algo(&self) -> HashAlgo {
        self.view.served.algo
    }

    /// What may be held in memory.
    pub fn room(&self) -> Room {
        self.view.served.room
    }

    /// The bytes of an object that was made here.
    pub fn made(&self, id: &gix_hash::oid) -> Option<(gix_object::Kind, Vec<u8>)> {
        self.made.borrow().get(id).cloned()
    }

    /// Whether the repository shows the object already.
    pub fn is_stored(&self, id: &gix_hash::oid) -> Result<bool, OpError> {
        Ok(self.view.place(&our_id(self.algo(), id))?.is_some())
    }

    /// The bytes of a blob; `None` where it is larger than `bytes_max`, or not there.
    pub fn blob(&self, id: &gix_hash::oid, bytes_max: u64) -> Result<Option<Vec<u8>>, OpError> {
        if let Some((_, data)) = self.made(id) {
            return Ok(Some(data));
        }
        let Some(at) = self.view.place(&our_id(self.algo(), id))? else { return Ok(None) };
        if cairn_protocol::source::ObjectSource::record(&self.view.snapshot, at)?.size > bytes_max {
            return Ok(None);
        }
        Ok(Some(Rc::unwrap_or_clone(self.reader.borrow_mut().read(at)?.1)))
    }

    /// Why gix failed: our own error where there is one, since gix only saw its text.
    pub fn failure(&self, error: impl std::fmt::Display) -> OpError {
        self.failed.borrow_mut().take().unwrap_or_else(|| OpError::Engine(error.to_string()))
    }

    fn fail<T>(&self, error: OpError) -> Result<T, gix_error::Error> {
        let text = error.to_string();
        self.failed.borrow_mut().get_or_insert(error);
        Err(gix_error::Error::from_error(std::io::Error::other(text)))
    }

    fn header(&self, id: &ObjectId) -> Result<Option<(Kind, u64)>, OpError> {
        let found = self.view.header(id)?;
        match found {
            Some((_, size)) if size > ENGINE_OBJECT_BYTES_MAX => Err(OpError::TooLarge(format!(
                "object {id} has {size} bytes; what is diffed or merged may have {ENGINE_OBJECT_BYTES_MAX}"
            ))),
            found => Ok(found),
        }
    }

    fn read(&self, id: &ObjectId, out: &mut Vec<u8>) -> Result<Option<Kind>, OpError> {
        let Some((kind, _)) = self.header(id)? else { return Ok(None) };
        let Some(at) = self.view.place(id)? else { return Ok(None) };
        out.extend_from_slice(&self.reader.borrow_mut().read(at)?.1);
        Ok(Some(kind))
    }
}

fn kind_of(kind: Kind) -> gix_object::Kind {
    match kind {
        Kind::Commit => gix_object::Kind::Commit,
        Kind::Tree => gix_object::Kind::Tree,
        Kind::Blob => gix_object::Kind::Blob,
        Kind::Tag => gix_object::Kind::Tag,
    }
}

impl gix_object::Find for Objects<'_> {
    fn try_find<'a>(
        &self,
        id: &gix_hash::oid,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<gix_object::Data<'a>>, gix_error::Error> {
        buffer.clear();
        let kind = if *id == *gix_hash::ObjectId::empty_tree(id.kind()) {
            gix_object::Kind::Tree
        } else if let Some((kind, data)) = self.made.borrow().get(id) {
            buffer.extend_from_slice(data);
            *kind
        } else {
            match self.read(&our_id(self.algo(), id), buffer) {
                Ok(Some(kind)) => kind_of(kind),
                Ok(None) => return Ok(None),
                Err(error) => return self.fail(error),
            }
        };
        Ok(Some(gix_object::Data { kind, object_hash: id.kind(), data: buffer }))
    }
}

impl gix_object::FindHeader for Objects<'_> {
    fn try_header(&self, id: &gix_hash::oid) -> Result<Option<gix_object::Header>, gix_error::Error> {
        if *id == *gix_hash::ObjectId::empty_tree(id.kind()) {
            return Ok(Some(gix_object::Header { kind: gix_object::Kind::Tree, size: 0 }));
        }
        if let Some((kind, data)) = self.made.borrow().get(id) {
            return Ok(Some(gix_object::Header { kind: *kind, size: data.len() as u64 }));
        }
        // Sizes are asked for to tell what is too large: no limit here.
        match self.view.header(&our_id(self.algo(), id)) {
            Ok(found) => Ok(found.map(|(kind, size)| gix_object::Header { kind: kind_of(kind), size })),
            Err(error) => self.fail(error),
        }
    }
}

impl gix_object::Write for Objects<'_> {
    fn write_buf_with_known_id(
        &self,
        kind: gix_object::Kind,
        from: &[u8],
        id: gix_hash::ObjectId,
    ) -> Result<gix_hash::ObjectId, gix_error::Error> {
        let bytes = self.made_bytes.get() + from.len() as u64;
        if bytes > self.made_bytes_max {
            let max = self.made_bytes_max;
            return self
                .fail(OpError::TooLarge(format!("the merge makes more than {max} bytes of new objects")));
        }
        // Here, and in the pack that is made of it.
        if let Err(more) = self.room().hold(bytes * 2) {
            return self.fail(more);
        }
        if self.made.borrow_mut().insert(id, (kind, from.to_vec())).is_none() {
            self.made_bytes.set(bytes);
        }
        Ok(id)
    }

    fn write_stream(
        &self,
        kind: gix_object::Kind,
        size: u64,
        from: &mut dyn Read,
    ) -> Result<gix_hash::ObjectId, gix_error::Error> {
        let mut data = Vec::new();
        if let Err(error) = from.take(size).read_to_end(&mut data) {
            return self.fail(error.into());
        }
        let our_kind = match kind {
            gix_object::Kind::Commit => Kind::Commit,
            gix_object::Kind::Tree => Kind::Tree,
            gix_object::Kind::Blob => Kind::Blob,
            gix_object::Kind::Tag => Kind::Tag,
        };
        match hash_object(self.algo(), our_kind, &data) {
            Ok(id) => self.write_buf_with_known_id(kind, &data, gix_id(&id)),
            Err(error) => self.fail(OpError::Engine(error.to_string())),
        }
    }

    fn write_stream_with_known_id(
        &self,
        kind: gix_object::Kind,
        size: u64,
        from: &mut dyn Read,
        id: gix_hash::ObjectId,
    ) -> Result<gix_hash::ObjectId, gix_error::Error> {
        let mut data = Vec::new();
        if let Err(error) = from.take(size).read_to_end(&mut data) {
            return self.fail(error.into());
        }
        self.write_buf_with_known_id(kind, &data, id)
    }
}

/// No attributes: what is asked for is read from trees alone, and `.gitattributes` in them is not looked at.
fn no_attributes() -> gix_worktree::Stack {
    use gix_worktree::stack::state::{Attributes, attributes::Source};
    let attributes = Attributes::new(Default::default(), None, Source::IdMapping, Default::default());
    let state = gix_worktree::stack::State::AttributesStack(attributes);
    gix_worktree::Stack::new("", state, Default::default(), Vec::new(), Vec::new())
}

/// Compares blobs to find renames. Larger blobs than `bytes_max` are only compared by their ids.
pub fn diff_platform(algo: HashAlgo, bytes_max: u64) -> gix_diff::blob::Platform {
    use gix_diff::blob::{Pipeline, Platform, pipeline};
    let options = pipeline::Options { large_file_threshold_bytes: bytes_max, fs: Default::default() };
    let pipeline = Pipeline::new(Default::default(), no_filters(algo), Vec::new(), options);
    Platform::new(Default::default(), pipeline, pipeline::Mode::ToGit, no_attributes())
}

/// Merges blobs. Larger ones than `bytes_max` are not merged: both sides changing one is a conflict.
pub fn merge_platform(algo: HashAlgo, bytes_max: u64) -> gix_merge::blob::Platform {
    use gix_merge::blob::{Pipeline, Platform, pipeline};
    let options = pipeline::Options { large_file_threshold_bytes: bytes_max };
    let pipeline = Pipeline::new(Default::default(), no_filters(algo), options);
    Platform::new(pipeline, pipeline::Mode::ToGit, no_attributes(), Vec::new(), Default::default())
}

/// Blobs are taken as they are stored.
fn no_filters(algo: HashAlgo) -> gix_filter::Pipeline {
    gix_filter::Pipeline::new(Default::default(), gix_kind(algo), Default::default())
}
