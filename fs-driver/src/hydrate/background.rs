//! How fast the background goes. No clock, no I/O: times come as arguments.

use std::time::{Duration, Instant};

use crate::limits::{
    BACKGROUND_BATCH, BACKGROUND_BATCH_BYTES, BACKGROUND_BATCH_FIRST, BACKGROUND_BATCH_GROWTH,
    UNKNOWN_BLOB_BYTES,
};

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
