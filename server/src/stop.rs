//! When the work of a request ends early: its deadline passed, or its client went away.
//!
//! A request has one `Stop`. It is around the request's task and goes along to blocking threads (`Stop::spawn`), where
//! snapshots and uploads take it over and look at it at each read. So whatever walks, plans, merges, indexes or writes
//! out ends at its next read, by its ordinary way out, and gives back what it holds. What is past its last read ends
//! by itself, soon; nothing is cut in the middle of a transaction.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::metrics::{Held, Metrics, WorkCounts};
use crate::trace;

/// Why work ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// It took too long.
    #[error("the request took longer than {} ms; the server gave it up", .0.as_millis())]
    Deadline(Duration),
    /// Nobody waits for what comes of it.
    #[error("the client went away")]
    Gone,
}

/// The word to stop, shared by all who work for one request. The default never says it: work for nobody's request.
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<Flag>>);

struct Flag {
    said: OnceLock<Stopped>,
    saying: Notify,
    counts: WorkCounts,
}

tokio::task_local! {
    static CURRENT: Stop;
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stop").field(&self.said()).finish()
    }
}

impl Stop {
    /// For a new request.
    pub fn new(metrics: &Metrics) -> Self {
        Self(Some(Arc::new(Flag {
            said: OnceLock::new(),
            saying: Notify::new(),
            counts: metrics.work().clone(),
        })))
    }

    /// That of the request for which this runs.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Says it. The first word counts.
    pub fn say(&self, why: Stopped) {
        if let Some(flag) = &self.0
            && flag.said.set(why).is_ok()
        {
            flag.saying.notify_waiters();
            if matches!(why, Stopped::Deadline(_)) {
                flag.counts.late.inc();
            }
        }
    }

    /// Why to stop, once it was said.
    pub fn said(&self) -> Option<Stopped> {
        self.0.as_ref()?.said.get().copied()
    }

    /// For waits: ends once it is said.
    pub async fn heard(&self) -> Stopped {
        let Some(flag) = &self.0 else { return std::future::pending().await };
        let saying = flag.saying.notified();
        let mut saying = std::pin::pin!(saying);
        // From here on no word is missed.
        saying.as_mut().enable();
        match self.said() {
            Some(why) => why,
            None => {
                saying.await;
                self.said().unwrap_or(Stopped::Gone)
            }
        }
    }

    /// For loops: an error once it was said.
    pub fn check(&self) -> Result<(), Stopped> {
        self.said().map_or(Ok(()), Err)
    }

    /// Makes this the one of all that `future` does.
    pub fn around<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// Runs work that blocks, as part of the request. It ends by itself even if what is returned is dropped.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let held = self.0.as_ref().map(|flag| Held::of(&flag.counts.working));
        let stop = self.clone();
        spawn_blocking(trace::carried(move || {
            let _held = held;
            CURRENT.sync_scope(stop, work)
        }))
    }
}

/// Runs work that blocks, for the request for which this runs.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Stop::current().spawn(work)
}

/// Says `Gone` when it is dropped.
pub struct Gone(pub Stop);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.say(Stopped::Gone);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Gone, Stop, Stopped, spawn};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn work_on_other_threads_hears_the_word_of_its_request_and_is_counted() {
        let metrics = Metrics::default();
        let stop = Stop::new(&metrics);
        let (begun, begins) = tokio::sync::oneshot::channel();
        let work = tokio::spawn(stop.clone().around(async move {
            let work = move || {
                let stop = Stop::current();
                begun.send(()).expect("somebody listens");
                while stop.check().is_ok() {
                    std::thread::yield_now();
                }
                stop.said()
            };
            spawn(work).await.expect("no panic")
        }));
        begins.await.expect("it begins");
        assert_eq!(metrics.work().working.get(), 1);
        stop.say(Stopped::Deadline(Duration::from_millis(7)));
        stop.say(Stopped::Gone);
        let said = work.await.expect("no panic");
        assert_eq!(said, Some(Stopped::Deadline(Duration::from_millis(7))), "the first word counts");
        assert_eq!(metrics.work().late.get(), 1);
        assert_eq!(metrics.work().working.get(), 0);
    }

    #[tokio::test]
    async fn who_waits_hears_the_word_whenever_it_is_said() {
        let stop = Stop::new(&Metrics::default());
        let waits = tokio::spawn({
            let stop = stop.clone();
            async move { stop.heard().await }
        });
        tokio::task::yield_now().await;
        stop.say(Stopped::Gone);
        assert_eq!(waits.await.expect("no panic"), Stopped::Gone, "said while somebody waited");
        assert_eq!(stop.heard().await, Stopped::Gone, "said before");
    }

    #[test]
    fn a_dropped_guard_says_gone_and_the_default_never_stops() {
        let stop = Stop::new(&Metrics::default());
        drop(Gone(stop.clone()));
        assert_eq!(stop.check(), Err(Stopped::Gone));
        let never = Stop::default();
        drop(Gone(never.clone()));
        assert_eq!(never.check(), Ok(()));
    }
}
