//! Files by their paths: `GET .../file?ref=&path=` and `GET .../raw/{ref}/{path}`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ask::Ask;
use super::cond::{self, Freshness, Part, Tag};
use super::sniff;
use super::stream::BatchBody;
use crate::app::App;
use crate::error::{Error, Result, code};
use crate::ops::read::blob::Blob;
use crate::ops::read::names::Named;
use crate::ops::read::{Halt, Reading, Work};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(file)).routes(routes!(raw))
}

fn missing() -> Halt {
    Error::new(code::NOT_FOUND, "File not found").into()
}

/// The bytes of a blob, or the range of them that is asked for.
pub fn blob_answer(ask: &Ask, app: &App, blob: &Blob, freshness: Freshness) -> Work<Response<Body>> {
    let tag = Tag::object(&blob.id);
    if tag.is_had(&ask.headers) {
        return Ok(cond::not_modified(&tag, freshness));
    }
    let part = match ask.method == Method::GET {
        true => cond::part(&ask.headers, &tag, blob.size),
        false => Part::Whole,
    };
    let range = match &part {
        Part::Whole => 0..blob.size,
        Part::Some(range) => range.clone(),
        Part::Outside => {
            let text = format!("the range lies behind the end, which is at {} bytes", blob.size);
            let error = Error::input("/range", text).with_status(416);
            let mut response = axum::response::IntoResponse::into_response(error);
            cond::set(&mut response, header::CONTENT_RANGE, &format!("bytes */{}", blob.size));
            return Ok(response);
        }
    };
    let len = range.end - range.start;
    let body = match blob.bytes() {
        Some(bytes) => Body::from(bytes.slice(range.start as usize..range.end as usize)),
        None => Body::new(BatchBody::new(blob.reader(range.clone())?, &app.memory, Some(len))),
    };
    let mut response = Response::new(body);
    if part != Part::Whole {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, blob.size);
        cond::set(&mut response, header::CONTENT_RANGE, &text);
    }
    cond::set(&mut response, header::CONTENT_LENGTH, &len.to_string());
    cond::set(&mut response, header::ACCEPT_RANGES, "bytes");
    cond::set(&mut response, header::CONTENT_TYPE, sniff::UNKNOWN);
    cond::set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    cond::set(&mut response, header::CONTENT_SECURITY_POLICY, "sandbox");
    cond::mark(&mut response, &tag, freshness);
    Ok(response)
}

/// The blob that was found, and how long the answer holds.
fn found(ask: &Ask, app: &App, reading: &Reading, named: Option<Named>) -> Work<(Blob, Freshness)> {
    let named = named.ok_or_else(missing)?;
    if !matches!(named.place.mode & 0o170_000, 0o100_000 | 0o120_000) {
        return Err(missing());
    }
    let blob = Blob::shown(reading, &named.place.id, &app.spool_dir())?.ok_or_else(missing)?;
    let freshness = match named.is_hash {
        true => Freshness::Immutable,
        false => ask.freshness_of_log().filter(!named.is_default),
    };
    Ok((blob, freshness))
}

/// The bytes of a file. Those of a symbolic link are its target.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/file", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("ref" = Option<String>, Query),
        ("path" = String, Query), ("at" = Option<String>, Query)),
    responses((status = 200, content_type = "application/octet-stream", description = "the bytes"),
        (status = 206, description = "the range of bytes that was asked for"),
        (status = 404, description = "10200: no such file, a folder, or no such ref")))]
async fn file(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    if ask.query.bytes("path").is_none() {
        return Err(Error::input("/path", "path is required"));
    }
    ask.read(&app, |ask, app, reading| {
        let path = ask.query.bytes("path").unwrap_or_default();
        let named = reading.named(ask.reference(), path)?;
        let (blob, freshness) = found(ask, app, &reading, named)?;
        blob_answer(ask, app, &blob, freshness)
    })
    .await
}

/// A file as a browser may show it: with a type told from its bytes, and nothing that would run.
///
/// A ref with slashes may be sent as it is (the longest one that there is counts) or percent-encoded.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/raw/{*rest}", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("rest" = String, Path, description = "{ref}/{path}"),
        ("at" = Option<String>, Query)),
    responses((status = 200, description = "the bytes, with their type"),
        (status = 206, description = "the range of bytes that was asked for"),
        (status = 404, description = "10200: no such file, a folder, or no such ref")))]
async fn raw(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    ask.read(&app, |ask, app, reading| {
        // As it was sent: in the decoded path, a slash in a ref looks like one between parts.
        // In front of it: /namespaces/{ns}/repos/{name}/raw/
        let sent = ask.uri.path().split('/').skip(6);
        let parts: Vec<Vec<u8>> = sent.map(|part| percent_decode_str(part).collect()).collect();
        let (blob, freshness) = found(ask, app, &reading, reading.named_in_path(&parts)?)?;
        let mut response = blob_answer(ask, app, &blob, freshness)?;
        if response.status().is_success() {
            let head = blob.head(sniff::SNIFF_BYTES)?;
            let media_type = sniff::media_type(&head, head.len() as u64 == blob.size);
            cond::set(&mut response, header::CONTENT_TYPE, media_type);
            let path = parts.last().map(Vec::as_slice).unwrap_or_default();
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            cond::set(&mut response, header::CONTENT_DISPOSITION, &sniff::disposition(media_type, name));
        }
        Ok(response)
    })
    .await
}
