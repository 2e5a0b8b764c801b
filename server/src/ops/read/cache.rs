//! What reads keep: small objects, and what names stood for. All of it is fact for ever: an object's id names its bytes, and
//! a snapshot's fingerprint what its refs show.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use cairn_protocol::object::{Kind, ObjectId};

use super::names::Named;
use crate::limits::{OBJECT_CACHE_BYTES, READ_COUNT_CACHE_BYTES, READ_NAME_CACHE_BYTES};
use crate::store::RepoId;

/// Bytes that an entry costs beside its value.
const ENTRY_BYTES: usize = 128;

/// A cache bounded in bytes, in two halves: what is used moves to the young half, and when that is full the old half is
/// dropped. Neither needs a search. Lock order: its lock is the last one taken.
pub struct Halves<K, V> {
    inner: Mutex<Inner<K, V>>,
    bytes_max: usize,
}

struct Inner<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    young_bytes: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Halves<K, V> {
    /// An empty cache of at most about `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        let inner = Inner { young: HashMap::new(), old: HashMap::new(), young_bytes: 0 };
        Self { inner: Mutex::new(inner), bytes_max }
    }

    /// What was kept under `key`.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((value, _)) = inner.young.get(key) {
            return Some(value.clone());
        }
        let (value, bytes) = inner.old.remove(key)?;
        inner.insert(key.clone(), value.clone(), bytes, self.bytes_max);
        Some(value)
    }

    /// Keeps a value that takes `bytes`.
    pub fn put(&self, key: K, value: V, bytes: usize) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.insert(key, value, bytes + ENTRY_BYTES, self.bytes_max);
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Inner<K, V> {
    fn insert(&mut self, key: K, value: V, bytes: usize, bytes_max: usize) {
        if self.young_bytes + bytes > bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        if let Some((_, replaced)) = self.young.insert(key, (value, bytes)) {
            self.young_bytes -= replaced;
        }
    }
}

/// A SHA-256 of what was asked and of what the snapshot shows.
pub type NameKey = [u8; 32];

/// The caches of reads, all repositories together.
pub struct Reads {
    /// Small objects. By repository as well, so that no repository's bytes are ever shown by another.
    pub objects: Halves<(RepoId, ObjectId), (Kind, Bytes)>,
    /// What refs and paths stood for.
    pub names: Halves<NameKey, Option<Named>>,
    /// How many items long lists have.
    pub counts: Halves<NameKey, u64>,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            objects: Halves::new(OBJECT_CACHE_BYTES),
            names: Halves::new(READ_NAME_CACHE_BYTES),
            counts: Halves::new(READ_COUNT_CACHE_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRY_BYTES, Halves};

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let cache = Halves::new(20 * (ENTRY_BYTES + 1));
        for n in 0..1_000 {
            cache.put(n, n, 1);
            assert_eq!(cache.get(&0), Some(0), "used again and again");
            let inner = cache.inner.lock().unwrap();
            assert!(inner.young.len() + inner.old.len() <= 20, "at {n}");
        }
        assert_eq!(cache.get(&1), None, "used once, long ago");
        assert_eq!(cache.get(&999), Some(999));
    }

    #[test]
    fn a_value_put_twice_counts_once() {
        let cache = Halves::new(1_000);
        for _ in 0..9 {
            cache.put("a", 1, 100);
        }
        assert_eq!(cache.inner.lock().unwrap().young_bytes, 100 + ENTRY_BYTES);
    }
}
