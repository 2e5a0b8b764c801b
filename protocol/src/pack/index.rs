//! What the index pass hands back, and the port through which it sees the repository.

use crate::object::{HashAlgo, Kind, ObjectId};
use crate::pack::PackError;
use crate::pack::facts::{Commits, TagLink};
use crate::pack::forest::Bases;
use crate::pack::table::{Stored, Table, to_id};
use crate::source::SourceError;

/// What the repository already shows: bases of thin packs, and what new objects may name.
pub trait Known: Sync {
    /// A whole object; `None` where the repository does not have it.
    fn find(&self, id: &ObjectId) -> Result<Option<(Kind, Vec<u8>)>, SourceError>;

    /// The kinds of objects, in order; `None` for those that the repository does not have.
    fn kinds(&self, ids: &[ObjectId]) -> Result<Vec<Option<Kind>>, SourceError>;
}

/// An empty repository.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingKnown;

impl Known for NothingKnown {
    fn find(&self, _: &ObjectId) -> Result<Option<(Kind, Vec<u8>)>, SourceError> {
        Ok(None)
    }

    fn kinds(&self, ids: &[ObjectId]) -> Result<Vec<Option<Kind>>, SourceError> {
        Ok(vec![None; ids.len()])
    }
}

/// What a ref-delta is built upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefBase {
    /// An entry of the same pack.
    InPack(u32),
    /// An object of the repository. The pack may hold it too.
    External(ObjectId),
}

/// What an entry is built upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryBase {
    /// Nothing.
    Whole,
    /// An earlier entry of the same pack.
    Ofs(u32),
    /// An object that is named by its id.
    Ref(RefBase),
}

/// One entry of an indexed pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The object's name.
    pub id: ObjectId,
    /// The object's kind.
    pub kind: Kind,
    /// Bytes of the whole object.
    pub size: u64,
    /// Bytes from the start of the pack to the entry.
    pub offset: u64,
    /// Bytes of the entry: header, base reference and compressed data.
    pub entry_bytes: u64,
    /// What it is built upon.
    pub base: EntryBase,
}

/// A pack whose every object is named and checked, and whose every link leads somewhere. Entries are numbered in pack
/// order.
#[derive(Debug)]
pub struct IndexedPack {
    pub(crate) table: Table,
    pub(crate) bases: Bases,
    pub(crate) sorted: Vec<u32>,
    pub(crate) referred: Bits,
    pub(crate) commits: Commits,
    pub(crate) tags: Vec<TagLink>,
    pub(crate) external: Vec<(ObjectId, Kind)>,
    pub(crate) trailer: ObjectId,
    pub(crate) pack_bytes: u64,
}

impl IndexedPack {
    /// How many entries there are.
    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash function of the ids.
    pub fn algo(&self) -> HashAlgo {
        self.table.algo
    }

    /// Bytes of the pack, trailer included.
    pub fn pack_bytes(&self) -> u64 {
        self.pack_bytes
    }

    /// The pack's checksum.
    pub fn trailer(&self) -> ObjectId {
        self.trailer
    }

    /// One entry. Panics where `index` is not below `len`.
    pub fn entry(&self, index: u32) -> Entry {
        let table = &self.table;
        let base = match table.stored(index) {
            Stored::Whole => EntryBase::Whole,
            Stored::Ofs => EntryBase::Ofs(table.base(index)),
            Stored::Ref => EntryBase::Ref(match self.bases.get(table.base(index)) {
                Ok(index) => RefBase::InPack(index),
                Err(id) => RefBase::External(to_id(table.algo, id)),
            }),
        };
        Entry {
            id: table.id(index),
            kind: table.kind(index).expect("a pack is indexed when the kind of each entry is known"),
            size: table.size(index),
            offset: table.offset(index),
            entry_bytes: table.entry_bytes(index),
            base,
        }
    }

    /// All entries in pack order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// The entry that holds an object.
    pub fn find(&self, id: &ObjectId) -> Option<u32> {
        self.table.find(&self.sorted, id)
    }

    /// All entries, by ascending id.
    pub fn sorted(&self) -> &[u32] {
        &self.sorted
    }

    /// Whether an object of the pack names this one.
    pub fn is_referred(&self, index: u32) -> bool {
        self.referred.get(index)
    }

    /// Entries that no object of the pack names, in pack order: tips, or garbage.
    pub fn unreferred(&self) -> impl Iterator<Item = u32> {
        (0..self.len()).filter(|index| !self.is_referred(*index))
    }

    /// The commits, in pack order.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// The annotated tags, in pack order.
    pub fn tags(&self) -> &[TagLink] {
        &self.tags
    }

    /// What objects of the pack name and the repository has, by ascending id.
    pub fn external(&self) -> &[(ObjectId, Kind)] {
        &self.external
    }
}

impl Table {
    /// The entry with this id, by way of the entries in ascending order of ids.
    pub(crate) fn find(&self, sorted: &[u32], id: &ObjectId) -> Option<u32> {
        let found = sorted.binary_search_by(|index| self.raw_id(*index).cmp(id.as_bytes()));
        found.ok().and_then(|at| sorted.get(at).copied())
    }
}

/// Below this, buckets cost more than they save.
const BUCKET_MIN: u32 = 4_096;

/// All entries by ascending id. No id may come twice.
pub(crate) fn sort_ids(table: &Table) -> Result<Vec<u32>, PackError> {
    let mut sorted: Vec<u32> = (0..table.len()).collect();
    let by_id = |a: &u32, b: &u32| table.raw_id(*a).cmp(table.raw_id(*b)).then(a.cmp(b));
    if table.len() < BUCKET_MIN {
        sorted.sort_unstable_by(by_id);
    } else {
        let bucket =
            |index: u32| table.raw_id(index)[..2].iter().fold(0, |high, low| high << 8 | usize::from(*low));
        let mut ends = vec![0_u32; 1 << 16];
        (0..table.len()).for_each(|index| ends[bucket(index)] += 1);
        let mut sum = 0;
        for end in &mut ends {
            (*end, sum) = (sum, sum + *end);
        }
        for index in 0..table.len() {
            let end = &mut ends[bucket(index)];
            sorted[*end as usize] = index;
            *end += 1;
        }
        let mut start = 0;
        for end in ends {
            sorted[start..end as usize].sort_unstable_by(by_id);
            start = end as usize;
        }
    }
    let twice = sorted.windows(2).find(|pair| table.raw_id(pair[0]) == table.raw_id(pair[1]));
    match twice {
        Some(pair) => Err(PackError::Duplicate { id: table.id(pair[0]) }),
        None => Ok(sorted),
    }
}

/// One bit an entry.
#[derive(Debug)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn new(count: u32) -> Self {
        Self(vec![0; count.div_ceil(64) as usize])
    }

    pub(crate) fn set(&mut self, at: u32) {
        self.0[at as usize / 64] |= 1 << (at % 64);
    }

    pub(crate) fn get(&self, at: u32) -> bool {
        self.0.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 != 0)
    }
}
