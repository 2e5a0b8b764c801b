//! One budget of memory for all requests: work that holds much takes its whole share before it begins, and gives it back
//! at its end.
//!
//! A share is taken once and asynchronously: whoever holds one waits for nothing that others hold, so that nobody can wait
//! for ever. What needs more than the budget takes all of it and runs alone. Shares are handed out in the order in which
//! they were asked for, so that large ones get their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Memory;
use crate::limits::{MEMORY_RETRY_MS, MEMORY_UNIT_BYTES};

/// The budget. Clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    config: Memory,
    /// The budget in units: a whole number of them.
    units: u32,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    refused: AtomicU64,
}

/// A part of the budget, until it is dropped.
#[must_use = "the memory is given back when the share is dropped"]
#[derive(Debug)]
pub struct Share {
    _units: OwnedSemaphorePermit,
}

/// Who waits, which decides for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A request whose answer has not begun, or one whose next piece is to be made.
    Request,
    /// An upload that is here as a whole: sending it again would cost more than waiting.
    Upload,
}

/// No memory became free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's memory is in use by other requests: try again in {} s", .retry_after_ms.div_ceil(1_000))]
pub struct Busy {
    /// When to come back, in milliseconds.
    pub retry_after_ms: u64,
}

const BUSY: Busy = Busy { retry_after_ms: MEMORY_RETRY_MS };

/// Counts who waits, also where the waiting is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budget {
    /// With nothing taken.
    pub fn new(config: Memory) -> Self {
        let units = config.budget_bytes.div_ceil(MEMORY_UNIT_BYTES).clamp(1, u64::from(u32::MAX >> 1)) as u32;
        let free = Arc::new(Semaphore::new(units as usize));
        Self(Arc::new(Inner {
            config,
            units,
            free,
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// Takes `bytes`, or all there is where that is less. Waits within the limits.
    pub async fn take(&self, bytes: u64, wait: Wait) -> Result<Share, Busy> {
        let Inner { config, units, free, waiting, .. } = &*self.0;
        let wanted = u32::try_from(bytes.div_ceil(MEMORY_UNIT_BYTES)).unwrap_or(u32::MAX).clamp(1, *units);
        // The semaphore passes by nobody who waits: this succeeds only where nobody does.
        if let Ok(units) = Arc::clone(free).try_acquire_many_owned(wanted) {
            return Ok(Share { _units: units });
        }
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let _counted = Waiting(waiting);
        if before >= config.waiting_max.max(1) {
            return Err(self.refuse());
        }
        let ms = match wait {
            Wait::Request => config.wait_ms,
            Wait::Upload => config.upload_wait_ms,
        };
        let share = Arc::clone(free).acquire_many_owned(wanted);
        match tokio::time::timeout(Duration::from_millis(ms), share).await {
            Ok(Ok(units)) => Ok(Share { _units: units }),
            // Nobody closes the semaphore.
            Ok(Err(_)) | Err(_) => Err(self.refuse()),
        }
    }

    /// Refuses at once where as many wait as may: for what should not even begin to upload.
    pub fn admit(&self) -> Result<(), Busy> {
        match self.waiting() < self.0.config.waiting_max.max(1) {
            true => Ok(()),
            false => Err(self.refuse()),
        }
    }

    /// Counts a wait for something else that ended without it.
    pub fn refuse(&self) -> Busy {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        BUSY
    }

    /// What the operator set.
    pub fn config(&self) -> &Memory {
        &self.0.config
    }

    /// Bytes of the budget that are taken.
    pub fn taken_bytes(&self) -> u64 {
        (self.0.units as usize).saturating_sub(self.0.free.available_permits()) as u64 * MEMORY_UNIT_BYTES
    }

    /// How many wait for a share.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// How many were refused.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Busy, Memory, Wait};

    const MIB: u64 = 1 << 20;

    fn budget(wait_ms: u64, waiting_max: usize) -> Budget {
        Budget::new(Memory { budget_bytes: 8 * MIB, wait_ms, upload_wait_ms: 60_000, waiting_max })
    }

    #[tokio::test]
    async fn shares_add_up_to_the_budget_and_come_back() {
        let budget = budget(1, 9);
        let six = budget.take(6 * MIB, Wait::Request).await.unwrap();
        let two = budget.take(2 * MIB, Wait::Request).await.unwrap();
        assert_eq!(budget.taken_bytes(), 8 * MIB);
        let refused = budget.take(1, Wait::Request).await.unwrap_err();
        assert_eq!((refused, budget.refused(), budget.waiting()), (Busy { retry_after_ms: 10_000 }, 1, 0));
        drop(two);
        let one = budget.take(1, Wait::Request).await.unwrap();
        drop((six, one));
        assert_eq!(budget.taken_bytes(), 0);
    }

    #[tokio::test]
    async fn what_needs_more_than_there_is_runs_alone() {
        let budget = budget(1, 9);
        let all = budget.take(u64::MAX, Wait::Request).await.unwrap();
        assert_eq!(budget.taken_bytes(), 8 * MIB);
        assert!(budget.take(1, Wait::Request).await.is_err());
        drop(all);
        assert_eq!(budget.taken_bytes(), 0);
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_who_leaves_it_frees_the_place() {
        let budget = budget(60_000, 1);
        let all = budget.take(8 * MIB, Wait::Request).await.unwrap();
        let waiter = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(MIB, Wait::Upload).await.map(drop) }
        });
        while budget.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(budget.admit().is_err(), "one waits, one may");
        assert!(budget.take(1, Wait::Request).await.is_err(), "at once: the wait would be a minute");
        waiter.abort();
        assert!(waiter.await.unwrap_err().is_cancelled());
        assert_eq!((budget.waiting(), budget.refused(), budget.admit()), (0, 2, Ok(())));
        drop(all);
        assert_eq!(budget.taken_bytes(), 0);
    }

    #[tokio::test]
    async fn large_shares_are_not_passed_by_small_ones() {
        let budget = budget(60_000, 9);
        let one = budget.take(MIB, Wait::Request).await.unwrap();
        let all = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(8 * MIB, Wait::Request).await.unwrap() }
        });
        while budget.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let small = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(1, Wait::Request).await.unwrap() }
        });
        while budget.waiting() == 1 {
            tokio::task::yield_now().await;
        }
        drop(one);
        let all = all.await.unwrap();
        assert!(!small.is_finished(), "it came later");
        drop(all);
        drop(small.await.unwrap());
        assert_eq!(budget.taken_bytes(), 0);
    }
}
