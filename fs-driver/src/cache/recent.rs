//! Files of the cache that were used lately, left open: who opens one again needs neither a path nor a look at the file.
//!
//! A file that nobody uses is not locked, so that any process may evict it; what is left open then is a file without a name,
//! whole until it is closed. That happens after a while, or when there are too many of them.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cairn_protocol::object::ObjectId;
use rustix::process::{Resource, getrlimit};

use crate::limits::{CACHE_TOUCH_AFTER, RECENT_BLOB_BYTES_MAX, RECENT_BLOBS_MAX, RECENT_BYTES_MAX};
use crate::port::{Blob, Pin};

/// An open file of the cache, and how many use it. It is locked as long as somebody does.
pub(super) struct Held {
    file: Arc<File>,
    size: u64,
    users: Mutex<u32>,
}

/// One user.
struct User(Arc<Held>);

impl Pin for User {}

impl Held {
    pub(super) fn new(file: File, size: u64) -> Arc<Self> {
        Arc::new(Self { file: Arc::new(file), size, users: Mutex::new(0) })
    }

    fn users(&self) -> MutexGuard<'_, u32> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blob, kept from eviction until its pin goes.
    pub(super) fn blob(self: &Arc<Self>) -> Blob {
        let mut users = self.users();
        if *users == 0 {
            // An eviction that holds the lock is about to remove the name: the open file stays whole all the same.
            let _ = self.file.try_lock_shared();
        }
        *users += 1;
        drop(users);
        let (file, size) = (Arc::clone(&self.file), self.size);
        Blob { file, size, pin: Arc::new(User(Arc::clone(self))) }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut users = self.0.users();
        *users = users.saturating_sub(1);
        if *users == 0 {
            // It cannot fail for a file that is open. Where it would, the lock goes when the file is closed.
            let _ = self.0.file.unlock();
        }
    }
}

struct Slot {
    held: Arc<Held>,
    opened: Instant,
    used: u64,
}

#[derive(Default)]
struct Slots {
    by_id: HashMap<ObjectId, Slot>,
    bytes: u64,
    clock: u64,
}

/// Files that were used lately.
pub(super) struct Recent {
    slots: Mutex<Slots>,
    count_max: usize,
}

impl Recent {
    /// None yet. Takes a part of the files that the process may have open.
    pub(super) fn new() -> Self {
        let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let count_max = RECENT_BLOBS_MAX.min(usize::try_from(files / 4).unwrap_or(usize::MAX));
        Self { slots: Mutex::default(), count_max }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blob, where its file was used lately. A file that was opened a while ago is to be opened anew: its name may be gone,
    /// and its time of use has to be noted.
    pub(super) fn get(&self, id: &ObjectId) -> Option<Blob> {
        let mut slots = self.lock();
        slots.clock += 1;
        let now = slots.clock;
        let slot = slots.by_id.get_mut(id).filter(|slot| slot.opened.elapsed() < CACHE_TOUCH_AFTER)?;
        slot.used = now;
        let held = Arc::clone(&slot.held);
        drop(slots);
        Some(held.blob())
    }

    /// Leaves a file open, unless it is large.
    pub(super) fn put(&self, id: &ObjectId, held: &Arc<Held>) {
        if held.size >= RECENT_BLOB_BYTES_MAX {
            return;
        }
        let mut slots = self.lock();
        let slot = Slot { held: Arc::clone(held), opened: Instant::now(), used: slots.clock };
        slots.bytes += held.size;
        let mut gone = Vec::new();
        gone.extend(slots.by_id.insert(*id, slot));
        slots.bytes -= gone.iter().map(|slot| slot.held.size).sum::<u64>();
        if slots.by_id.len() > self.count_max || slots.bytes > RECENT_BYTES_MAX {
            slots.halve(self.count_max, &mut gone);
        }
        // Closing takes a while.
        drop(slots);
        drop(gone);
    }

    /// Closes what was opened a while ago and is used by nobody: it may have been evicted since.
    pub(super) fn close_idle(&self) {
        let mut slots = self.lock();
        let is_old = |_: &ObjectId, slot: &mut Slot| slot.opened.elapsed() >= CACHE_TOUCH_AFTER;
        let gone: Vec<_> = slots.by_id.extract_if(is_old).collect();
        slots.bytes -= gone.iter().map(|(_, slot)| slot.held.size).sum::<u64>();
        drop(slots);
        drop(gone);
    }

    /// Closes all that nobody uses.
    pub(super) fn clear(&self) {
        let gone = std::mem::take(&mut *self.lock());
        drop(gone);
    }
}

impl Slots {
    /// Takes out what was used longest ago until half of the room is free: so the sort is paid for by many.
    fn halve(&mut self, count_max: usize, gone: &mut Vec<Slot>) {
        let mut by_age: Vec<_> = self.by_id.iter().map(|(id, slot)| (slot.used, *id)).collect();
        by_age.sort_unstable();
        for (_, id) in by_age {
            if self.by_id.len() <= count_max / 2 && self.bytes <= RECENT_BYTES_MAX / 2 {
                break;
            }
            if let Some(slot) = self.by_id.remove(&id) {
                self.bytes -= slot.held.size;
                gone.push(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::path::Path;

    use cairn_protocol::object::HashAlgo;

    use super::*;

    fn id(nth: usize) -> ObjectId {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&nth.to_be_bytes());
        ObjectId::from_bytes(HashAlgo::Sha1, &bytes).unwrap()
    }

    fn file(dir: &Path) -> File {
        File::create(dir.join("file")).unwrap()
    }

    fn is_locked(dir: &Path) -> bool {
        File::open(dir.join("file")).unwrap().try_lock().is_err()
    }

    #[test]
    fn a_file_is_locked_as_long_as_somebody_uses_it_and_not_while_it_is_left_open() {
        let dir = tempfile::tempdir().unwrap();
        let recent = Recent::new();
        let held = Held::new(file(dir.path()), 7);
        let first = held.blob();
        recent.put(&id(1), &held);
        drop(held);
        let second = recent.get(&id(1)).unwrap();
        assert!(Arc::ptr_eq(&first.file, &second.file), "it is the same open file");
        let third = second.clone();
        drop(first);
        drop(second);
        assert!(is_locked(dir.path()), "a copy is used as well");
        drop(third);
        assert!(!is_locked(dir.path()));
        let again = recent.get(&id(1)).unwrap();
        assert!(is_locked(dir.path()));
        recent.clear();
        assert!(is_locked(dir.path()), "what is used outlives the list");
        drop(again);
        assert!(!is_locked(dir.path()) && recent.get(&id(1)).is_none());
    }

    #[test]
    fn those_used_longest_ago_are_closed_beyond_the_count_and_large_ones_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let recent = Recent { slots: Mutex::default(), count_max: 8 };
        let put = |nth, size| recent.put(&id(nth), &Held::new(file(dir.path()), size));
        put(0, RECENT_BLOB_BYTES_MAX);
        assert!(recent.get(&id(0)).is_none());
        put(0, RECENT_BLOB_BYTES_MAX - 1);
        (1..8).for_each(|nth| put(nth, 1));
        assert!((0..8).all(|nth| recent.get(&id(nth)).is_some()));
        assert!(recent.get(&id(0)).is_some());
        put(8, 1);
        let left: Vec<_> = (0..9).filter(|nth| recent.get(&id(*nth)).is_some()).collect();
        assert_eq!((left.len(), left.contains(&0)), (4, true), "{left:?}");
        let bytes = recent.lock().by_id.values().map(|slot| slot.held.size).sum::<u64>();
        assert_eq!(recent.lock().bytes, bytes);
    }

    #[test]
    fn what_was_opened_a_while_ago_is_opened_anew_and_closed_when_somebody_looks() {
        let dir = tempfile::tempdir().unwrap();
        let recent = Recent::new();
        (0..3).for_each(|nth| recent.put(&id(nth), &Held::new(file(dir.path()), 5)));
        let Some(before) = Instant::now().checked_sub(CACHE_TOUCH_AFTER) else { return };
        recent.lock().by_id.get_mut(&id(1)).unwrap().opened = before;
        assert!(recent.get(&id(1)).is_none() && recent.get(&id(2)).is_some());
        assert_eq!(recent.lock().by_id.len(), 3);
        recent.close_idle();
        let slots = recent.lock();
        assert_eq!((slots.by_id.len(), slots.bytes, slots.by_id.contains_key(&id(1))), (2, 10, false));
    }

    #[test]
    fn those_used_longest_ago_are_closed_beyond_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let recent = Recent::new();
        let size = RECENT_BLOB_BYTES_MAX - 1;
        let fit = (RECENT_BYTES_MAX / size) as usize;
        for nth in 0..=fit {
            // Twice: what is put again counts once.
            recent.put(&id(nth), &Held::new(file(dir.path()), size));
            recent.put(&id(nth), &Held::new(file(dir.path()), size));
            assert!(recent.lock().bytes <= RECENT_BYTES_MAX);
        }
        assert!(recent.get(&id(0)).is_none() && recent.get(&id(fit)).is_some());
    }
}
