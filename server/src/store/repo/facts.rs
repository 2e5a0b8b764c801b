//! What the store must know of a pack to take it in: the answers of an index pass.

use cairn_protocol::object::{HashAlgo, ObjectId};
use cairn_protocol::pack::IndexedPack;

pub use cairn_protocol::pack::{Entry, EntryBase, PackBytes, RefBase};

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

impl PackFacts for IndexedPack {
    fn algo(&self) -> HashAlgo {
        self.algo()
    }

    fn len(&self) -> u32 {
        self.len()
    }

    fn pack_bytes(&self) -> u64 {
        self.pack_bytes()
    }

    fn entry(&self, index: u32) -> Entry {
        self.entry(index)
    }

    fn find(&self, id: &ObjectId) -> Option<u32> {
        self.find(id)
    }

    fn sorted(&self) -> &[u32] {
        self.sorted()
    }

    fn commits(&self) -> Box<dyn Iterator<Item = CommitLinks> + '_> {
        Box::new(self.commits().iter().map(|commit| CommitLinks {
            index: commit.index,
            tree: commit.tree,
            parents: commit.parents().collect(),
            time: commit.time,
        }))
    }
}
