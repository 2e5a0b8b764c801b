//! `POST .../maintenance`: looks after the file of a repository now.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope};
use super::path::Names;
use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::error::Result;
use crate::jobs::maintenance::{self, Done, Reach};
use crate::ops;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(post))
}

/// What maintenance did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Maintained {
    /// Packs that were rolled into others, those included that an earlier step had made.
    packs_in: u64,
    /// Packs that were made.
    packs_out: u64,
    /// Bytes of the packs that went in.
    pack_bytes_in: u64,
    /// Bytes of the packs that came out.
    pack_bytes_out: u64,
    /// Objects that were dropped, since no ref named them for long; copies included.
    dropped_objects: u64,
    /// Bytes of them in packs.
    dropped_bytes: u64,
    /// Bytes of the file before.
    file_bytes_before: u64,
    /// Bytes of the file since.
    file_bytes_after: u64,
    /// Whether something is kept for clones under way; the server removes it when they are done.
    waiting: bool,
}

impl From<Done> for Maintained {
    fn from(done: Done) -> Self {
        Self {
            packs_in: done.rolled.packs_in,
            packs_out: done.rolled.packs_out,
            pack_bytes_in: done.rolled.bytes_in,
            pack_bytes_out: done.rolled.bytes_out,
            dropped_objects: done.dropped.objects,
            dropped_bytes: done.dropped.bytes,
            file_bytes_before: done.file_bytes_before,
            file_bytes_after: done.file_bytes_after,
            waiting: done.is_waiting,
        }
    }
}

/// Drops what no ref named for long, rolls the small packs of a repository into larger ones and rewrites its file where much
/// of it is free. Changes nothing that refs show; pushes to the repository wait while the file is rewritten.
#[utoipa::path(post, path = "/namespaces/{ns}/repos/{name}/maintenance", tag = "repositories",
    params(("ns" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Envelope<Maintained>), (status = 404, description = "10200: no such repository")))]
async fn post(State(app): State<App>, grant: Grant<Edit>, names: Names) -> Result<Response<Body>> {
    let row = ops::viewed(&app, &grant.viewing(), &names.ns, &names.name).await?;
    // A task of its own: it ends also where the caller goes away.
    let work = tokio::spawn(async move { maintenance::one(&app, &row, Reach::Asked).await });
    let done = work.await.map_err(crate::error::Error::internal)??;
    Ok(envelope::one(StatusCode::OK, Maintained::from(done)))
}
