//! The set of ids that objects name: one slot per distinct id, shared by all workers.
//!
//! The trees of a long history name the same ids again and again (git's own 80 million times for 850,000 ids), so each
//! worker asks a small cache of its own first, and takes a shard's lock only with a batch of ids in hand. Ids in trees
//! are chosen by whoever made the tree, so places in the set depend on a random seed.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::object::{HashAlgo, Kind};
use crate::pack::limits::{LINK_BATCH, LINK_SHARDS, RECENT_SLOTS};

/// How an id is named: low half, a bit per kind that it is named as; then a bit per kind that names it; then whether
/// the pack has it.
pub(crate) type Naming = u8;

const IN_PACK: Naming = 0x80;

pub(crate) fn naming(named_by: Kind, named_as: Kind) -> Naming {
    let by = match named_by {
        Kind::Commit | Kind::Blob => 0x10,
        Kind::Tree => 0x20,
        Kind::Tag => 0x40,
    };
    by | 1 << (named_as as u8 - 1)
}

/// The kind that all who name it agree upon.
pub(crate) fn named_as(naming: Naming) -> Option<Kind> {
    match naming & 0x0f {
        1 => Some(Kind::Commit),
        2 => Some(Kind::Tree),
        4 => Some(Kind::Blob),
        8 => Some(Kind::Tag),
        _ => None,
    }
}

/// A kind that names it.
pub(crate) fn named_by(naming: Naming) -> Kind {
    match naming {
        naming if naming & 0x20 != 0 => Kind::Tree,
        naming if naming & 0x40 != 0 => Kind::Tag,
        _ => Kind::Commit,
    }
}

pub(crate) struct LinkSet {
    width: usize,
    seed: [u64; 2],
    /// Slots of a shard when it gets its first id.
    first_slots: usize,
    shards: Vec<Mutex<Shard>>,
}

/// Open addressing over slots of an id and its naming, which is 0 where the slot is empty.
#[derive(Default)]
struct Shard {
    slots: Vec<u8>,
    count: usize,
}

impl LinkSet {
    /// A set that need not grow while about as many ids are named as the pack has objects, which is what packs of
    /// whole histories do. Growing leaves holes in the heap that nothing else fills.
    pub(crate) fn new(algo: HashAlgo, object_count: u32) -> Self {
        let random = RandomState::new();
        let seed = [random.hash_one(0), random.hash_one(1)];
        let shards = (0..LINK_SHARDS).map(|_| Mutex::default()).collect();
        Self { width: algo.bytes(), seed, first_slots: object_count as usize / LINK_SHARDS * 6 / 5, shards }
    }

    fn hash(&self, id: &[u8]) -> u64 {
        let [mut state, key] = self.seed;
        for part in id.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            let product = u128::from(state ^ u64::from_le_bytes(word)) * u128::from(key | 1);
            state = (product as u64) ^ (product >> 64) as u64;
        }
        state
    }

    fn shard(&self, hash: u64) -> usize {
        hash as usize & (LINK_SHARDS - 1)
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert_all(&self, shard: usize, batch: &[u8]) {
        let mut shard = self.lock(shard);
        for slot in batch.chunks_exact(self.width + 1) {
            self.insert(&mut shard, slot);
        }
    }

    fn insert(&self, shard: &mut Shard, slot: &[u8]) {
        let stride = self.width + 1;
        if (shard.count + 1) * stride * 8 > shard.slots.len() * 7 {
            self.grow(shard);
        }
        let at = self.place(&shard.slots, &slot[..self.width]);
        let place = &mut shard.slots[at..at + stride];
        if place[self.width] == 0 {
            place.copy_from_slice(slot);
            shard.count += 1;
        } else {
            place[self.width] |= slot[self.width];
        }
    }

    /// Where the id is, or the empty slot where it belongs. There is an empty one.
    fn place(&self, slots: &[u8], id: &[u8]) -> usize {
        let stride = self.width + 1;
        let count = slots.len() / stride;
        let mut slot = ((u128::from(self.hash(id)) * count as u128) >> 64) as usize;
        loop {
            let at = slot * stride;
            if slots[at + self.width] == 0 || slots[at..at + self.width] == *id {
                return at;
            }
            slot = if slot + 1 == count { 0 } else { slot + 1 };
        }
    }

    /// By a quarter: memory matters more than the few moves.
    fn grow(&self, shard: &mut Shard) {
        let stride = self.width + 1;
        let count = shard.slots.len() / stride;
        let count = (count + count / 4 + 16).max(self.first_slots);
        let old = std::mem::replace(&mut shard.slots, vec![0; count * stride]);
        for slot in old.chunks_exact(stride).filter(|slot| slot[self.width] != 0) {
            let at = self.place(&shard.slots, &slot[..self.width]);
            shard.slots[at..at + stride].copy_from_slice(slot);
        }
    }

    /// How the id is named, where it is; from now on it counts as being in the pack.
    pub(crate) fn find_in_pack(&mut self, id: &[u8]) -> Option<Naming> {
        let shard = self.shard(self.hash(id));
        let mut slots = std::mem::take(&mut self.lock(shard).slots);
        let found = if slots.is_empty() {
            None
        } else {
            let at = self.place(&slots, id) + self.width;
            let naming = slots[at];
            (naming != 0).then(|| {
                slots[at] |= IN_PACK;
                naming
            })
        };
        self.lock(shard).slots = slots;
        found
    }

    /// All ids that were not found in the pack.
    pub(crate) fn outside(&self, each: &mut dyn FnMut(&[u8], Naming)) {
        for shard in 0..self.shards.len() {
            for slot in self.lock(shard).slots.chunks_exact(self.width + 1) {
                let (id, naming) = (&slot[..self.width], slot[self.width]);
                if naming != 0 && naming & IN_PACK == 0 {
                    each(id, naming);
                }
            }
        }
    }
}

/// One worker's way into the set.
pub(crate) struct LinkWriter<'a> {
    set: &'a LinkSet,
    recent: Recent,
    pending: Vec<Vec<u8>>,
}

/// Direct-mapped by the id's first bytes; arrays of fixed size compare without a call.
enum Recent {
    Sha1(Vec<([u8; 20], Naming)>),
    Sha256(Vec<([u8; 32], Naming)>),
}

/// Whether the cache has it; if not, it has now.
fn seen<const N: usize>(slots: &mut [([u8; N], Naming)], id: &[u8], naming: Naming) -> bool {
    let Some(id) = id.first_chunk::<N>() else {
        return false;
    };
    let place = usize::from(u16::from_le_bytes([id[0], id[1]])) & (RECENT_SLOTS - 1);
    let slot = &mut slots[place];
    let hit = slot.0 == *id && slot.1 & naming == naming;
    if !hit {
        *slot = (*id, naming);
    }
    hit
}

impl<'a> LinkWriter<'a> {
    pub(crate) fn new(set: &'a LinkSet, small: bool) -> Self {
        // A handful of objects is not worth a megabyte of cache.
        let recent = match set.width {
            _ if small => Recent::Sha1(Vec::new()),
            20 => Recent::Sha1(vec![([0; 20], 0); RECENT_SLOTS]),
            _ => Recent::Sha256(vec![([0; 32], 0); RECENT_SLOTS]),
        };
        Self { set, recent, pending: vec![Vec::new(); LINK_SHARDS] }
    }

    pub(crate) fn name(&mut self, id: &[u8], naming: Naming) {
        let seen = match &mut self.recent {
            Recent::Sha1(slots) if slots.is_empty() => false,
            Recent::Sha1(slots) => seen(slots, id, naming),
            Recent::Sha256(slots) => seen(slots, id, naming),
        };
        if !seen && id.len() == self.set.width {
            self.put_off(id, naming);
        }
    }

    fn put_off(&mut self, id: &[u8], naming: Naming) {
        let shard = self.set.shard(self.set.hash(id));
        let pending = &mut self.pending[shard];
        pending.extend_from_slice(id);
        pending.push(naming);
        if pending.len() >= LINK_BATCH * (self.set.width + 1) {
            self.set.insert_all(shard, pending);
            pending.clear();
        }
    }

    pub(crate) fn flush(&mut self) {
        for (shard, pending) in self.pending.iter_mut().enumerate() {
            self.set.insert_all(shard, pending);
            pending.clear();
        }
    }
}
