//! When the work of a request ends early: its deadline passed, or its client went away.
//!
//! A request has one `Stop`. It is around the request's task and goes along to blocking threads (`Stop::spawn`), where
//! snapshots and uploads take it over and look at it at each read. So whatever walks, plans, merges, indexes or writes
//! out ends at its next read, by its ordinary way out, and gives back what it holds. What is past its last read ends
//! by itself, soon; nothing is cut in the middle of a transaction.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
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

/// What is known of the change that a request was to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was not made, and will not be.
    No,
    /// It was begun, or something beside it was changed.
    Unknown,
    /// It was made.
    Yes,
}

impl Changed {
    /// The word for it in `errors[0].meta.changed`.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Unknown => "unknown",
            Self::Yes => "yes",
        }
    }
}

/// The word to stop, shared by all who work for one request. The default never says it: work for nobody's request.
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<Flag>>);

struct Flag {
    said: OnceLock<Stopped>,
    saying: Notify,
    counts: WorkCounts,
    was_heard: AtomicBool,
    /// A `Changed`; it only grows, except that an entry that is refused before it is begun was none.
    changed: AtomicU8,
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
            was_heard: AtomicBool::new(false),
            changed: AtomicU8::new(Changed::No as u8),
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

    /// What is known of the request's change.
    pub fn changed(&self) -> Changed {
        match self.0.as_ref().map(|flag| flag.changed.load(Ordering::SeqCst)) {
            None | Some(0) => Changed::No,
            Some(1) => Changed::Unknown,
            Some(_) => Changed::Yes,
        }
    }

    /// Something that may be the request's change is written now.
    pub fn writes(&self) {
        if let Some(flag) = &self.0 {
            flag.changed.fetch_max(Changed::Unknown as u8, Ordering::SeqCst);
        }
    }

    /// An entry is made now, unless the word was said before. So whoever said it and then finds nothing begun knows that
    /// nothing will be: the mark is set before the word is looked for.
    pub fn begin_entry(&self) -> Result<(), Stopped> {
        let Some(flag) = &self.0 else { return Ok(()) };
        let before = flag.changed.fetch_max(Changed::Unknown as u8, Ordering::SeqCst);
        let Some(why) = self.said() else { return Ok(()) };
        flag.changed.store(before, Ordering::SeqCst);
        Err(why)
    }

    /// The entry is there.
    pub fn made_entry(&self) {
        if let Some(flag) = &self.0 {
            flag.changed.fetch_max(Changed::Yes as u8, Ordering::SeqCst);
        }
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
        let Some(why) = self.said() else { return Ok(()) };
        if let Some(flag) = &self.0
            && !flag.was_heard.swap(true, Ordering::Relaxed)
        {
            flag.counts.stopped.inc();
        }
        Err(why)
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

    use super::{Changed, Gone, Stop, Stopped, spawn};
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
        assert_eq!(metrics.work().stopped.get(), 1, "it was heard, once");
        assert_eq!(stop.check(), Err(Stopped::Deadline(Duration::from_millis(7))));
        assert_eq!(metrics.work().stopped.get(), 1);
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
    fn what_is_known_of_a_change_follows_its_entry() {
        let stop = Stop::new(&Metrics::default());
        assert_eq!(stop.changed(), Changed::No);
        stop.begin_entry().expect("nothing was said");
        assert_eq!(stop.changed(), Changed::Unknown, "under way");
        stop.made_entry();
        stop.writes();
        assert_eq!(stop.changed(), Changed::Yes, "what is written beside it takes nothing back");

        let late = Stop::new(&Metrics::default());
        late.say(Stopped::Gone);
        assert_eq!(late.begin_entry(), Err(Stopped::Gone));
        assert_eq!(late.changed(), Changed::No, "and it will stay so");
        late.writes();
        assert_eq!(late.begin_entry(), Err(Stopped::Gone));
        assert_eq!(late.changed(), Changed::Unknown, "something else was written");
        assert_eq!(Stop::default().begin_entry(), Ok(()), "work for nobody's request");
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
