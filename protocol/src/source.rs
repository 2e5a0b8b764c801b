//! The ports through which walks and plans read a repository.
//!
//! A repository sees a list of *sources*: its own log first, then the pinned prefixes of the logs that it was forked
//! from. An object lives in one source under an *ordinal*: its place in the concatenation of that source's packs, so
//! that a run of ordinals within a pack is a run of bytes. Each object has one *canonical* ordinal, the first one that
//! brought it; later copies are never named.

use std::ops::Range;

use roaring::RoaringBitmap;

use crate::object::{Kind, ObjectId};

/// Where an object lives, as one repository sees it. Orders by source, then by ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjRef {
    /// Index into the repository's list of sources; 0 is its own log.
    pub source: u16,
    /// Place of the object in that source.
    pub ordinal: u32,
}

/// What an entry in a pack is stored against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// A whole object.
    None,
    /// An ofs-delta: its base is in the same pack. The reference is to the canonical place of the base, which is in
    /// another pack where the pack's own copy of the base is not canonical.
    Ofs(ObjRef),
    /// A ref-delta; its base may be anywhere in the repository's sources.
    Ref(ObjRef),
}

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its name.
    pub id: ObjectId,
    /// Its kind (of the object, not of the entry).
    pub kind: Kind,
    /// Bytes of the whole object.
    pub size: u64,
    /// Which pack of the source holds it.
    pub pack: u32,
    /// Bytes from the start of the pack to the entry.
    pub offset: u64,
    /// Bytes of the entry: header, base reference and compressed data.
    pub entry_bytes: u64,
    /// What the entry is stored against.
    pub base: Base,
}

/// A commit as walks need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitNode {
    /// Its root tree.
    pub tree: ObjRef,
    /// Its parents in order.
    pub parents: Vec<ObjRef>,
    /// Committer time in seconds.
    pub time: i64,
    /// 1 for a root, else 1 + the largest of its parents'.
    pub generation: u32,
}

/// Why a port could not answer: the store's own error, whose text is for logs, never for peers.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// Reads objects of one repository at one seq. All answers stay the same for as long as it lives.
pub trait ObjectSource {
    /// How many ordinals each source shows, own log first: `0..limit` may be asked for.
    fn limits(&self) -> Vec<u32>;

    /// The canonical place of an object; `None` where the repository does not have it.
    fn lookup(&self, id: &ObjectId) -> Result<Option<ObjRef>, SourceError>;

    /// The places of many objects, in their order. One request of many costs a fraction of many requests of one.
    fn lookup_many(&self, ids: &[ObjectId]) -> Result<Vec<Option<ObjRef>>, SourceError> {
        ids.iter().map(|id| self.lookup(id)).collect()
    }

    /// The canonical ordinals of one kind in a source.
    fn kind_set(&self, source: u16, kind: Kind) -> Result<RoaringBitmap, SourceError> {
        let limit = self.limits().get(usize::from(source)).copied().unwrap_or(0);
        let mut out = RoaringBitmap::new();
        self.records(source, 0..limit, &mut |ordinal, record| {
            if record.kind == kind {
                out.insert(ordinal);
            }
        })?;
        Ok(out)
    }

    /// What is known of one object.
    fn record(&self, at: ObjRef) -> Result<Record, SourceError>;

    /// Calls `each` with the records of a range of ordinals in order, canonical ones only. Cheaper than `record` by
    /// an order of magnitude.
    fn records(
        &self,
        source: u16,
        range: Range<u32>,
        each: &mut dyn FnMut(u32, &Record),
    ) -> Result<(), SourceError>;

    /// The whole object.
    fn read(&self, at: ObjRef) -> Result<(Kind, Vec<u8>), SourceError>;

    /// A commit's links; an error where `at` is no commit.
    fn commit(&self, at: ObjRef) -> Result<CommitNode, SourceError>;

    /// Bytes of a pack, header and trailer included.
    fn pack_len(&self, source: u16, pack: u32) -> Result<u64, SourceError>;

    /// Reads `into.len()` bytes of a pack, from `offset`. An error where the pack ends before.
    fn pack_bytes(&self, source: u16, pack: u32, offset: u64, into: &mut [u8]) -> Result<(), SourceError>;
}
