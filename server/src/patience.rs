//! How long a peer may stand still: while its request's body is awaited, and while it does not take what is sent.
//!
//! Only time counts in which the server waits for the peer. A reader is cut when it takes nothing for long; a sender when
//! it is slower than a rate for long.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::deadline::Clock;
use crate::linger::Unread;

/// A wait that begins at the first `Pending` and is forgotten at the next progress.
struct Wait {
    max: Duration,
    running: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    fn new(max: Duration) -> Self {
        Self { max, running: None }
    }

    /// Passes on what is ready; where nothing is, says whether the wait is over.
    fn judge<T>(&mut self, polled: Poll<T>, cx: &mut Context<'_>) -> Result<Poll<T>, io::Error> {
        if polled.is_ready() {
            self.running = None;
            return Ok(polled);
        }
        let max = self.max;
        let running = self.running.get_or_insert_with(|| Box::pin(sleep(max)));
        if running.as_mut().poll(cx).is_pending() {
            return Ok(polled);
        }
        let text = format!("the peer stood still for {} ms", max.as_millis());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    }

    fn io<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.judge(polled, cx).unwrap_or_else(|error| Poll::Ready(Err(error)))
    }
}

/// A stream whose writes fail with `TimedOut` once the peer has taken nothing for a while.
pub struct Writes<S> {
    stream: S,
    wait: Wait,
}

impl<S> Writes<S> {
    /// `idle` is the longest time in which the peer takes nothing.
    pub fn new(stream: S, idle: Duration) -> Self {
        Self { stream, wait: Wait::new(idle) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Writes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Writes<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wait.io(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.wait.io(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.wait.io(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wait.io(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// What a client may still take of its time to send a body. Waiting uses it up, bytes bring it back: a client that is
/// faster than the rate is never given up, one that stands still is when all is used up, and one that is slower later.
struct Credit {
    max: Duration,
    left: Duration,
    bytes_per_second: u64,
    waits: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Credit {
    fn new(max: Duration, bytes_per_second: u64) -> Self {
        Self { max, left: max, bytes_per_second, waits: None }
    }

    /// The client is waited for; in words, why no longer.
    fn waits(&mut self, cx: &mut Context<'_>) -> Option<String> {
        let left = self.left;
        let (since, timer) = self.waits.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        if timer.as_mut().poll(cx).is_pending() {
            return None;
        }
        let ms = self.max.as_millis();
        Some(match since.elapsed() >= self.max {
            true => format!("the request's body stood still for {ms} ms"),
            false => format!(
                "the request's body came slower than {} bytes a second and was {ms} ms late",
                self.bytes_per_second
            ),
        })
    }

    /// So many bytes came, or something else that is no wait.
    fn came(&mut self, bytes: usize) {
        let waited = self.waits.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
        let earned = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(self.max);
    }
}

/// A request's body that fails once its client is too slow. While the client is waited for, `clock` stands.
pub struct Upload {
    body: Body,
    credit: Credit,
    clock: Clock,
    /// Whether the clock stands for this.
    waits: bool,
    stalled: Stalled,
    unread: Unread,
    ended: bool,
}

/// Why a body was given up, if it was.
#[derive(Clone, Debug, Default)]
pub struct Stalled(Arc<OnceLock<String>>);

impl Stalled {
    /// In words.
    pub fn why(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

impl Upload {
    /// `idle` is the longest silence; `stalled` is told when the client was too slow, `unread` when the rest is not read.
    pub fn new(
        body: Body,
        (idle, bytes_per_second): (Duration, u64),
        clock: Clock,
        stalled: Stalled,
        unread: Unread,
    ) -> Self {
        let credit = Credit::new(idle, bytes_per_second);
        Self { body, credit, clock, waits: false, stalled, unread, ended: false }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.waits {
            self.clock.run();
        }
        if !self.ended && !http_body::Body::is_end_stream(&self.body) {
            self.unread.give_up();
        }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            if !self.waits {
                self.waits = true;
                self.clock.stand();
            }
            let Some(why) = self.credit.waits(cx) else { return Poll::Pending };
            self.waits = false;
            self.clock.run();
            let error = io::Error::new(io::ErrorKind::TimedOut, why.clone());
            let _ = self.stalled.0.set(why);
            return Poll::Ready(Some(Err(axum::Error::new(error))));
        };
        if std::mem::take(&mut self.waits) {
            self.clock.run();
        }
        self.ended |= frame.is_none();
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        self.credit.came(data.map_or(0, Bytes::len));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::Writes;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_cut() {
        let (ours, _theirs) = duplex(16);
        let mut writes = Writes::new(ours, Duration::from_millis(20));
        writes.write_all(&[0; 16]).await.expect("what fits is taken");
        let error = writes.write_all(&[0; 1]).await.expect_err("one byte past it is not");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_takes_a_byte_at_a_time_gets_everything() {
        let (ours, mut theirs) = duplex(1);
        let mut writes = Writes::new(ours, Duration::from_secs(30));
        let sender = tokio::spawn(async move { writes.write_all(&[7; 300]).await });
        let mut got = vec![0; 300];
        theirs.read_exact(&mut got).await.expect("all bytes");
        assert_eq!(got, vec![7; 300]);
        sender.await.expect("no panic").expect("all is sent");
    }
}
