//! The end of a connection whose client still sends (RFC 9112, 9.6).
//!
//! A body may be refused before it is here. Where the socket is closed while bytes of it wait unread, the kernel resets
//! the connection, and the client may lose the answer that tells why. So what still comes is taken and dropped, for a
//! while, until the client has read the answer and closes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::limits::{LINGER_BYTES_MAX, LINGER_MS_MAX};

/// Bytes that are dropped at a time.
const STEP_BYTES: usize = 16 << 10;

/// Whether the body of a connection's last request was given up before its end.
#[derive(Clone, Debug, Default)]
pub struct Unread(Arc<AtomicBool>);

impl Unread {
    /// A request begins: what was before it has been read.
    pub fn begin(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Its body is given up.
    pub fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream that drops what the peer still sends once it is shut down, where `unread` says so.
pub struct Linger<S> {
    stream: S,
    unread: Unread,
    wait: Duration,
    /// Runs from the end of what is sent.
    deadline: Option<Pin<Box<Sleep>>>,
    dropped: u64,
}

impl<S> Linger<S> {
    /// Around a connection's stream.
    pub fn new(stream: S, unread: Unread) -> Self {
        let wait = Duration::from_millis(LINGER_MS_MAX);
        Self { stream, unread, wait, deadline: None, dropped: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linger<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.deadline.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.unread.said() {
                return Poll::Ready(Ok(()));
            }
        }
        let wait = this.wait;
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep(wait)));
        while deadline.as_mut().poll(cx).is_pending() && this.dropped <= LINGER_BYTES_MAX {
            let mut bytes = [0; STEP_BYTES];
            let mut buf = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => this.dropped += buf.filled().len() as u64,
                // The client has closed, or is gone: either way nobody reads on.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

    use super::{Linger, STEP_BYTES, Unread};
    use crate::limits::LINGER_BYTES_MAX;

    /// A peer that sends without end, or says nothing at all.
    struct Peer {
        is_silent: bool,
        sent: u64,
    }

    impl AsyncRead for Peer {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            if self.is_silent {
                return Poll::Pending;
            }
            self.sent += buf.remaining() as u64;
            buf.advance(buf.remaining());
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Peer {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_comes_after_a_refusal_is_dropped_within_bounds() {
        let unread = Unread::default();
        let peer = |is_silent| Peer { is_silent, sent: 0 };
        let mut read = Linger::new(peer(false), unread.clone());
        read.shutdown().await.expect("it is closed");
        assert_eq!(read.stream.sent, 0, "all was read: nothing is waited for");

        unread.give_up();
        let mut endless = Linger::new(peer(false), unread.clone());
        endless.shutdown().await.expect("it is closed");
        assert_eq!(endless.stream.sent, LINGER_BYTES_MAX + STEP_BYTES as u64, "one piece past it");

        let mut silent =
            Linger { wait: Duration::from_millis(20), ..Linger::new(peer(true), unread.clone()) };
        silent.shutdown().await.expect("it is closed, though the peer never closes");

        unread.begin();
        let mut next = Linger::new(peer(false), unread);
        next.shutdown().await.expect("it is closed");
        assert_eq!(next.stream.sent, 0, "the next request was read");
    }
}
