//! Rates: how often somebody may ask, in a table of fixed size.
//!
//! Each bucket is one number, the time at which it will be full again (the "generic cell rate algorithm"). A table has
//! a fixed number of buckets; where a place is taken, the bucket that is nearest to full makes room, which forgives it the
//! least. Only callers who were let in have buckets, so no stranger can spend another's.

use std::hash::{BuildHasher, Hash, RandomState};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use crate::limits::{RATE_BURST_MAX, RATE_PER_SECOND_MAX, RATE_SETS, RATE_WAYS};

/// How often something may happen: `N/s`, `N/m` or `N/h`, and `,BURST` for how many at once (N if absent).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Microseconds for one.
    interval_us: i64,
    /// How many at once after a rest.
    burst: u32,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("a rate is N/s, N/m or N/h, and maybe ,BURST behind it; {text:?} is none");
        let (rate, burst) = match text.split_once(',') {
            Some((rate, burst)) => (rate, Some(burst)),
            None => (text, None),
        };
        let (count, unit) = rate.split_once('/').ok_or_else(bad)?;
        let count: u32 = count.trim().parse().map_err(|_| bad())?;
        let unit_us: i64 = match unit.trim() {
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            _ => return Err(bad()),
        };
        let burst = burst.map_or(Ok(count), |burst| burst.trim().parse()).map_err(|_| bad())?;
        if !(1..=RATE_PER_SECOND_MAX).contains(&count) || !(1..=RATE_BURST_MAX).contains(&burst) {
            return Err(format!("a rate is 1 to {RATE_PER_SECOND_MAX}, its burst 1 to {RATE_BURST_MAX}"));
        }
        Ok(Self { interval_us: unit_us / i64::from(count), burst })
    }
}

/// One bucket: whose it is, as a hash, and when it is full again.
#[derive(Clone, Copy, Default)]
struct Bucket {
    key: u64,
    full_at_us: i64,
}

/// The buckets of one rate.
pub struct Rates {
    rate: Rate,
    hasher: RandomState,
    /// Leaf locks: nothing is taken or awaited while one is held.
    sets: Box<[Mutex<[Bucket; RATE_WAYS]>]>,
}

impl Rates {
    /// All full.
    pub fn new(rate: Rate) -> Self {
        let sets = (0..RATE_SETS).map(|_| Mutex::default()).collect();
        Self { rate, hasher: RandomState::new(), sets }
    }

    /// Takes one from the bucket of `key`; where it is empty, how many milliseconds until it is not.
    pub fn take(&self, key: impl Hash, now_ms: i64) -> Result<(), u64> {
        let key = self.hasher.hash_one(key);
        let Some(set) = self.sets.get(key as usize % self.sets.len()) else { return Ok(()) };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let at = set.iter().position(|bucket| bucket.key == key);
        let at = at.or_else(|| (0..set.len()).min_by_key(|at| set.get(*at).map(|bucket| bucket.full_at_us)));
        let Some(bucket) = at.and_then(|at| set.get_mut(at)) else { return Ok(()) };
        if bucket.key != key {
            *bucket = Bucket { key, full_at_us: 0 };
        }
        let now = now_ms.saturating_mul(1_000);
        let depth = self.rate.interval_us.saturating_mul(i64::from(self.rate.burst));
        // A clock that was set back must not shut anyone out for longer than an empty bucket does.
        let full_at = bucket.full_at_us.clamp(now, now.saturating_add(depth)) + self.rate.interval_us;
        let over = full_at - now - depth;
        if over > 0 {
            return Err(over.unsigned_abs().div_ceil(1_000));
        }
        bucket.full_at_us = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{RATE_BURST_MAX, RATE_PER_SECOND_MAX, RATE_SETS, RATE_WAYS, Rate, Rates};

    #[test]
    fn rates_are_read_or_refused() {
        for (text, interval_us, burst) in [
            ("10/s", 100_000, 10),
            ("1/s,5", 1_000_000, 5),
            ("30/m", 2_000_000, 30),
            ("60/h, 2", 60_000_000, 2),
        ] {
            assert_eq!(text.parse(), Ok(Rate { interval_us, burst }), "{text}");
        }
        for bad in ["", "10", "10/d", "0/s", "-1/s", "1/s,0", "1/s,", "1.5/s", "9999999/s", "x/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_and_bursts_stop_at_their_limits() {
        let (rate, burst) = (RATE_PER_SECOND_MAX, RATE_BURST_MAX);
        assert_eq!(format!("{rate}/s,{burst}").parse(), Ok(Rate { interval_us: 1, burst }));
        for past in [format!("{}/s,1", rate + 1), format!("1/s,{}", burst + 1)] {
            let why = past.parse::<Rate>().expect_err("one past it");
            assert!(why.contains(&rate.to_string()) && why.contains(&burst.to_string()), "{why}");
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let rates = Rates::new("10/s,3".parse().expect("a rate"));
        let start = 1_700_000_000_000;
        for _ in 0..3 {
            assert_eq!(rates.take("a", start), Ok(()));
        }
        assert_eq!(rates.take("a", start), Err(100));
        assert_eq!(rates.take("b", start), Ok(()), "another's bucket is its own");
        assert_eq!(rates.take("a", start + 99), Err(1));
        assert_eq!(rates.take("a", start + 100), Ok(()));
        assert_eq!(rates.take("a", start + 100), Err(100));
        let later = start + 60_000;
        assert_eq!(
            (0..9).filter(|_| rates.take("a", later).is_ok()).count(),
            3,
            "a rest fills it and no more"
        );
        assert_eq!(rates.take("a", later - 3_600_000), Err(100), "a clock set back by an hour");
    }

    #[test]
    fn very_many_callers_fit_and_an_empty_bucket_goes_last() {
        let rates = Rates::new("1/h,2".parse().expect("a rate"));
        assert_eq!(rates.take("busy", 0), Ok(()));
        assert_eq!(rates.take("busy", 0), Ok(()));
        for stranger in 0..(RATE_SETS * RATE_WAYS / 4) {
            assert_eq!(rates.take(stranger, 0), Ok(()));
        }
        assert!(rates.take("busy", 0).is_err(), "a quarter of a table of others does not forgive it");
        for stranger in 0..(4 * RATE_SETS * RATE_WAYS) {
            assert_eq!(rates.take(stranger, 1), Ok(()), "none is shut out by others");
        }
    }
}
