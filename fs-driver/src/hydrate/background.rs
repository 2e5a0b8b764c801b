//! What the background brings, in order, and how fast. No clock, no I/O: times come as arguments.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use cairn_protocol::object::ObjectId;

use crate::limits::{
    BACKGROUND_BATCH, BACKGROUND_BATCH_BYTES, BACKGROUND_BATCH_FIRST, BACKGROUND_BATCH_GROWTH,
    BACKGROUND_MAX, UNKNOWN_BLOB_BYTES,
};

/// Blobs in the order in which they are to come, each of them once.
#[derive(Default)]
pub struct Line {
    by_rank: BTreeMap<i64, ObjectId>,
    ranks: HashMap<ObjectId, i64>,
}

impl Line {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ranks.len()
    }

    /// Whether there is nothing to bring.
    pub fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }

    /// Puts blobs at the end; those that are here already keep their place. What is too much is left out.
    pub fn append(&mut self, ids: impl Iterator<Item = ObjectId>) {
        let mut rank = self.by_rank.last_key_value().map_or(0, |(rank, _)| *rank);
        for id in ids {
            if self.ranks.len() >= BACKGROUND_MAX {
                return;
            }
            if !self.ranks.contains_key(&id) {
                rank += 1;
                self.by_rank.insert(rank, id);
                self.ranks.insert(id, rank);
            }
        }
    }

    /// Puts blobs at the front, in their own order; those that are here already move there. Too much falls off the end.
    pub fn prepend(&mut self, ids: impl DoubleEndedIterator<Item = ObjectId>) {
        let mut rank = self.by_rank.first_key_value().map_or(0, |(rank, _)| *rank);
        for id in ids.rev() {
            rank -= 1;
            if let Some(before) = self.ranks.insert(id, rank) {
                self.by_rank.remove(&before);
            }
            self.by_rank.insert(rank, id);
        }
        while self.ranks.len() > BACKGROUND_MAX {
            let Some((_, id)) = self.by_rank.pop_last() else { return };
            self.ranks.remove(&id);
        }
    }

    /// The first one, which stays.
    pub fn first(&self) -> Option<ObjectId> {
        self.by_rank.first_key_value().map(|(_, id)| *id)
    }

    /// Takes one out.
    pub fn remove(&mut self, id: &ObjectId) {
        if let Some(rank) = self.ranks.remove(id) {
            self.by_rank.remove(&rank);
        }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.by_rank.clear();
        self.ranks.clear();
    }
}

/// How much the background asks for at once, and when. It begins with little, so that what matters most is not kept
/// waiting by what came along.
pub struct Pace {
    bytes_per_second: Option<u64>,
    batch: usize,
    started: Option<Instant>,
    from: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Pace {
    /// At most so many bytes per second; no bound if `None`.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let bytes_per_second = bytes_per_second.map(|rate| rate.max(1));
        Self { bytes_per_second, batch: BACKGROUND_BATCH_FIRST, started: None, from: None }
    }

    /// Until when nothing is asked for, if so.
    pub fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.from.filter(|from| now < *from)
    }

    /// Whether a request is under way. One at a time, so that the other connections are free for who waits.
    pub fn is_busy(&self) -> bool {
        self.started.is_some()
    }

    /// Blobs and bytes of the next request. One of a bounded rate asks for no more than comes in a second.
    pub fn batch(&self) -> (usize, u64) {
        let bytes = self
            .bytes_per_second
            .map_or(BACKGROUND_BATCH_BYTES, |rate| rate.clamp(UNKNOWN_BLOB_BYTES, BACKGROUND_BATCH_BYTES));
        (self.batch, bytes)
    }

    /// A request begins.
    pub fn begin(&mut self, now: Instant) {
        self.started = Some(now);
        self.batch = (self.batch * BACKGROUND_BATCH_GROWTH).min(BACKGROUND_BATCH);
    }

    /// It ended, and brought so many bytes: the next one waits until they have taken the time that they may take.
    pub fn end(&mut self, brought: u64) {
        let Some((started, rate)) = self.started.take().zip(self.bytes_per_second) else { return };
        let takes = Duration::from_millis(brought.saturating_mul(1_000) / rate);
        self.from = started.checked_add(takes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use cairn_protocol::object::HashAlgo;

    fn id(nth: u8) -> ObjectId {
        ObjectId::from_bytes(HashAlgo::Sha1, &[nth; 20]).unwrap()
    }

    fn drained(line: &mut Line) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(first) = line.first() {
            line.remove(&first);
            all.push(first.as_bytes()[0]);
        }
        all
    }

    #[test]
    fn a_blob_stands_in_the_line_once_however_often_it_is_put_there() {
        let mut line = Line::default();
        line.append((1..=6).map(id));
        line.append((4..=8).map(id));
        for _ in 0..100 {
            line.prepend((5..=7).map(id));
        }
        assert_eq!(line.len(), 8);
        line.remove(&id(6));
        line.remove(&id(6));
        assert_eq!(drained(&mut line), [5, 7, 1, 2, 3, 4, 8]);
        assert_eq!((line.len(), line.is_empty()), (0, true));
    }

    #[test]
    fn a_bounded_rate_rests_as_long_as_its_bytes_may_take_since_the_request_began() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(Some(1_000_000));
        assert_eq!(pace.batch().1, 1_000_000, "no more than comes in a second");
        pace.begin(start);
        assert!(pace.is_busy());
        pace.end(2_500_000);
        assert!(!pace.is_busy());
        assert_eq!(pace.rests_until(after(0)), Some(after(2_500)));
        assert_eq!(pace.rests_until(after(2_499)), Some(after(2_500)));
        assert_eq!(pace.rests_until(after(2_500)), None);
        pace.begin(after(3_000));
        pace.end(0);
        assert_eq!(pace.rests_until(after(3_000)), None, "what brought nothing costs nothing");

        let mut unbounded = Pace::new(None);
        unbounded.begin(start);
        unbounded.end(u64::MAX);
        assert_eq!(unbounded.rests_until(start), None);
        let tiny = Pace::new(Some(0));
        assert_eq!(tiny.batch().1, UNKNOWN_BLOB_BYTES, "one blob always fits");
    }

    #[test]
    fn requests_grow_from_a_few_blobs_to_the_limit() {
        let mut pace = Pace::default();
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(pace.batch().0);
            pace.begin(Instant::now());
            pace.end(1);
        }
        assert_eq!(seen[0], BACKGROUND_BATCH_FIRST);
        assert!(seen.is_sorted());
        assert_eq!(seen[4], BACKGROUND_BATCH);
    }
}
