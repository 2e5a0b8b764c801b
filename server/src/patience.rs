//! How long a peer may stand still: while its request's body is awaited, and while it does not take what is sent.
//!
//! A slow peer that moves at all is never cut; only silence counts, and only while the server waits for the peer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

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

/// A request's body that fails once nothing has come for `idle` while somebody waited for it.
pub struct Upload {
    body: Body,
    wait: Wait,
    stalled: Stalled,
}

/// Whether a body was given up because it stood still.
#[derive(Clone, Debug, Default)]
pub struct Stalled(Arc<AtomicBool>);

impl Stalled {
    /// Whether it was.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Upload {
    /// `stalled` is set when the body is given up.
    pub fn new(body: Body, idle: Duration, stalled: Stalled) -> Self {
        Self { body, wait: Wait::new(idle), stalled }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match self.wait.judge(polled, cx) {
            Ok(polled) => polled,
            Err(error) => {
                self.stalled.0.store(true, Ordering::Release);
                Poll::Ready(Some(Err(axum::Error::new(error))))
            }
        }
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
