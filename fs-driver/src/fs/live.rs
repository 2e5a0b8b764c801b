//! What is kept of each inode that the kernel knows. The kernel gives one back only when memory runs short: there may be as many
//! as there are files, so that each byte here counts a million times.

use std::collections::HashMap;

use cairn_protocol::object::{HashAlgo, ObjectId};

use super::state::Open;
use crate::overlay::Ino;
use crate::tree::{Entry, EntryKind};

/// What is known of an inode besides its record, while someone refers to it.
#[derive(Default)]
pub(super) struct Live {
    /// References of the kernel; one that has as many as can be counted stays.
    lookups: u32,
    /// Unchanged inodes below it that are known.
    pub kids: u32,
    /// Set while it has no record of its own.
    pub base: Option<BaseAt>,
    /// Set while it is open.
    pub open: Option<Box<Open>>,
}

const _: () = assert!(size_of::<Live>() <= 32);

impl Live {
    /// An inode without a record, to which nobody refers yet.
    pub fn unchanged(base: BaseAt) -> Self {
        Self { base: Some(base), ..Self::default() }
    }

    /// The kernel refers to it once more.
    pub fn refer(&mut self) {
        self.lookups = self.lookups.saturating_add(1);
    }

    /// The kernel gives references back.
    pub fn unrefer(&mut self, count: u64) {
        if self.lookups != u32::MAX {
            self.lookups = self.lookups.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Whether anything needs it.
    pub fn is_used(&self) -> bool {
        self.lookups > 0 || self.kids > 0 || self.open.is_some()
    }
}

/// Below so many the room for them is kept: at 41 bytes each.
const ROOM_KEPT: usize = 1 << 16;

/// Gives back the room of those that are gone, once they are most of all: so that it costs little for each. `most` is how
/// many there were at most since the last time.
pub(super) fn give_back_room(all: &mut HashMap<Ino, Live>, most: &mut usize) {
    *most = all.len().max(*most);
    if *most > ROOM_KEPT && all.len() < *most / 8 {
        all.shrink_to(all.len() * 2);
        *most = all.len();
    }
}

/// Bytes of the directory's number.
const PARENT_BYTES: usize = size_of::<Ino>();
/// Set in the byte of the kind where the id is one of SHA-256.
const IS_SHA256: u8 = 0x80;

/// Where an unchanged inode stands in the base: the number of its directory, its kind, its object and its name, one behind
/// the other.
pub(super) struct BaseAt(Box<[u8]>);

impl BaseAt {
    pub fn new(parent: Ino, entry: &Entry<'_>) -> Self {
        let hash = if entry.id.algo() == HashAlgo::Sha256 { IS_SHA256 } else { 0 };
        let kind = entry.kind as u8 | hash;
        Self([&parent.to_le_bytes()[..], &[kind], entry.id.as_bytes(), entry.name].concat().into())
    }

    fn algo(&self) -> HashAlgo {
        match self.0.get(PARENT_BYTES) {
            Some(kind) if kind & IS_SHA256 != 0 => HashAlgo::Sha256,
            _ => HashAlgo::Sha1,
        }
    }

    pub fn parent(&self) -> Ino {
        self.0.first_chunk().copied().map_or(0, Ino::from_le_bytes)
    }

    pub fn kind(&self) -> EntryKind {
        let number = self.0.get(PARENT_BYTES).map_or(0, |kind| kind & !IS_SHA256);
        let all = [EntryKind::File, EntryKind::Exec, EntryKind::Link, EntryKind::Dir, EntryKind::Gitlink];
        all.into_iter().find(|kind| *kind as u8 == number).unwrap_or(EntryKind::File)
    }

    pub fn id(&self) -> ObjectId {
        let algo = self.algo();
        let raw = self.0.get(PARENT_BYTES + 1..).and_then(|rest| rest.get(..algo.bytes()));
        raw.and_then(|raw| ObjectId::from_bytes(algo, raw)).unwrap_or(ObjectId::null(algo))
    }

    pub fn name(&self) -> &[u8] {
        self.0.get(PARENT_BYTES + 1 + self.algo().bytes()..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        let kinds = [EntryKind::File, EntryKind::Exec, EntryKind::Link, EntryKind::Dir, EntryKind::Gitlink];
        for (algo, parent) in [(HashAlgo::Sha1, 1), (HashAlgo::Sha256, u64::MAX - 7)] {
            let id = ObjectId::from_bytes(algo, &vec![0xa5; algo.bytes()]).unwrap();
            for kind in kinds {
                for name in [&b"x"[..], &[0xff; 255]] {
                    let at = BaseAt::new(parent, &Entry { name, kind, id });
                    assert_eq!((at.parent(), at.kind(), at.id(), at.name()), (parent, kind, id, name));
                    assert_eq!(at.0.len(), 9 + algo.bytes() + name.len());
                }
            }
        }
    }

    #[test]
    fn the_room_of_those_that_are_gone_is_given_back() {
        let mut all: HashMap<Ino, Live> = (0..200_000).map(|ino| (ino, Live::default())).collect();
        let mut most = 0;
        let mut times = 0;
        for ino in 0..199_000 {
            let before = most;
            all.remove(&ino);
            give_back_room(&mut all, &mut most);
            times += u32::from(before > most);
        }
        assert_eq!(times, 1, "it takes a walk over all that are left");
        // What was there is counted as room only once it was given back.
        assert!(all.capacity() < 4 * 200_000 / 8, "{} rows for {}", all.capacity(), all.len());
        all.extend((0..1_000).map(|ino| (ino, Live::default())));
        assert!(all.capacity() < 4 * 200_000 / 8, "{} rows for {}", all.capacity(), all.len());
        assert!((199_000..200_000).all(|ino| all.contains_key(&ino)));
    }

    #[test]
    fn an_inode_is_used_until_all_references_are_given_back() {
        let mut live = Live::default();
        (0..3).for_each(|_| live.refer());
        live.unrefer(2);
        assert!(live.is_used());
        live.unrefer(1);
        assert!(!live.is_used());
        live.refer();
        live.unrefer(u64::MAX);
        assert!(!live.is_used(), "more than there are is all of them");
        live.lookups = u32::MAX - 1;
        (0..2).for_each(|_| live.refer());
        live.unrefer(u64::MAX);
        assert!(live.is_used(), "nobody knows how many there are: it stays");
    }
}
