//! `POST git-upload-pack`.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use cairn_protocol::pktline;
use cairn_protocol::upload_pack::{Service, server_option};

use super::{enter, failed, protocol_version, result};
use crate::app::App;
use crate::auth::Read;
use crate::budget::Wait;
use crate::ops::at::{self, At};
use crate::ops::fetch::{self, Answer};
use crate::ops::room::within;
use crate::ops::{OpError, Served};
use crate::rest::stream::BatchBody;
use crate::store::catalog::RepoRow;

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
    let (served, access, headers, inflow) = enter::<Read>(&app, names, request, Service::UploadPack).await?;
    let version = protocol_version(&headers);
    let body = inflow.collect(&app.spool_dir()).await?;
    let inner = app.clone();
    let bytes = fetch::request_bytes(&body);
    let work = move |room| {
        let body = fetch::request(&body, room)?;
        let served = Served { room, ..served.clone() };
        match version {
            2 => fetch::serve_v2(&as_of(&inner, &access.row, served, &body)?, &body),
            _ => fetch::serve_v0(&served, &body),
        }
    };
    let body = match within(&app, Wait::Request, bytes, work).await {
        Ok(Answer::Whole(bytes)) => Body::from(bytes),
        Ok(Answer::Pack(answer)) => {
            Body::new(BatchBody::new(answer.parking_in(app.spool_dir()), &app.memory, None))
        }
        Err(error) if error.is_ours() => return Err(failed(&error)),
        // git shows an ERR line as the server's own words; an HTTP status it shows as a bare number.
        Err(error) => Body::from(err_line(&error)),
    };
    Ok(result(Service::UploadPack, body))
}

/// `git clone --server-option=at=<entry or time>`: the repository as it was then.
fn as_of(app: &App, row: &RepoRow, served: Served, body: &[u8]) -> Result<Served, OpError> {
    let Some(text) = server_option(body, b"at")? else { return Ok(served) };
    let at = At::parse(&String::from_utf8_lossy(&text))
        .map_err(|error| OpError::Request(format!("at {error}")))?;
    Ok(Served { room: served.room, ..at::open(app, row, Some(at))?.0 })
}

fn err_line(error: &OpError) -> Vec<u8> {
    let mut out = Vec::new();
    pktline::write_error(&mut out, &error.for_peer());
    out
}
