//! `POST git-receive-pack`: the upload is taken whole, then judged; progress and the report stream back.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use cairn_protocol::pktline;
use cairn_protocol::receive_pack::{Outcome, Parsed, PushRequest, Report, parse_push, write_report};
use cairn_protocol::upload_pack::Service;
use http_body::Frame;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::body::{Inflow, blocking};
use super::{enter, failed, refuse, result};
use crate::app::App;
use crate::auth::{GitAccess, Write};
use crate::limits::{PUSH_DRAIN_BYTES_MAX, PUSH_HEADER_BYTES_MAX};
use crate::ops::push::{By, Pushed, Refused, push};
use crate::ops::spool::Spool;
use crate::ops::{OpError, Served};
use crate::random;
use crate::store::repo::EntryKind;

/// Silence after which the client is told that the work goes on.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Takes one push.
pub async fn serve(
    State(app): State<App>,
    Path(names): Path<(String, String)>,
    request: Request,
) -> Response {
    match answer(app, names, request).await {
        Ok(answer) | Err(answer) => answer,
    }
}

async fn answer(app: App, names: (String, String), request: Request) -> Result<Response, Response> {
    let (served, access, _, mut inflow) = enter::<Write>(&app, names, request, Service::ReceivePack).await?;
    let done = |body| Ok(result(Service::ReceivePack, body));
    let Some((request, rest)) = commands(&mut inflow, &served).await? else {
        return done(Body::empty());
    };
    if request.commands.is_empty() {
        return done(Body::empty());
    }
    let upload = take_pack(&app, inflow, rest).await?;
    done(work(app, served, access, request, upload))
}

/// Reads up to the end of the commands; also the bytes behind them.
async fn commands(inflow: &mut Inflow, served: &Served) -> Result<Option<(PushRequest, Vec<u8>)>, Response> {
    let mut head = Vec::new();
    let mut parse_at = 0;
    while let Some(data) = inflow.next().await? {
        head.extend_from_slice(&data);
        // Parsing starts over each time, so it waits until the buffer has doubled. What it waits for is a pack, or the
        // end of the body, behind which the last word is spoken below.
        if head.len() < parse_at {
            continue;
        }
        match parse_push(&head, served.algo).map_err(|error| failed(&OpError::Wire(error)))? {
            Parsed::Done { value, used } => {
                let rest = head.split_off(used);
                return Ok(Some((value, rest)));
            }
            Parsed::NeedMore if head.len() > PUSH_HEADER_BYTES_MAX => {
                let text = format!("the commands are larger than {PUSH_HEADER_BYTES_MAX} bytes");
                return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, text));
            }
            // No later than where there is too much, or the buffer would grow to twice of that.
            Parsed::NeedMore => parse_at = (head.len() * 2).min(PUSH_HEADER_BYTES_MAX + 1),
        }
    }
    if head.is_empty() {
        return Ok(None);
    }
    match parse_push(&head, served.algo).map_err(|error| failed(&OpError::Wire(error)))? {
        Parsed::Done { value, used } => Ok(Some((value, head.split_off(used)))),
        Parsed::NeedMore => Err(refuse(StatusCode::BAD_REQUEST, "the commands end early")),
    }
}

/// An upload that is whole, absent, or too large or broken in a way that the report tells.
type Upload = Result<Option<Spool>, String>;

async fn take_pack(app: &App, mut inflow: Inflow, rest: Vec<u8>) -> Result<Upload, Response> {
    let mut spool = Spool::default();
    let mut any = false;
    let mut next = Some(Bytes::from(rest));
    while let Some(data) = next {
        any |= !data.is_empty();
        let written = if spool.is_on_disk(data.len()) {
            let dir = app.spool_dir();
            let (back, written) = tokio::task::spawn_blocking(move || {
                let written = spool.write(&dir, &data);
                (spool, written)
            })
            .await
            .map_err(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error"))?;
            spool = back;
            written
        } else {
            spool.write(&app.spool_dir(), &data)
        };
        if let Err(error) = written {
            // git reads the report only when it has sent everything: what is left is taken and dropped.
            drain(inflow).await;
            return Ok(Err(upload_failed(&error)));
        }
        next = inflow.next().await?;
    }
    Ok(Ok(any.then_some(spool)))
}

/// What a pusher is told of an upload that was not kept. Paths and the system's words are for the log.
fn upload_failed(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::FileTooLarge => error.to_string(),
        kind => {
            tracing::error!(%error, "an upload could not be kept");
            match kind {
                ErrorKind::StorageFull => "the server's disk is full".to_owned(),
                _ => "internal error: the server could not keep the upload".to_owned(),
            }
        }
    }
}

async fn drain(mut inflow: Inflow) {
    let mut dropped = 0;
    while let Ok(Some(data)) = inflow.next().await {
        dropped += data.len() as u64;
        if dropped > PUSH_DRAIN_BYTES_MAX {
            return;
        }
    }
}

type Sent = Result<Frame<Bytes>, std::io::Error>;

/// Starts the work and answers its stream: progress, then the report. The work ends even if the client goes away.
fn work(app: App, served: Served, access: GitAccess<Write>, request: PushRequest, upload: Upload) -> Body {
    let (send, receive) = mpsc::channel::<Sent>(8);
    tokio::spawn(run(app, served, access, request, upload, send).in_current_span());
    Body::new(Received(receive))
}

/// The work's messages as a body.
struct Received(mpsc::Receiver<Sent>);

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Sent>> {
        self.0.poll_recv(context)
    }
}

async fn run(
    app: App,
    served: Served,
    access: GitAccess<Write>,
    request: PushRequest,
    upload: Upload,
    send: mpsc::Sender<Sent>,
) {
    let request = Arc::new(request);
    let quiet = request.quiet || !request.side_band;
    // One large index pass after another: their memory is bounded together, and the cores are busy anyway.
    let heavy = matches!(&upload, Ok(Some(spool)) if spool.is_on_disk(0));
    let turn = match heavy {
        true => Arc::clone(&app.index_turns).acquire_owned().await.ok(),
        false => None,
    };
    let progress = send.clone();
    let actor = access.grant.caller().actor.clone();
    let by = By { kind: EntryKind::Push, actor, time_ms: app.clock.now_ms(), nonce: random::bytes() };
    let in_work = Arc::clone(&request);
    let push_work = app.metrics.push_work().clone();
    let work = blocking(move || {
        let _held = turn;
        let upload = match &upload {
            Ok(upload) => upload.as_ref(),
            Err(why) => return Err(OpError::Request(why.clone())),
        };
        let start = Instant::now();
        let done = push(&served, &in_work, upload, by, &mut |text| {
            if !quiet {
                // A full channel drops progress: the work never waits for a slow reader.
                let _ = progress.try_send(Ok(Frame::data(band(2, text.as_bytes()))));
            }
        });
        push_work.observe(start.elapsed().as_secs_f64());
        done
    });
    let mut job = tokio::spawn(work.in_current_span());
    let done = loop {
        match tokio::time::timeout(KEEPALIVE, &mut job).await {
            Ok(done) => break done,
            Err(_) if request.side_band => {
                // An empty data packet keeps proxies from closing the connection; git skips it.
                let _ = send.try_send(Ok(Frame::data(Bytes::from_static(b"0005\x01"))));
            }
            Err(_) => {}
        }
    };
    let done = done.unwrap_or_else(|_| Err(OpError::Spool(std::io::Error::other("a worker panicked"))));
    if let Ok(pushed) = &done
        && pushed.seq.is_some()
    {
        // The push is done whatever becomes of this: the catalog only shows when it was.
        if let Err(error) = app.catalog.touched(access.row.id, app.clock.now_ms()).await {
            tracing::error!(%error, "the time of a push was not noted");
        }
    }
    let _ = send.send(Ok(Frame::data(report(&request, done).into()))).await;
}

fn band(number: u8, data: &[u8]) -> Bytes {
    let mut out = Vec::new();
    pktline::write_band(&mut out, number, data, pktline::BAND_DATA_MAX);
    out.into()
}

fn report(request: &PushRequest, done: Result<Pushed, OpError>) -> Vec<u8> {
    let (unpack, results) = match done {
        Ok(pushed) => (pushed.unpack, pushed.results),
        Err(error) => {
            if error.is_ours() {
                tracing::error!(error = %error, "a push failed");
            }
            let refused = Err(Refused::Rule("unpacker error".into()));
            (Err(error.for_peer()), vec![refused; request.commands.len()])
        }
    };
    let outcome = |done: Result<(), Refused>| match done {
        Ok(()) => Outcome::Ok,
        Err(why) => Outcome::Refused(why.to_string()),
    };
    let names = request.commands.iter().map(|command| command.name.clone());
    let results: Vec<_> = names.zip(results.into_iter().map(outcome)).collect();
    let mut out = Vec::new();
    if request.report == Report::None {
        return out;
    }
    let mut lines = Vec::new();
    write_report(&mut lines, unpack.as_ref().map_err(String::as_str).copied(), &results);
    if !request.side_band {
        return lines;
    }
    pktline::write_band(&mut out, 1, &lines, pktline::BAND_DATA_MAX);
    pktline::write_flush(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context, Poll};

    use axum::body::{Body, Bytes};
    use axum::http::HeaderMap;
    use http_body::Frame;

    use super::{Inflow, PUSH_DRAIN_BYTES_MAX, drain};

    /// The same piece for ever; counts the bytes that were taken.
    struct Endless(Bytes, Arc<AtomicU64>);

    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.1.fetch_add(self.0.len() as u64, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
        }
    }

    #[tokio::test]
    async fn what_is_taken_and_dropped_has_an_end() {
        const PIECE_BYTES: u64 = 1 << 20;
        let taken = Arc::new(AtomicU64::new(0));
        let endless = Endless(vec![0; PIECE_BYTES as usize].into(), Arc::clone(&taken));
        let Ok(inflow) = Inflow::new(&HeaderMap::new(), Body::new(endless)) else { panic!("no coding") };
        drain(inflow).await;
        assert_eq!(taken.load(Ordering::Relaxed), PUSH_DRAIN_BYTES_MAX + PIECE_BYTES, "one piece past it");
    }
}
