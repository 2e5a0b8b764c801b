//! `Idempotency-Key`: a layer around the POST routes that gives the same answer to the same request.
//!
//! An answer is kept once it is final: not where its code says that the same request may succeed later. It is sealed with
//! a key made of the API token, the idempotency key and a salt, none of which but the salt is stored, so that a token in
//! an answer cannot be read out of the catalog. Work under a key goes on when its client goes away, and a request
//! whose key is at work is sent away with `Retry-After`. A crash between the work and the keeping of its answer leaves
//! no row: then the same request is done again.

mod running;
mod seal;

pub use running::Running;

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use http_body::Frame;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::auth::{Grant, View};
use crate::error::{Error, Result, code, http};
use crate::limits::{COMMIT_UPLOAD_BYTES_MAX, IDEMPOTENCY_ANSWER_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX};
use crate::random;
use crate::stop::Stop;
use crate::store::catalog::KeptAnswer;
use seal::{Sealed, Secret};

const KEY: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The layer.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response<Body> {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    match keyed(app, request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn keyed(app: App, request: Request, next: Next) -> Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    // Who is not let in hears so from the route, and leaves nothing behind.
    if Grant::<View>::from_request_parts(&mut parts, &app).await.is_err() {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    }
    let key = parts.headers.get(KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
        let text =
            format!("an Idempotency-Key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters");
        return Err(Error::new(code::INVALID_INPUT, text));
    }
    let credential = parts.headers.get(header::AUTHORIZATION).or_else(|| parts.headers.get("x-auth-key"));
    let secret = Secret::new(credential.map(HeaderValue::as_bytes).unwrap_or_default(), key);
    let Some(running) = app.running.enter(secret.id()) else {
        let error = Error::new(code::IDEMPOTENCY_CONFLICT, "the first request of this key is still at work");
        let mut response = error.into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return Ok(response);
    };
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let mut hasher = secret.fingerprint();
    hasher.update(target.as_bytes());
    hasher.update([0]);
    if let Some(kept) = app.catalog.kept_answer(secret.id(), app.clock.now_ms()).await? {
        return replay(kept, &secret, hasher, body).await;
    }
    let (watched, seen) = Watched::new(body, hasher);
    let request = Request::from_parts(parts, Body::new(watched));
    let work = tokio::spawn(Stop::current().around(async move {
        let _held = running;
        let response = next.run(request).await;
        keep(&app, &secret, &seen, response).await
    }));
    work.await.map_err(Error::internal)?
}

/// Gives a kept answer again, if the request is the same.
async fn replay(
    kept: KeptAnswer,
    secret: &Secret,
    mut hasher: Sha256,
    mut body: Body,
) -> Result<Response<Body>> {
    let mut taken = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Error::new(code::INVALID_INPUT, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        taken += data.len() as u64;
        if taken > COMMIT_UPLOAD_BYTES_MAX {
            break;
        }
        hasher.update(&data);
    }
    let fingerprint: [u8; 32] = hasher.finalize().into();
    if fingerprint != kept.fingerprint {
        return Err(Error::new(code::IDEMPOTENCY_CONFLICT, code::IDEMPOTENCY_CONFLICT.meaning));
    }
    let Some(sealed) = kept.answer else {
        let text = "this was done already; its answer was too large to be kept";
        return Err(Error::new(code::IDEMPOTENCY_CONFLICT, text));
    };
    let answer =
        secret.open(&kept.salt, &sealed).ok_or_else(|| Error::internal("a kept answer does not open"))?;
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(Error::internal)?;
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(Error::internal)?;
        response.headers_mut().insert(name, HeaderValue::from_str(&value).map_err(Error::internal)?);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Keeps an answer that is final, and passes it on.
async fn keep(
    app: &App,
    secret: &Secret,
    seen: &Seen,
    mut response: Response<Body>,
) -> Result<Response<Body>> {
    let is_final = match response.extensions().get::<Error>() {
        Some(error) => !error.code.retry,
        None => !response.status().is_server_error() && response.status() != StatusCode::TOO_MANY_REQUESTS,
    };
    // A body that was not read to its end was refused before it could do anything.
    let Some(fingerprint) = seen.fingerprint().filter(|_| is_final) else { return Ok(response) };
    http::finish(&mut response, &app.config.public_url, "");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(Error::internal)?.to_bytes();
    let headers = [header::CONTENT_TYPE, header::ETAG, header::LOCATION].into_iter().filter_map(|name| {
        let value = parts.headers.get(&name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let salt = random::bytes();
    let text = std::str::from_utf8(&body).ok().filter(|text| text.len() <= IDEMPOTENCY_ANSWER_BYTES_MAX);
    let answer = text.and_then(|text| {
        let answer =
            Sealed { status: parts.status.as_u16(), headers: headers.collect(), body: text.to_owned() };
        secret.seal(&salt, &answer)
    });
    let kept = KeptAnswer { fingerprint, salt, answer };
    if let Err(error) = app.catalog.keep_answer(secret.id(), secret.caller(), kept, app.clock.now_ms()).await
    {
        // The work is done; without a row it would be done again, which is what a crash here would mean, too.
        tracing::error!(%error, "an answer was not kept");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// A body that is hashed as it is read.
struct Watched {
    body: Body,
    seen: Arc<Seen>,
}

/// What has been read of it.
struct Seen(Mutex<(Sha256, bool)>);

impl Seen {
    /// The hash, if the body was read to its end.
    fn fingerprint(&self) -> Option<[u8; 32]> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.1.then(|| seen.0.clone().finalize().into())
    }
}

impl Watched {
    fn new(body: Body, hasher: Sha256) -> (Self, Arc<Seen>) {
        let ended = http_body::Body::is_end_stream(&body);
        let seen = Arc::new(Seen(Mutex::new((hasher, ended))));
        (Self { body, seen: Arc::clone(&seen) }, seen)
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        let polled = std::pin::Pin::new(&mut self.body).poll_frame(context);
        if let std::task::Poll::Ready(frame) = &polled {
            let mut seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
            match frame {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        seen.0.update(data);
                    }
                    // Readers may stop at the last byte without asking for the end.
                    seen.1 |= http_body::Body::is_end_stream(&self.body);
                }
                Some(Err(_)) => {}
                None => seen.1 = true,
            }
        }
        polled
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
