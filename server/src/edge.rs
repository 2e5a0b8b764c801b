//! What every request passes before the routes and every answer after them: doubled slashes go, a panic becomes a 500,
//! errors get their envelope, and each answer its `X-Request-Id`.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::MatchedPath;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::json;
use tower_service::Service;
use tracing::Instrument;
use tracing::field::Empty;

use crate::app::App;
use crate::config::Patience;
use crate::deadline::{Answer, Clock, Deadline};
use crate::error::code::Code;
use crate::error::{Error, code, http};
use crate::limits::DEADLINE_GRACE_MS;
use crate::linger::Unread;
use crate::metrics::Metrics;
use crate::patience::{Stalled, Upload};
use crate::peer::{self, Peer};
use crate::seats::{Seat, Seats};
use crate::stop::{Changed, Gone, Stop, Stopped};
use crate::{random, router, smart_http, trace};

/// When a client that has too many requests under way may come back.
const CROWDED_MS: u64 = 1_000;

/// The whole server as a service.
#[derive(Clone)]
pub struct Edge {
    app: App,
    router: Router,
    /// The other end of the connection; none in process.
    socket: Option<IpAddr>,
    /// Whether the connection's client still sends what nobody reads.
    unread: Unread,
    seats: Seats,
}

impl Edge {
    /// Around the routes of `router`.
    pub fn new(app: App) -> Self {
        let seats = Seats::new(app.config.patience.connections_per_address());
        Self { router: router::router(app.clone()), app, seats, socket: None, unread: Unread::default() }
    }

    /// A seat for a connection from `socket`: `Some(None)` where it needs none, since it is a trusted proxy's, `None` where
    /// there is none for it.
    pub fn seat(&self, socket: IpAddr) -> Option<Option<Seat>> {
        match peer::is_trusted(socket, &self.app.config.trusted_proxies) {
            true => Some(None),
            false => self.seats.take(socket).map(Some),
        }
    }

    /// The same for a request of `client` that came over a connection from `socket`.
    fn seat_behind(&self, socket: IpAddr, client: Peer) -> Option<Option<Seat>> {
        let trusted = &self.app.config.trusted_proxies;
        match peer::is_trusted(socket, trusted) && !peer::is_trusted(client.0, trusted) {
            true => self.seats.take(client.0).map(Some),
            false => Some(None),
        }
    }

    /// For the requests of one connection.
    pub fn for_connection(&self, socket: SocketAddr, unread: Unread) -> Self {
        Self { socket: Some(socket.ip()), unread, ..self.clone() }
    }

    /// How long clients are waited for, and how many there may be.
    pub fn patience(&self) -> Patience {
        self.app.config.patience
    }
}

impl<B> Service<Request<B>> for Edge
where
    B: axum::body::HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        if let Some(uri) = without_doubled_slashes(request.uri()) {
            *request.uri_mut() = uri;
        }
        let id = random::hex(&random::bytes::<12>());
        let span = span(&request, &id);
        let mut seat = Some(None);
        if let Some(socket) = self.socket {
            if peer::is_trusted(socket, &self.app.config.trusted_proxies) {
                trace::continue_trace(&span, request.headers());
            }
            let peer = peer::client(socket, request.headers(), &self.app.config.trusted_proxies);
            seat = self.seat_behind(socket, peer);
            request.extensions_mut().insert(peer);
        }
        let (mut router, app, unread) = (self.router.clone(), self.app.clone(), self.unread.clone());
        unread.begin();
        Box::pin(async move {
            let (method, path, start) =
                (request.method().clone(), request.uri().path().to_owned(), Instant::now());
            let (metrics, held) = (&app.metrics, app.metrics.request());
            let peer = request.extensions().get::<Peer>().map(|peer| peer.0.to_string());
            let terms = Terms::of(&app, &request);
            let request = terms.taken(&app, request, unread);
            let work = caught(Service::call(&mut router, request)).instrument(span.clone());
            let mut response = match &seat {
                None => terms.crowded(metrics),
                Some(_) => match terms.deadline.hold(terms.stop.clone().around(work)).await {
                    Some(Some(Ok(response))) => terms.judged(response),
                    Some(Some(Err(never))) => match never {},
                    Some(None) => Error::internal("the handler panicked").into_response(),
                    None => terms.left_behind(),
                },
            };
            if let Some(error) = response.extensions().get::<Error>() {
                metrics.refused(error.code.number);
            }
            http::finish(&mut response, &app.config.public_url, &id);
            let (status, took) = (response.status().as_u16(), start.elapsed());
            let route = response.extensions_mut().remove::<MatchedPath>();
            // Methods that no route knows are one: a peer may invent them.
            let operation = match &route {
                Some(route) if status != 405 => format!("{method} {}", route.as_str()),
                _ => "none".to_owned(),
            };
            trace::answered(&span, &operation, status);
            metrics.answered(operation, status, took);
            tracing::debug!(request_id = id, %method, path, status, ?took, peer, "answered");
            if took.as_millis() >= u128::from(app.config.slow_request_ms) {
                tracing::warn!(request_id = id, %method, path, status, ?took, peer, "slow request");
            }
            let bytes_out = metrics.bytes_out();
            let mut response = response.map(|body| {
                counted(Body::new(Answer::new(body, terms.deadline, terms.gone)), move |bytes| {
                    let _held = (&held, &span, &seat); // until the body is done or given up
                    bytes_out.inc_by(bytes);
                })
            });
            if let Ok(id) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
            }
            Ok(response)
        })
    }
}

/// On what terms one request is served.
struct Terms {
    is_git: bool,
    /// Whether the request may change something.
    is_change: bool,
    /// Whether its work goes on when its answer is given up.
    is_kept: bool,
    clock: Clock,
    stop: Stop,
    deadline: Deadline,
    stalled: Stalled,
    /// Where nothing is lost when work stops because its client left. A change through REST goes on: its client may
    /// have sent it for good, and asks for its answer later.
    gone: Option<Gone>,
}

impl Terms {
    fn of(app: &App, request: &Request<Body>) -> Self {
        let (path, patience) = (request.uri().path(), &app.config.patience);
        let is_git = path.starts_with("/git/");
        let is_long = is_git || path.ends_with("/maintenance");
        let max_ms = if is_long { patience.git_deadline_ms } else { patience.rest_deadline_ms };
        let times = (Duration::from_millis(max_ms), Duration::from_millis(DEADLINE_GRACE_MS));
        let (clock, stop) = (Clock::start(), Stop::new(&app.metrics));
        let is_safe = is_git || request.method().is_safe();
        Self {
            is_git,
            is_change: !request.method().is_safe() && !path.ends_with("/git-upload-pack"),
            is_kept: request.headers().contains_key("idempotency-key"),
            deadline: Deadline::new(clock.clone(), times, stop.clone()),
            stalled: Stalled::default(),
            gone: is_safe.then(|| Gone(stop.clone())),
            clock,
            stop,
        }
    }

    /// The request with its body under these terms.
    fn taken(&self, app: &App, request: Request<Body>, unread: Unread) -> Request<Body> {
        let patience = &app.config.patience;
        let rate = (Duration::from_millis(patience.body_idle_ms), patience.body_bytes_per_second_min);
        let bytes_in = app.metrics.bytes_in();
        request.map(|body| {
            let body = Upload::new(body, rate, self.clock.clone(), self.stalled.clone(), unread);
            counted(Body::new(body), move |bytes| {
                bytes_in.inc_by(bytes);
            })
        })
    }

    /// Handlers know only that the body broke off, or that a read failed.
    fn judged(&self, response: Response<Body>) -> Response<Body> {
        let (is_bad, is_ours) = (response.status().is_client_error(), response.status().is_server_error());
        match (self.stalled.why(), self.stop.said()) {
            (Some(why), _) if is_bad => self.refused(code::INVALID_INPUT, StatusCode::REQUEST_TIMEOUT, why),
            (_, Some(Stopped::Deadline(_))) if is_bad || is_ours => self.late(),
            _ => response,
        }
    }

    /// The answer for one request too many of a client behind a trusted proxy.
    fn crowded(&self, metrics: &Metrics) -> Response<Body> {
        metrics.connections_refused().inc();
        match self.is_git {
            true => smart_http::too_many(CROWDED_MS),
            false => Error::rate_limited(CROWDED_MS).into_response(),
        }
    }

    fn late(&self) -> Response<Body> {
        self.told(self.stop.changed())
    }

    /// The answer for work that did not stop. What was not begun is not begun later, unless a task of its own goes on.
    fn left_behind(&self) -> Response<Body> {
        match self.stop.changed() {
            Changed::No if self.is_kept => self.told(Changed::Unknown),
            changed => self.told(changed),
        }
    }

    fn told(&self, changed: Changed) -> Response<Body> {
        let (code, status) = (code::DEADLINE_EXCEEDED, StatusCode::GATEWAY_TIMEOUT);
        let why = self.stop.said().map(|why| why.to_string()).unwrap_or_default();
        if !self.is_change {
            return self.refused(code, status, &why);
        }
        let text = match changed {
            Changed::No => format!("{why}; nothing was changed"),
            Changed::Yes => format!("{why}; the change was made"),
            Changed::Unknown if self.is_git => format!("{why}; whether the change was made is not known"),
            Changed::Unknown => format!(
                "{why}; whether the change was made is not known: look, or ask again with the same Idempotency-Key"
            ),
        };
        match self.is_git {
            true => smart_http::refuse(status, text),
            false => Error::new(code, text).with_meta(json!({ "changed": changed.word() })).into_response(),
        }
    }

    fn refused(&self, code: Code, status: StatusCode, text: &str) -> Response<Body> {
        match self.is_git {
            true => smart_http::refuse(status, text),
            false => Error::new(code, text).with_status(status.as_u16()).into_response(),
        }
    }
}

/// What traces show of a request: from its head to the end of the answer's body.
fn span(request: &Request<Body>, id: &str) -> tracing::Span {
    tracing::debug_span!(
        "request",
        otel.kind = "server",
        http.request.method = %request.method(),
        http.response.status_code = Empty,
        url.path = request.uri().path(),
        cairn.request_id = id,
    )
}

/// Calls `each` with the length of every piece of `body`. A body whose length is known keeps it.
fn counted(body: Body, each: impl Fn(u64) + Send + Unpin + 'static) -> Body {
    Body::new(Counted { body, each })
}

struct Counted<F> {
    body: Body,
    each: F,
}

impl<F: Fn(u64) + Send + Unpin + 'static> http_body::Body for Counted<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            (self.each)(data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Runs `work`; `None` if it panicked.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(out)) => Poll::Ready(Some(out)),
        Err(_) => Poll::Ready(None),
    })
    .await
}

fn without_doubled_slashes(uri: &Uri) -> Option<Uri> {
    if !uri.path().contains("//") {
        return None;
    }
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let end = if uri.path().ends_with('/') && !parts.is_empty() { "/" } else { "" };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{end}{query}", parts.join("/")).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{caught, without_doubled_slashes};

    #[test]
    fn doubled_slashes_go_and_the_query_stays() {
        let cases = [("//a///b?x=//", "/a/b?x=//"), ("/a//", "/a/"), ("//", "/"), ("http://h//a", "/a")];
        for (given, want) in cases {
            let uri = given.parse().expect("a URI");
            assert_eq!(
                without_doubled_slashes(&uri).map(|uri| uri.to_string()).as_deref(),
                Some(want),
                "{given}"
            );
        }
    }

    #[tokio::test]
    async fn a_panic_is_caught() {
        assert_eq!(caught(async { 1 }).await, Some(1));
        assert_eq!(caught(async { assert!(std::hint::black_box(false), "on purpose") }).await, None);
    }
}
