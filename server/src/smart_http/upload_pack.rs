//! `POST git-upload-pack`.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::{Inflow, PackBody, blocking};
use super::{NO_CACHE, failed, open, protocol_version, refuse};
use crate::app::App;
use crate::auth::Read;
use crate::ops::OpError;
use crate::ops::fetch::{self, Answer};
use cairn_protocol::pktline;

/// Answers one request of a fetch.
pub async fn serve(
    State(app): State<App>,
    Path((ns, repo)): Path<(String, String)>,
    request: Request,
) -> Response {
    match answer(app, ns, repo, request).await {
        Ok(answer) | Err(answer) => answer,
    }
}

async fn answer(app: App, ns: String, repo: String, request: Request) -> Result<Response, Response> {
    let (parts, body) = request.into_parts();
    let (served, _) = open::<Read>(&app, &parts.headers, &ns, &repo).await?;
    let kind = parts.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    if kind != Some(b"application/x-git-upload-pack-request") {
        let text = "content-type must be application/x-git-upload-pack-request";
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let version = protocol_version(&parts.headers);
    let body = Inflow::new(&parts.headers, body)?.collect().await?;
    let work = move || match version {
        2 => fetch::serve_v2(&served, &body),
        _ => fetch::serve_v0(&served, &body),
    };
    let body = match blocking(work).await {
        Ok(Answer::Whole(bytes)) => Body::from(bytes),
        Ok(Answer::Pack(answer)) => Body::new(PackBody::new(answer)),
        Err(error) if error.is_ours() => return Err(failed(&error)),
        // git shows an ERR line as the server's own words; an HTTP status it shows as a bare number.
        Err(error) => Body::from(err_line(&error)),
    };
    let kind = "application/x-git-upload-pack-result";
    Ok((NO_CACHE, [(header::CONTENT_TYPE, kind)], body).into_response())
}

fn err_line(error: &OpError) -> Vec<u8> {
    let mut out = Vec::new();
    pktline::write_error(&mut out, &error.for_peer());
    out
}
