//! A bounded set of what was used lately and costs something to get again: what was used longest ago goes first.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

struct Slot<V> {
    value: V,
    used: u64,
    since: Instant,
}

/// See the module.
pub(super) struct Lately<K, V> {
    slots: HashMap<K, Slot<V>>,
    clock: u64,
    count_max: usize,
    age_max: Duration,
}

impl<K: Copy + Eq + Hash, V: Clone> Lately<K, V> {
    /// None yet, and never more than `count_max`. What is older than `age_max` is to be got anew.
    pub(super) fn new(count_max: usize, age_max: Duration) -> Self {
        Self { slots: HashMap::new(), clock: 0, count_max, age_max }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let slot = self.slots.get_mut(key).filter(|slot| slot.since.elapsed() < self.age_max)?;
        slot.used = self.clock;
        Some(slot.value.clone())
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        if self.slots.len() >= self.count_max && !self.slots.contains_key(&key) {
            self.halve();
        }
        self.clock += 1;
        self.slots.insert(key, Slot { value, used: self.clock, since: Instant::now() });
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.slots.remove(key);
    }

    /// Takes out what is to be got anew. Dropping it may take a while, and is up to the caller.
    pub(super) fn take_old(&mut self) -> Vec<V> {
        let age_max = self.age_max;
        let old = self.slots.extract_if(|_, slot| slot.since.elapsed() >= age_max);
        old.map(|(_, slot)| slot.value).collect()
    }

    /// Drops the half that was used longest ago: so the search for it is paid for by many.
    fn halve(&mut self) {
        let mut used: Vec<u64> = self.slots.values().map(|slot| slot.used).collect();
        let half = used.len() / 2;
        let (_, middle, _) = used.select_nth_unstable(half);
        let middle = *middle;
        self.slots.retain(|_, slot| slot.used > middle);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first_and_there_are_never_too_many() {
        let mut lately = Lately::new(4, Duration::from_secs(3_600));
        (0..4).for_each(|nth| lately.put(nth, nth));
        lately.put(3, 30);
        assert!((0..3).all(|nth| lately.get(&nth) == Some(nth)) && lately.get(&3) == Some(30));
        assert_eq!(lately.get(&0), Some(0));
        lately.put(4, 4);
        let left: Vec<i32> = (0..5).filter(|nth| lately.get(nth).is_some()).collect();
        assert_eq!(left, [0, 4]);
        for nth in 5..100 {
            lately.put(nth, nth);
            assert!(lately.slots.len() <= 4);
        }
        lately.remove(&99);
        assert_eq!(lately.get(&99), None);
    }

    #[test]
    fn what_is_old_is_got_anew_and_can_be_taken_out() {
        let mut lately = Lately::new(4, Duration::from_secs(60));
        (0..2).for_each(|nth| lately.put(nth, nth));
        assert!(lately.take_old().is_empty());
        let Some(before) = Instant::now().checked_sub(Duration::from_secs(60)) else { return };
        lately.slots.get_mut(&1).unwrap().since = before;
        assert_eq!((lately.get(&0), lately.get(&1)), (Some(0), None));
        assert_eq!((lately.take_old(), lately.slots.len()), (vec![1], 1));
    }
}
