//! `POST git-upload-pack`.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use cairn_protocol::pktline;
use cairn_protocol::upload_pack::Service;

use super::body::{PackBody, blocking};
use super::{enter, failed, protocol_version, result};
use crate::app::App;
use crate::auth::Read;
use crate::ops::OpError;
use crate::ops::fetch::{self, Answer};

/// Answers one request of a fetch.
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
    let (served, _, headers, inflow) = enter::<Read>(&app, names, request, Service::UploadPack).await?;
    let version = protocol_version(&headers);
    let body = inflow.collect().await?;
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
    Ok(result(Service::UploadPack, body))
}

fn err_line(error: &OpError) -> Vec<u8> {
    let mut out = Vec::new();
    pktline::write_error(&mut out, &error.for_peer());
    out
}
