//! What is known of each entry, as columns: 46 bytes an object for SHA-1 while deltas are resolved, 38 after.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::object::{HashAlgo, Kind, ObjectId};

/// What an entry is stored as; the numbers of the pack format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Whole,
    Ofs,
    Ref,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) algo: HashAlgo,
    /// Where each entry starts, ascending.
    offsets: Vec<u64>,
    /// Where the last entry ends.
    pub(crate) end: u64,
    /// High half: how it is stored. Low half: the object's kind, 0 while it is not known.
    types: Vec<AtomicU8>,
    /// Of an ofs-delta the index of its base, of a ref-delta the number of its base (see `Groups`).
    base: Vec<u32>,
    /// Raw ids, zero while they are not known.
    pub(crate) ids: Vec<u8>,
    sizes: Vec<u32>,
    /// Sizes that do not fit 32 bits.
    large: HashMap<u32, u64>,
}

const WHOLE: u8 = 0;
const OFS: u8 = 0x60;
const REF: u8 = 0x70;

impl Table {
    pub(crate) fn new(algo: HashAlgo) -> Self {
        let (offsets, types, base, ids, sizes) = <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
        Self { algo, offsets, end: 0, types, base, ids, sizes, large: HashMap::new() }
    }

    pub(crate) fn len(&self) -> u32 {
        self.offsets.len() as u32
    }

    pub(crate) fn push_whole(&mut self, at: u64, kind: Kind, size: u64, id: &ObjectId) {
        self.push(at, WHOLE | kind as u8, 0, size);
        self.ids.extend_from_slice(id.as_bytes());
    }

    pub(crate) fn push_delta(&mut self, at: u64, stored: Stored, base: u32, size: u64) {
        self.push(at, if stored == Stored::Ofs { OFS } else { REF }, base, size);
        self.ids.resize(self.ids.len() + self.algo.bytes(), 0);
    }

    fn push(&mut self, at: u64, kind: u8, base: u32, size: u64) {
        let index = self.len();
        self.offsets.push(at);
        self.types.push(AtomicU8::new(kind));
        self.base.push(base);
        self.sizes.push(u32::try_from(size).unwrap_or(u32::MAX));
        if size >= u64::from(u32::MAX) {
            self.large.insert(index, size);
        }
    }

    pub(crate) fn offset(&self, index: u32) -> u64 {
        self.offsets.get(index as usize).copied().unwrap_or(self.end)
    }

    pub(crate) fn entry_bytes(&self, index: u32) -> u64 {
        self.offset(index + 1) - self.offset(index)
    }

    pub(crate) fn stored(&self, index: u32) -> Stored {
        match self.types[index as usize].load(Ordering::Relaxed) & 0xf0 {
            WHOLE => Stored::Whole,
            OFS => Stored::Ofs,
            _ => Stored::Ref,
        }
    }

    /// The object's kind; `None` while it is not known.
    pub(crate) fn kind(&self, index: u32) -> Option<Kind> {
        Kind::from_number(self.types[index as usize].load(Ordering::Relaxed) & 0x0f)
    }

    pub(crate) fn set_kind(&self, index: u32, kind: Kind) {
        self.types[index as usize].fetch_or(kind as u8, Ordering::Relaxed);
    }

    pub(crate) fn base(&self, index: u32) -> u32 {
        self.base[index as usize]
    }

    pub(crate) fn set_base(&mut self, index: u32, base: u32) {
        self.base[index as usize] = base;
    }

    pub(crate) fn size(&self, index: u32) -> u64 {
        match self.sizes[index as usize] {
            u32::MAX => self.large.get(&index).copied().unwrap_or(u64::from(u32::MAX)),
            size => u64::from(size),
        }
    }

    /// The raw id; zero while it is not known.
    pub(crate) fn raw_id(&self, index: u32) -> &[u8] {
        raw(&self.ids, self.algo, index)
    }

    pub(crate) fn id(&self, index: u32) -> ObjectId {
        to_id(self.algo, self.raw_id(index))
    }

    /// The entry that starts at `at`. Looks from the end, where bases mostly are.
    pub(crate) fn find_offset(&self, at: u64) -> Option<u32> {
        let all = self.offsets.as_slice();
        let mut back = 64;
        while back < all.len() && all[all.len() - back] > at {
            back *= 4;
        }
        let from = all.len().saturating_sub(back);
        all[from..].binary_search(&at).ok().map(|index| (from + index) as u32)
    }

    pub(crate) fn shrink(&mut self) {
        self.offsets.shrink_to_fit();
        self.types.shrink_to_fit();
        self.base.shrink_to_fit();
        self.ids.shrink_to_fit();
        self.sizes.shrink_to_fit();
    }
}

/// The `index`-th of ids that lie one behind the other.
pub(crate) fn raw(ids: &[u8], algo: HashAlgo, index: u32) -> &[u8] {
    let at = index as usize * algo.bytes();
    &ids[at..at + algo.bytes()]
}

/// From raw bytes of the right length.
pub(crate) fn to_id(algo: HashAlgo, raw: &[u8]) -> ObjectId {
    ObjectId::from_bytes(algo, raw).unwrap_or(ObjectId::null(algo))
}
