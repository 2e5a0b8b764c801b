//! `GET .../activity`: what happened to a repository, by whom, and when.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ask::Ask;
use super::envelope::{self, ListEnvelope};
use super::page::Paging;
use super::text;
use crate::app::App;
use crate::clock::rfc3339;
use crate::error::Result;
use crate::limits::{ACTIVITY_PAGE_ITEMS, ACTIVITY_PAGE_ITEMS_MAX};
use crate::ops::read::activity::{self, Entry};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// What an entry did to a ref.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefChange {
    /// Full name; bytes that are not UTF-8 are replaced.
    name: String,
    /// The same, percent-encoded; only where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_raw: Option<String>,
    /// What it pointed at before; null where it was not there.
    old: Option<String>,
    /// What it points at since; null where it was deleted.
    new: Option<String>,
}

/// An entry of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Activity {
    /// Its number, from 1. `at=` takes it.
    seq: u64,
    /// RFC 3339, UTC.
    time: String,
    /// Who: `token:<id>`, `api:<id>` or `operator`.
    actor: String,
    /// What made it, such as `push`.
    kind: String,
    /// What it did to refs, in the order of their names: the first 1,000.
    ref_changes: Vec<RefChange>,
    /// How many refs it changed.
    ref_changes_count: u64,
}

impl From<&Entry> for Activity {
    fn from(entry: &Entry) -> Self {
        let change = |change: &crate::store::repo::RefChange| RefChange {
            name: text::lossy(&change.name),
            name_raw: text::raw(&change.name),
            old: change.old.map(|id| id.to_string()),
            new: change.new.map(|id| id.to_string()),
        };
        Self {
            seq: entry.row.seq,
            time: rfc3339(entry.row.time_ms),
            actor: entry.row.actor.clone(),
            kind: entry.row.kind.clone(),
            ref_changes: entry.changes.iter().map(change).collect(),
            ref_changes_count: entry.changes_count,
        }
    }
}

/// Lists the entries of the repository's own log, newest first. What a fork's base did is in the base's.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/activity", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("limit" = Option<u64>, Query),
        ("cursor" = Option<String>, Query), ("page" = Option<u64>, Query), ("at" = Option<String>, Query)),
    responses((status = 200, body = ListEnvelope<Activity>), (status = 404, description = "10200: no such repository")))]
async fn list(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    let paging = Paging::new(&ask.query, ACTIVITY_PAGE_ITEMS, ACTIVITY_PAGE_ITEMS_MAX)?;
    let after = paging
        .after
        .as_deref()
        .map(|seq| seq.parse::<u64>().map_err(|_| crate::error::Error::input("/cursor", "Invalid cursor")));
    let after = after.transpose()?;
    ask.answer(&app, ask.freshness_of_log(), move |_, reading| {
        let newest = reading.view.snapshot.seq();
        // Entries that came since the first page do not move the others.
        let skip = match after {
            Some(seq) => newest.saturating_add(1).saturating_sub(seq),
            None => paging.window_from_start().skip,
        };
        let take = u32::try_from(paging.per_page()).unwrap_or(u32::MAX);
        let (entries, total) = activity::list(reading, skip, take)?;
        let last = entries.last().filter(|last| last.row.seq > 1).map(|last| last.row.seq.to_string());
        let info = paging.info(entries.len(), total, last.as_deref());
        Ok(envelope::list(entries.iter().map(Activity::from).collect(), info))
    })
    .await
}
