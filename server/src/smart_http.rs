//! git's smart HTTP: `info/refs`, `git-upload-pack`, `git-receive-pack`.
//!
//! Before the first byte of a body an error is an HTTP status; after it, side-band 3.

mod body;
mod receive_pack;
mod upload_pack;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cairn_protocol::request::Class;
use cairn_protocol::upload_pack::Service;

use crate::app::App;
use crate::auth::{self, Access, GitAccess, GitDenied, Read, Write};
use crate::budget::{Busy, Wait};
use crate::ops::room::within;
use crate::ops::{OpError, Served, fetch};
use body::Inflow;

/// The routes of git. `repo` may end in `.git`.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/git/{ns}/{repo}/info/refs", get(info_refs))
        .route("/git/{ns}/{repo}/git-upload-pack", post(upload_pack::serve))
        .route("/git/{ns}/{repo}/git-receive-pack", post(receive_pack::serve))
}

/// What git answers carry so that no cache on the way keeps them.
const NO_CACHE: [(header::HeaderName, &str); 3] = [
    (header::EXPIRES, "Fri, 01 Jan 1980 00:00:00 GMT"),
    (header::PRAGMA, "no-cache"),
    (header::CACHE_CONTROL, "no-cache, max-age=0, must-revalidate"),
];

/// A plain text answer with an error status.
pub(crate) fn refuse(status: StatusCode, text: impl Into<String>) -> Response {
    let mut text = text.into();
    text.push('\n');
    (status, NO_CACHE, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// One request too many of somebody who was let in.
pub(crate) fn too_many(wait_ms: u64) -> Response {
    let mut answer =
        refuse(StatusCode::TOO_MANY_REQUESTS, "too many requests; Retry-After says when to come back");
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1_000).max(1)));
    answer
}

/// No memory for somebody who was let in.
fn busy(busy: Busy) -> Response {
    let mut answer = refuse(StatusCode::SERVICE_UNAVAILABLE, busy.to_string());
    let seconds = HeaderValue::from(busy.retry_after_ms.div_ceil(1_000));
    answer.headers_mut().insert(header::RETRY_AFTER, seconds);
    answer
}

fn denied(denied: GitDenied) -> Response {
    match denied {
        GitDenied::Unauthenticated => {
            let mut answer = refuse(StatusCode::UNAUTHORIZED, "a repository token is needed");
            let realm = HeaderValue::from_static("Basic realm=\"Cairn\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            answer
        }
        GitDenied::Forbidden => refuse(StatusCode::FORBIDDEN, "the token may not write to this repository"),
        GitDenied::ReadOnly => refuse(StatusCode::FORBIDDEN, "the repository is read-only"),
        GitDenied::Importing => refuse(StatusCode::CONFLICT, "the repository is being imported"),
        GitDenied::Catalog(error) => {
            tracing::error!(%error, "the catalog could not be asked");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        }
    }
}

/// The HTTP status of an error before the first byte.
fn failed(error: &OpError) -> Response {
    if let OpError::Busy(why) = error {
        return busy(*why);
    }
    if error.is_ours() {
        tracing::error!(error = %error, "a git request failed");
        let full = StatusCode::INSUFFICIENT_STORAGE;
        let status = if error.is_full() { full } else { StatusCode::INTERNAL_SERVER_ERROR };
        return refuse(status, error.for_peer());
    }
    let status = match error {
        OpError::Wire(error) if error.class() == Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    refuse(status, error.for_peer())
}

/// 0, 1 or 2, as the `Git-Protocol` header asks; the highest of several, as git takes it.
fn protocol_version(headers: &HeaderMap) -> u8 {
    let Some(value) = headers.get("git-protocol").and_then(|value| value.to_str().ok()) else { return 0 };
    let versions = value.split(':').filter_map(|part| part.strip_prefix("version="));
    versions.filter_map(|version| version.parse().ok()).filter(|version| *version <= 2).max().unwrap_or(0)
}

/// Opens the repository for a caller with enough rights.
async fn open<A: Access>(
    app: &App,
    headers: &HeaderMap,
    ns: &str,
    repo: &str,
) -> Result<(Served, GitAccess<A>), Response> {
    let repo = repo.strip_suffix(".git").unwrap_or(repo);
    let now = app.clock.now_ms();
    let access = auth::git_grant(&app.catalog, now, headers, ns, repo).await.map_err(denied)?;
    app.admit(&access.grant.caller().actor, Some(&access.row.namespace)).map_err(too_many)?;
    let served = app.served(&access.row).map_err(|error| failed(&error.into()))?;
    Ok((served, access))
}

/// Lets a request of a service in: checks rights and the content type, and opens the body.
async fn enter<A: Access>(
    app: &App,
    (ns, repo): (String, String),
    request: Request,
    service: Service,
) -> Result<(Served, GitAccess<A>, HeaderMap, Inflow), Response> {
    let (parts, body) = request.into_parts();
    let (served, access) = open::<A>(app, &parts.headers, &ns, &repo).await?;
    let wanted = format!("application/x-{}-request", service.name());
    if parts.headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes() != wanted.as_bytes()) {
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("content-type must be {wanted}")));
    }
    // Better now than when the body is here.
    app.memory.admit().map_err(busy)?;
    let inflow = Inflow::new(&parts.headers, body)?;
    Ok((served, access, parts.headers, inflow))
}

/// The answer of a service.
fn result(service: Service, body: Body) -> Response {
    let kind = format!("application/x-{}-result", service.name());
    (NO_CACHE, [(header::CONTENT_TYPE, kind)], body).into_response()
}

async fn info_refs(
    State(app): State<App>,
    Path((ns, repo)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let service = query.split('&').find_map(|pair| pair.strip_prefix("service="));
    let service = match service {
        Some("git-upload-pack") => Service::UploadPack,
        Some("git-receive-pack") => Service::ReceivePack,
        Some(_) => return refuse(StatusCode::FORBIDDEN, "unknown service"),
        None => {
            return refuse(StatusCode::NOT_FOUND, "the dumb protocol is not served; use git 1.6.6 or newer");
        }
    };
    // Here git shows what it is told; of a request that was refused later it shows a number.
    if let Err(why) = app.memory.admit() {
        return busy(why);
    }
    let served = match service {
        Service::UploadPack => open::<Read>(&app, &headers, &ns, &repo).await.map(|(served, _)| served),
        Service::ReceivePack => open::<Write>(&app, &headers, &ns, &repo).await.map(|(served, _)| served),
    };
    let served = match served {
        Ok(served) => served,
        Err(answer) => return answer,
    };
    let version = protocol_version(&headers);
    let work = move |room| fetch::advertise(&Served { room, ..served.clone() }, service, version);
    match within(&app, Wait::Request, 0, work).await {
        Ok(bytes) => {
            let kind = format!("application/x-{}-advertisement", service.name());
            (NO_CACHE, [(header::CONTENT_TYPE, kind)], bytes).into_response()
        }
        Err(error) => failed(&error),
    }
}
