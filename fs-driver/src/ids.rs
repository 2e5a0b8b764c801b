//! Object ids in little room: each once, each with a place that stays the same.
//!
//! An id of SHA-1 takes its 20 bytes and, on the average, 8 more for being found; in a map of std's it would take some 80.

use std::hash::{BuildHasher, RandomState};

use cairn_protocol::object::{HashAlgo, ObjectId};
use hashbrown::HashTable;

/// The place of an id in its table: how many came before it.
pub type Place = u32;

/// Ids of one hash.
#[derive(Default)]
pub struct Ids {
    /// What made the ids; that of the first one.
    algo: Option<HashAlgo>,
    /// The ids one after the other.
    raw: Vec<u8>,
    places: HashTable<Place>,
    /// A remote chooses the ids: without a key it could choose them so that all fall into one slot.
    key: RandomState,
}

fn at(raw: &[u8], width: usize, place: Place) -> &[u8] {
    raw.chunks_exact(width).nth(place as usize).unwrap_or_default()
}

impl Ids {
    fn width(&self) -> usize {
        self.algo.map_or(1, HashAlgo::bytes)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.raw.len() / self.width()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The id at a place.
    pub fn get(&self, place: Place) -> Option<ObjectId> {
        ObjectId::from_bytes(self.algo?, at(&self.raw, self.width(), place))
    }

    /// The place of an id.
    pub fn find(&self, id: &ObjectId) -> Option<Place> {
        let is_it = |place: &Place| at(&self.raw, self.width(), *place) == id.as_bytes();
        self.places.find(self.key.hash_one(id.as_bytes()), is_it).copied()
    }

    /// Puts an id behind the others unless it is there. Answers its place, and whether it is new; `None` for an id of
    /// another hash than the others have, and where no further place has a number.
    pub fn insert(&mut self, id: &ObjectId) -> Option<(Place, bool)> {
        let (algo, len) = (*self.algo.get_or_insert(id.algo()), self.len());
        if algo != id.algo() {
            return None;
        }
        if let Some(place) = self.find(id) {
            return Some((place, false));
        }
        let place = Place::try_from(len).ok()?;
        self.raw.extend_from_slice(id.as_bytes());
        let Self { raw, places, key, .. } = self;
        let hash = |place: &Place| key.hash_one(at(raw, algo.bytes(), *place));
        places.insert_unique(key.hash_one(id.as_bytes()), place, hash);
        Some((place, true))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn id(algo: HashAlgo, nth: u32) -> ObjectId {
        let mut raw = vec![7; algo.bytes()];
        raw[..4].copy_from_slice(&nth.to_be_bytes());
        ObjectId::from_bytes(algo, &raw).unwrap()
    }

    #[test]
    fn each_id_has_one_place_and_is_found_by_both() {
        for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
            let mut ids = Ids::default();
            assert!(ids.is_empty() && ids.get(0).is_none() && ids.find(&id(algo, 1)).is_none());
            for round in 0..2 {
                for nth in 0..10_000 {
                    assert_eq!(ids.insert(&id(algo, nth)), Some((nth, round == 0)));
                }
            }
            assert_eq!(ids.len(), 10_000);
            for nth in [0, 1, 4_999, 9_999] {
                assert_eq!((ids.get(nth), ids.find(&id(algo, nth))), (Some(id(algo, nth)), Some(nth)));
            }
            assert_eq!((ids.get(10_000), ids.find(&id(algo, 10_000))), (None, None));
        }
        let mut mixed = Ids::default();
        mixed.insert(&id(HashAlgo::Sha1, 1)).unwrap();
        assert_eq!(mixed.insert(&id(HashAlgo::Sha256, 1)), None);
    }
}
