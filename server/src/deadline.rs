//! How long the server may take for a request. Only its own time counts: while it waits for the client, for the body of
//! the request or to take the answer, the clock stands, and `patience` and `streams` look after the client.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::limits::DEADLINE_LOOK_MS;
use crate::stop::{Gone, Stop, Stopped};
use crate::streams::Progress;

/// The time that the server took for one request.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Spent>>);

#[derive(Debug)]
struct Spent {
    before: Duration,
    /// Since when it runs; `None` while it stands.
    since: Option<Instant>,
}

impl Clock {
    /// One that runs.
    pub fn start() -> Self {
        Self(Arc::new(Mutex::new(Spent { before: Duration::ZERO, since: Some(Instant::now()) })))
    }

    /// The client is waited for.
    pub fn stand(&self) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = spent.since.take() {
            spent.before += since.elapsed();
        }
    }

    /// The server is at work.
    pub fn run(&self) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spent.since.get_or_insert_with(Instant::now);
    }

    fn spent(&self) -> (Duration, bool) {
        let spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (spent.before + spent.since.map_or(Duration::ZERO, |since| since.elapsed()), spent.since.is_some())
    }

    /// Until `max` may be over; zero when it is.
    fn left(&self, max: Duration) -> Duration {
        let (spent, runs) = self.spent();
        match max.saturating_sub(spent) {
            left if left.is_zero() || runs => left,
            left => left.max(Duration::from_millis(DEADLINE_LOOK_MS)),
        }
    }
}

/// A request's clock, what it must not pass, and whom to tell when it does.
#[derive(Clone, Debug)]
pub struct Deadline {
    clock: Clock,
    max: Duration,
    last: Duration,
    stop: Stop,
}

impl Deadline {
    /// Says `stop` when `clock` has passed `max`, and waits for `grace` longer for work to hear it.
    pub fn new(clock: Clock, (max, grace): (Duration, Duration), stop: Stop) -> Self {
        Self { clock, max, last: max.saturating_add(grace), stop }
    }

    async fn passed(&self, max: Duration) {
        loop {
            let left = self.clock.left(max);
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    /// What becomes of `work`. When time is up, it is told to stop and has a little while for it; `None` where it did not.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = self.passed(self.max) => self.stop.say(Stopped::Deadline(self.max)),
        }
        tokio::select! {
            biased;
            done = &mut work => Some(done),
            () = self.passed(self.last) => None,
        }
    }
}

/// An answer's body under the request's deadline. It also tells how far its client took it, and of a client that left.
pub struct Answer {
    body: Body,
    deadline: Deadline,
    timer: Option<Pin<Box<Sleep>>>,
    progress: Option<Progress>,
    any: bool,
    ended: bool,
    _gone: Option<Gone>,
}

impl Answer {
    /// `gone` is dropped with the answer. To be called on the request's own task.
    pub fn new(body: Body, deadline: Deadline, gone: Option<Gone>) -> Self {
        let progress = Progress::current();
        // From the head on, the client is waited for.
        deadline.clock.stand();
        if let Some(progress) = &progress {
            progress.handed_over();
        }
        Self { body, deadline, timer: None, progress, any: false, ended: false, _gone: gone }
    }

    /// Whether time is up for good; tells the work to stop when it is up.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let mut left = self.deadline.clock.left(self.deadline.max);
            if left.is_zero() {
                self.deadline.stop.say(Stopped::Deadline(self.deadline.max));
                left = self.deadline.clock.left(self.deadline.last);
                if left.is_zero() {
                    return true;
                }
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.timer = None;
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(progress) = &self.progress {
            progress.taken();
        }
        if self.body.is_end_stream() {
            self.ended = true;
            return Poll::Ready(None);
        }
        self.deadline.clock.run();
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Pending if self.is_late(cx) => {
                let text = Stopped::Deadline(self.deadline.max).to_string();
                let error = axum::Error::new(io::Error::new(io::ErrorKind::TimedOut, text));
                return Poll::Ready(Some(Err(error)));
            }
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => {
                self.any = true;
                self.timer = None;
                self.deadline.clock.stand();
                if let Some(progress) = &self.progress {
                    progress.handed_over();
                }
            }
            Poll::Ready(_) => self.ended = true,
        }
        polled
    }

    /// On HTTP/2 an answer ends only when its last piece was taken: until then somebody has to watch the stream.
    fn is_end_stream(&self) -> bool {
        let waits = self.progress.is_some() && self.any && !self.ended;
        self.body.is_end_stream() && !waits
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use axum::body::{Body, Bytes};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    use super::{Answer, Clock, Deadline};
    use crate::metrics::Metrics;
    use crate::stop::{Stop, Stopped};

    const SHORT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_standing_clock_passes_no_deadline() {
        let stop = Stop::new(&Metrics::default());
        let clock = Clock::start();
        clock.stand();
        let deadline = Deadline::new(clock, (SHORT, SHORT), stop.clone());
        let waits = tokio::time::sleep(30 * SHORT);
        assert_eq!(deadline.hold(waits).await, Some(()));
        assert_eq!(stop.said(), None);
    }

    #[tokio::test]
    async fn work_past_its_deadline_is_told_to_stop_and_may_still_answer() {
        let stop = Stop::new(&Metrics::default());
        let deadline = Deadline::new(Clock::start(), (SHORT, Duration::from_secs(60)), stop.clone());
        let heard = async {
            loop {
                match stop.said() {
                    Some(why) => return why,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        assert_eq!(deadline.hold(heard).await, Some(Stopped::Deadline(SHORT)));
    }

    #[tokio::test]
    async fn work_that_does_not_hear_is_left_behind() {
        let stop = Stop::new(&Metrics::default());
        let deadline = Deadline::new(Clock::start(), (SHORT, SHORT), stop.clone());
        assert_eq!(deadline.hold(std::future::pending::<()>()).await, None);
        assert_eq!(stop.said(), Some(Stopped::Deadline(SHORT)));
    }

    #[tokio::test]
    async fn an_answer_past_its_deadline_ends_with_an_error() {
        let stop = Stop::new(&Metrics::default());
        let deadline = Deadline::new(Clock::start(), (SHORT, SHORT), stop.clone());
        let body = Body::new(StreamBody::new(Never));
        let error = Answer::new(body, deadline, None).frame().await.expect("an end").expect_err("an error");
        assert!(error.to_string().contains("took longer than 1 ms"), "{error}");
        assert_eq!(stop.said(), Some(Stopped::Deadline(SHORT)));
    }

    /// Frames that never come.
    struct Never;

    impl futures_core::Stream for Never {
        type Item = Result<Frame<Bytes>, std::io::Error>;

        fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Pending
        }
    }
}
