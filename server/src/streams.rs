//! The streams of HTTP/2 connections. One whose client takes nothing of its answer is reset, though the connection lives:
//! its window stays shut, so nothing is written to the socket, and nothing that watches the socket sees it.
//!
//! hyper runs each stream as a task, and awaits the window before it asks the answer for its next piece. So an answer
//! notes when it hands a piece over and when it is asked again; whoever runs the task looks at the time between.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio::time::sleep;

tokio::task_local! {
    static CURRENT: Progress;
}

/// How far the client of one stream took its answer.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Waits>);

#[derive(Debug, Default)]
struct Waits {
    /// When the piece was handed over that the client has not taken yet.
    since: Mutex<Option<Instant>>,
    handed_over: Notify,
}

impl Progress {
    /// That of the stream that this runs for; `None` on HTTP/1.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// A piece waits for the client.
    pub fn handed_over(&self) {
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.handed_over.notify_one();
    }

    /// The client took the last piece.
    pub fn taken(&self) {
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends once a piece has waited for `idle`.
    async fn stood_still(&self, idle: Duration) {
        loop {
            let since = *self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
            match since.map(|since| idle.saturating_sub(since.elapsed())) {
                Some(Duration::ZERO) => return,
                Some(left) => sleep(left).await,
                None => self.0.handed_over.notified().await,
            }
        }
    }
}

/// Runs the streams of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// How long a client may take nothing.
    pub idle: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let (idle, progress) = (self.idle, Progress::default());
        tokio::spawn(async move {
            let stream = pin!(CURRENT.scope(progress.clone(), stream));
            tokio::select! {
                biased;
                _ = stream => {}
                // Dropping the stream resets it.
                () = progress.stood_still(idle) => {
                    tracing::debug!(idle_ms = idle.as_millis(), "a stream stood still and was reset");
                }
            }
        });
    }
}
