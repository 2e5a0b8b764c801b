//! `GET .../usage`: how much a repository holds.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ask::Ask;
use super::envelope::{self, Envelope};
use crate::app::App;
use crate::error::Result;
use crate::ops::read::usage;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get))
}

/// What logs hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct Held {
    /// Bytes of packs, as stored.
    bytes: u64,
    /// Objects; one that was sent twice counts twice.
    objects: u64,
    /// Packs.
    packs: u64,
    /// Entries.
    entries: u64,
}

impl From<usage::Held> for Held {
    fn from(held: usage::Held) -> Self {
        Self { bytes: held.bytes, objects: held.objects, packs: held.packs, entries: held.entries }
    }
}

/// What a repository holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Usage {
    /// Own and shared together.
    #[serde(flatten)]
    all: Held,
    /// What came to the repository itself.
    own: Held,
    /// What it sees of the repositories that it was forked from, and does not store.
    shared: Held,
}

/// Shows how much a repository holds.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/usage", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("at" = Option<String>, Query)),
    responses((status = 200, body = Envelope<Usage>), (status = 404, description = "10200: no such repository")))]
async fn get(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    ask.answer(&app, ask.freshness_of_log(), |_, reading| {
        let (own, shared) = usage::usage(reading)?;
        let all = usage::Held {
            bytes: own.bytes + shared.bytes,
            objects: own.objects + shared.objects,
            packs: own.packs + shared.packs,
            entries: own.entries + shared.entries,
        };
        let usage = Usage { all: all.into(), own: own.into(), shared: shared.into() };
        Ok(envelope::one(StatusCode::OK, usage))
    })
    .await
}
