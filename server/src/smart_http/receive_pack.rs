//! `POST git-receive-pack`: the upload is taken whole, then judged; progress and the report stream back.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use cairn_protocol::pack::PackBytes;
use cairn_protocol::pktline;
use cairn_protocol::receive_pack::{
    Front, Outcome, Parsed, PushRequest, Report, RequestError, parse_push, write_report,
};
use cairn_protocol::upload_pack::Service;
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::Instrument;

use super::body::{Inflow, append};
use super::{busy, enter, failed, refuse, result};
use crate::app::App;
use crate::auth::{GitAccess, Write};
use crate::budget::Wait;
use crate::limits::{
    PUSH_COMMANDS_COPIES, PUSH_DRAIN_BYTES_MAX, PUSH_HEADER_BYTES_MAX, SPOOL_MEMORY_BYTES_MAX,
};
use crate::ops::index::index_bytes;
use crate::ops::push::{By, Pushed, Refused, push};
use crate::ops::room::{within, within_unless};
use crate::ops::spool::Spool;
use crate::ops::{OpError, Served};
use crate::random;
use crate::stop::Stop;
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
    let (request, upload, turn) = match commands(&mut inflow, &served).await? {
        Head::Empty => return done(Body::empty()),
        Head::Commands(request, _) if request.commands.is_empty() => return done(Body::empty()),
        Head::Commands(request, rest) => (request, take(&app, inflow, rest, None).await?, None),
        Head::Large(head, front) => {
            let (request, upload, turn) = large(&app, inflow, head, front, &served).await?;
            (request, Ok(upload), Some(turn))
        }
    };
    done(work(app, served, access, Push { request, upload, turn }))
}

/// What a push begins with.
enum Head {
    /// Nothing.
    Empty,
    /// Its commands, and the bytes behind them.
    Commands(PushRequest, Vec<u8>),
    /// Commands that go on behind what is kept in memory.
    Large(Vec<u8>, Front),
}

/// A request that breaks the protocol or its limits.
fn broken(error: RequestError) -> Response {
    failed(&OpError::Wire(error))
}

fn ends_early() -> Response {
    refuse(StatusCode::BAD_REQUEST, "the commands end early")
}

/// Reads up to the end of the commands.
async fn commands(inflow: &mut Inflow, served: &Served) -> Result<Head, Response> {
    let (mut head, mut front) = (Vec::new(), Front::default());
    while let Some(data) = inflow.next().await? {
        head.extend_from_slice(&data);
        if front.take(&data).map_err(broken)? {
            return match parse_push(&head, served.algo).map_err(broken)? {
                Parsed::Done { value, used } => Ok(Head::Commands(value, head.split_off(used))),
                Parsed::NeedMore => Err(ends_early()),
            };
        }
        if head.len() > SPOOL_MEMORY_BYTES_MAX {
            return Ok(Head::Large(head, front));
        }
    }
    if head.is_empty() { Ok(Head::Empty) } else { Err(ends_early()) }
}

/// Takes a push of many commands: the body is whole on disk before they are read, in a turn that is held until the push
/// is done. `front` has followed what is in `head`.
async fn large(
    app: &App,
    inflow: Inflow,
    head: Vec<u8>,
    front: Front,
    served: &Served,
) -> Result<(PushRequest, Option<Spool>, OwnedSemaphorePermit), Response> {
    let spool = match take(app, inflow, head, Some(front)).await? {
        Ok(spool) => spool.unwrap_or_default(),
        Err(why) => return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, why)),
    };
    let turn = app.commit_turns.commands(&app.memory).await.map_err(busy)?;
    let (spool, algo) = (Arc::new(spool), served.algo);
    let shared = Arc::clone(&spool);
    let bytes = spool.len().min(PUSH_HEADER_BYTES_MAX as u64).saturating_mul(PUSH_COMMANDS_COPIES);
    let read = move |_| Ok(parse_push(&shared.front(PUSH_HEADER_BYTES_MAX as u64)?, algo)?);
    let parsed = within(app, Wait::Upload, bytes, read).await.map_err(|error| failed(&error))?;
    let Parsed::Done { value, used } = parsed else { return Err(ends_early()) };
    let mut spool = Arc::into_inner(spool).expect("the work that shared it is done");
    spool.cut_front(used as u64);
    Ok((value, Some(spool).filter(|spool| spool.len() > 0), turn))
}

/// An upload that is whole, absent, or too large or broken in a way that the report tells.
type Upload = Result<Option<Spool>, String>;

/// Spools `head` and what comes behind it. Where commands are still under way, `front` follows them: what exceeds their
/// limit is refused as soon as that shows, however much would follow.
async fn take(
    app: &App,
    mut inflow: Inflow,
    head: Vec<u8>,
    mut front: Option<Front>,
) -> Result<Upload, Response> {
    let mut spool = Spool::default();
    let mut next = Some(Bytes::from(head));
    while let Some(data) = next {
        match append(spool, &app.spool_dir(), data).await? {
            Ok(back) => spool = back,
            Err(error) => {
                // git reads the report only when it has sent everything: what is left is taken and dropped.
                drain(inflow).await;
                return Ok(Err(upload_failed(&error)));
            }
        }
        next = inflow.next().await?;
        if let (Some(under_way), Some(data)) = (&mut front, &next)
            && under_way.take(data).map_err(broken)?
        {
            front = None;
        }
    }
    if front.is_some() {
        return Err(ends_early());
    }
    Ok(Ok(Some(spool).filter(|spool| spool.len() > 0)))
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

/// A push that is here as a whole.
struct Push {
    request: PushRequest,
    upload: Upload,
    /// That of many commands, until the push is done.
    turn: Option<OwnedSemaphorePermit>,
}

/// Starts the work and answers its stream: progress, then the report. Where the client goes away, the work stops unless
/// the entry is being made already.
fn work(app: App, served: Served, access: GitAccess<Write>, push: Push) -> Body {
    let (send, receive) = mpsc::channel::<Sent>(8);
    let work = run(app, served, access, push, send);
    tokio::spawn(Stop::current().around(work).in_current_span());
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

/// Waits for memory while the client is here, and does the push.
async fn index(
    app: App,
    served: Served,
    by: By,
    (request, upload): (Arc<PushRequest>, Option<Spool>),
    send: mpsc::Sender<Sent>,
) -> Result<Pushed, OpError> {
    let bytes = upload.as_ref().map_or(0, index_bytes);
    let (gone, metrics) = (send.clone(), app.metrics.clone());
    let quiet = request.quiet || !request.side_band;
    let work = move |room| {
        let (served, start) = (Served { room, ..served.clone() }, Instant::now());
        let done = push(&served, &request, upload.as_ref(), by.clone(), &mut |text| {
            if !quiet {
                // A full channel drops progress: the work never waits for a slow reader.
                let _ = send.try_send(Ok(Frame::data(band(2, text.as_bytes()))));
            }
        });
        metrics.push_work().observe(start.elapsed().as_secs_f64());
        done
    };
    let gone = move || {
        let gone = gone.clone();
        async move { gone.closed().await }
    };
    within_unless(&app, Wait::Upload, bytes, gone, work).await
}

async fn run(app: App, served: Served, access: GitAccess<Write>, push: Push, send: mpsc::Sender<Sent>) {
    let Push { request, upload, turn } = push;
    let request = Arc::new(request);
    let actor = access.grant.caller().actor.clone();
    let by = By { kind: EntryKind::Push, actor, time_ms: app.clock.now_ms(), nonce: random::bytes() };
    let (inner, shared, progress) = (app.clone(), Arc::clone(&request), send.clone());
    let work = async move {
        let _held = turn;
        let upload = upload.map_err(OpError::Request)?;
        index(inner, served, by, (shared, upload), progress).await
    };
    let mut job = tokio::spawn(Stop::current().around(work).in_current_span());
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
