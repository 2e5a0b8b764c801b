//! Repositories whose maintenance failed, and when each is tried again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::{MAINTAIN_RETRIES_MAX, MAINTAIN_RETRY_MS, MAINTAIN_RETRY_MS_MAX};
use crate::store::RepoId;

/// What failed, in memory: after a restart such a repository waits for its next push. Leaf lock.
#[derive(Debug, Default)]
pub(super) struct Retries(Mutex<BTreeMap<RepoId, Retry>>);

#[derive(Debug)]
struct Retry {
    /// Failures in a row.
    failures: u32,
    at_ms: i64,
}

impl Retries {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RepoId, Retry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It failed; where there is room, it is tried again, each time after twice as long.
    pub(super) fn failed(&self, id: RepoId, now_ms: i64) {
        let mut all = self.lock();
        if all.len() >= MAINTAIN_RETRIES_MAX && !all.contains_key(&id) {
            return;
        }
        let retry = all.entry(id).or_insert(Retry { failures: 0, at_ms: now_ms });
        let pause = MAINTAIN_RETRY_MS.checked_shl(retry.failures).filter(|pause| *pause >= MAINTAIN_RETRY_MS);
        retry.at_ms = now_ms.saturating_add(pause.unwrap_or(i64::MAX).min(MAINTAIN_RETRY_MS_MAX));
        retry.failures = retry.failures.saturating_add(1).min(MAINTAIN_RETRY_MS_MAX.ilog2());
    }

    /// It went well, or the repository is gone.
    pub(super) fn settled(&self, id: RepoId) {
        self.lock().remove(&id);
    }

    /// What is to be tried now.
    pub(super) fn due(&self, now_ms: i64) -> Vec<RepoId> {
        self.lock().iter().filter(|(_, retry)| retry.at_ms <= now_ms).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{MAINTAIN_RETRIES_MAX, MAINTAIN_RETRY_MS, MAINTAIN_RETRY_MS_MAX, Retries};
    use crate::store::RepoId;

    #[test]
    fn a_pause_doubles_up_to_its_limit_and_begins_anew_after_success() {
        let (retries, id, mut now, mut pause) = (Retries::default(), RepoId::random(), 0, MAINTAIN_RETRY_MS);
        for _ in 0..100 {
            retries.failed(id, now);
            assert_eq!(retries.due(now + pause - 1), [], "not before {pause} ms");
            assert_eq!(retries.due(now + pause), [id]);
            (now, pause) = (now + pause, (pause * 2).min(MAINTAIN_RETRY_MS_MAX));
        }
        assert_eq!(pause, MAINTAIN_RETRY_MS_MAX);
        retries.settled(id);
        assert_eq!(retries.due(i64::MAX), []);
        retries.failed(id, 0);
        assert_eq!(retries.due(MAINTAIN_RETRY_MS), [id]);
    }

    #[test]
    fn so_many_are_known_and_no_more() {
        let retries = Retries::default();
        for _ in 0..MAINTAIN_RETRIES_MAX {
            retries.failed(RepoId::random(), 0);
        }
        let (one, known) = (RepoId::random(), retries.due(i64::MAX));
        assert_eq!(known.len(), MAINTAIN_RETRIES_MAX);
        retries.failed(one, 0);
        retries.failed(known[0], 0);
        assert_eq!(
            retries.due(i64::MAX),
            known,
            "one past it is not known; one that is known may fail again"
        );
    }
}
