//! Trees and commits of a pack that were read lately: bases of the deltas that are read next.
//!
//! Trees are stored as chains of deltas. Who reads all trees of a commit without this unpacks each chain from its start
//! for each of its links.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use cairn_protocol::object::Kind;

use crate::limits::{BASE_BYTES_MAX, BASES_BYTES_MAX};

/// An object and its kind.
pub type Base = Arc<(Kind, Vec<u8>)>;

/// Objects of one pack by where they start in it; the first to come is the first to go.
#[derive(Default)]
pub struct Bases(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    objects: HashMap<u64, Base>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl Bases {
    /// The object that starts `at` so many bytes from the start of the pack, if it was kept.
    pub fn get(&self, at: u64) -> Option<Base> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).objects.get(&at).map(Arc::clone)
    }

    /// Keeps an object, unless it is a blob or large: those are hardly bases of what is read next.
    pub fn put(&self, at: u64, kind: Kind, object: &[u8]) {
        if kind == Kind::Blob || object.len() > BASE_BYTES_MAX {
            return;
        }
        let base = Arc::new((kind, object.to_vec()));
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.objects.insert(at, base).is_some() {
            return;
        }
        kept.order.push_back(at);
        kept.bytes += object.len();
        while kept.bytes > BASES_BYTES_MAX {
            let Some(oldest) = kept.order.pop_front() else { break };
            if let Some(gone) = kept.objects.remove(&oldest) {
                kept.bytes -= gone.1.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_come_go_and_the_room_is_kept() {
        let bases = Bases::default();
        let object = vec![7; BASE_BYTES_MAX];
        let fit = (BASES_BYTES_MAX / BASE_BYTES_MAX) as u64;
        for at in 0..fit + 3 {
            bases.put(at, Kind::Tree, &object);
            bases.put(at, Kind::Tree, &object);
        }
        let here: Vec<u64> = (0..fit + 3).filter(|at| bases.get(*at).is_some()).collect();
        assert_eq!(here, (3..fit + 3).collect::<Vec<_>>());
        assert_eq!(bases.0.lock().unwrap().bytes, BASES_BYTES_MAX);
    }

    #[test]
    fn blobs_and_what_is_large_are_not_kept() {
        let bases = Bases::default();
        bases.put(1, Kind::Blob, b"blob");
        bases.put(2, Kind::Tree, &vec![0; BASE_BYTES_MAX + 1]);
        bases.put(3, Kind::Commit, b"commit");
        assert!(bases.get(1).is_none() && bases.get(2).is_none());
        assert_eq!(*bases.get(3).unwrap(), (Kind::Commit, b"commit".to_vec()));
    }
}
