//! Writes that are under way: what they change is not yet to be told, and not to be folded back.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::overlay::Ino;

#[derive(Default)]
struct UnderWay {
    last: u64,
    inodes: BTreeMap<u64, Ino>,
}

/// See the module. Its lock is the innermost: nothing else is locked while it is held.
#[derive(Default)]
pub(super) struct Writes {
    under_way: Mutex<UnderWay>,
    ended: Condvar,
}

/// A write that is under way until this is dropped. Whoever answers the kernel drops it after the answer, since the kernel
/// believes the times that it knows until then.
pub struct Writing {
    writes: Arc<Writes>,
    number: u64,
}

impl Writes {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(self: &Arc<Self>, ino: Ino) -> Writing {
        let mut under_way = self.lock();
        under_way.last += 1;
        let number = under_way.last;
        under_way.inodes.insert(number, ino);
        Writing { writes: Arc::clone(self), number }
    }

    pub(super) fn is_written(&self, ino: Ino) -> bool {
        self.lock().inodes.values().any(|written| *written == ino)
    }

    /// Waits until all that began before have ended; `false` if that takes longer.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let under_way = self.lock();
        let last = under_way.last;
        let is_left =
            |now: &mut UnderWay| now.inodes.first_key_value().is_some_and(|(number, _)| *number <= last);
        let waited = self.ended.wait_timeout_while(under_way, at_most, is_left);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.writes.lock().inodes.remove(&self.number);
        self.writes.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_began_before_are_waited_for_and_later_ones_are_not() {
        let writes = Arc::new(Writes::default());
        let first = writes.begin(7);
        let (at_most, long) = (Duration::from_millis(1), Duration::from_secs(60));
        assert!(writes.is_written(7) && !writes.is_written(8) && !writes.wait(at_most));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| writes.wait(long));
            let second = writes.begin(8);
            drop(first);
            // It may have begun before the wait did.
            drop(second);
            assert!(waiting.join().is_ok_and(|ended| ended));
        });
        assert!(!writes.is_written(7) && writes.wait(at_most));
    }
}
