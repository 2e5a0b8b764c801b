//! The socket side: accept, bound, serve, drain.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Patience;
use crate::edge::Edge;
use crate::limits::{
    ACCEPT_PAUSE_MS, DRAIN_MS_MAX, FIRST_BYTES, FIRST_BYTES_MS_MAX, HEADER_FIELDS_MAX, HEADER_READ_MS_MAX,
    HTTP1_BUFFER_BYTES_MAX, HTTP2_HEADER_BYTES_MAX, HTTP2_STREAMS_MAX, TLS_HANDSHAKE_MS_MAX,
};
use crate::linger::{Linger, Unread};
use crate::metrics::Metrics;
use crate::patience::Writes;
use crate::streams::Streams;
use crate::tls::Tls;

fn builder(patience: &Patience) -> Builder<Streams> {
    let idle = Duration::from_millis(patience.write_idle_ms);
    let ping = Duration::from_millis(patience.http2_ping_ms);
    let mut builder = Builder::new(Streams { idle });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEADER_READ_MS_MAX))
        .max_headers(HEADER_FIELDS_MAX)
        .max_buf_size(HTTP1_BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HTTP2_HEADER_BYTES_MAX)
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .keep_alive_interval(ping)
        .keep_alive_timeout(ping);
    builder
}

/// What is served, and how connections come in.
pub struct Door {
    /// Where connections come from.
    pub listener: TcpListener,
    /// Where connections are counted.
    pub metrics: Metrics,
    /// The certificate, where the server itself speaks TLS.
    pub tls: Option<Tls>,
}

/// Serves until `stop` resolves, then lets running requests end, for a while. Says whether all of them did.
pub async fn serve(door: Door, edge: Edge, stop: impl Future<Output = ()>) -> bool {
    let Door { listener, metrics, tls } = door;
    let patience = edge.patience();
    let builder = builder(&patience);
    let write_idle = Duration::from_millis(patience.write_idle_ms);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(patience.connections_max));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, peer, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                continue;
            }
        };
        let Some(seat) = edge.seat(peer.ip()) else {
            metrics.connections_refused().inc();
            tracing::debug!(%peer, "a connection too many of one client");
            continue;
        };
        // Answers are small or in large writes: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let unread = Unread::default();
        let service = TowerToHyperService::new(edge.for_connection(peer, unread.clone()));
        let (builder, watcher) = (builder.clone(), graceful.watcher());
        let open = metrics.connection();
        let acceptor = tls.as_ref().map(Tls::acceptor);
        tokio::spawn(async move {
            let _held = (slot, seat, open);
            let Some(stream) = shake_hands(stream, acceptor).await else { return };
            let stream = Writes::new(Linger::new(FirstBytes::new(stream), unread), write_idle);
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    timeout(Duration::from_millis(DRAIN_MS_MAX), graceful.shutdown()).await.is_ok()
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

/// A connection's stream, plain or within TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Shakes hands where TLS is spoken; `None` where that fails.
async fn shake_hands(stream: TcpStream, acceptor: Option<TlsAcceptor>) -> Option<Stream> {
    let Some(acceptor) = acceptor else { return Some(Stream::Plain(stream)) };
    let handshake = timeout(Duration::from_millis(TLS_HANDSHAKE_MS_MAX), acceptor.accept(stream));
    match handshake.await {
        Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

/// A stream that must bring its first bytes in time: hyper's wait for them, in which it tells HTTP/1 from HTTP/2, has
/// no end of its own.
struct FirstBytes {
    stream: Stream,
    /// Gone once the bytes are there.
    deadline: Option<Pin<Box<Sleep>>>,
    seen: usize,
}

impl FirstBytes {
    fn new(stream: Stream) -> Self {
        let deadline = Some(Box::pin(sleep(Duration::from_millis(FIRST_BYTES_MS_MAX))));
        Self { stream, deadline, seen: 0 }
    }
}

impl AsyncRead for FirstBytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if self.deadline.is_none() {
            return polled;
        }
        if polled.is_pending()
            && let Some(deadline) = &mut self.deadline
        {
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.seen += buf.filled().len() - before;
        if self.seen >= FIRST_BYTES {
            self.deadline = None;
        }
        polled
    }
}

impl AsyncWrite for FirstBytes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
