//! What the store must know of a pack to take it in: the answers of an index pass.

use std::io;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};

/// Where a ref-delta's base is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefBase {
    /// In the same pack, at this place.
    InPack(u32),
    /// Elsewhere in the repository.
    External(ObjectId),
}

/// What an entry is stored against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryBase {
    /// A whole object.
    Whole,
    /// An ofs-delta against the entry at this place of the pack.
    Ofs(u32),
    /// A ref-delta.
    Ref(RefBase),
}

/// One entry of a pack.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The object's name.
    pub id: ObjectId,
    /// Its kind, deltas resolved.
    pub kind: Kind,
    /// Bytes of the whole object.
    pub size: u64,
    /// Bytes from the start of the pack.
    pub offset: u64,
    /// Bytes of the entry in the pack.
    pub entry_bytes: u64,
    /// What it is stored against.
    pub base: EntryBase,
}

/// What a commit names.
#[derive(Clone, Debug)]
pub struct CommitLinks {
    /// Its place in the pack.
    pub index: u32,
    /// Its root tree.
    pub tree: ObjectId,
    /// Its parents in order.
    pub parents: Vec<ObjectId>,
    /// Committer time in seconds.
    pub time: i64,
}

/// The index of a checked pack, whose entries are numbered in pack order.
pub trait PackFacts {
    /// Which hash names the objects.
    fn algo(&self) -> HashAlgo;
    /// How many entries.
    fn len(&self) -> u32;
    /// Whether there is no entry.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes of the pack, header and trailer included.
    fn pack_bytes(&self) -> u64;
    /// One entry.
    fn entry(&self, index: u32) -> Entry;
    /// Where an object is in the pack.
    fn find(&self, id: &ObjectId) -> Option<u32>;
    /// All places, in the order of their ids.
    fn sorted(&self) -> &[u32];
    /// The commits of the pack.
    fn commits(&self) -> Box<dyn Iterator<Item = CommitLinks> + '_>;
}

/// The bytes of a pack, wherever they wait.
pub trait PackBytes: Sync {
    /// How many.
    fn len(&self) -> u64;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Fills `into` from `at`; an error where the pack ends before.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

impl PackBytes for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(at)
            .ok()
            .and_then(|at| self.get(at..at.checked_add(into.len())?));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
