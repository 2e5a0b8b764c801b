//! Refs: `GET .../refs` and `GET .../refs/{full name}`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ask::Ask;
use super::cond::Freshness;
use super::envelope::{self, Envelope, ListEnvelope};
use super::page::Paging;
use super::text;
use crate::app::App;
use crate::error::{Error, Result, code};
use crate::limits::{REF_PAGE_ITEMS, REF_PAGE_ITEMS_MAX};
use crate::ops::read::{Reading, Work, names};
use crate::store::repo::RefRow;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// A ref.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ref {
    /// Its full name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// The same, percent-encoded; only where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_raw: Option<String>,
    /// What it points at.
    pub hash: String,
    /// What an annotated tag finally points at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peeled: Option<String>,
    /// The ref that it stands for; only `HEAD` has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symref: Option<String>,
}

impl From<&RefRow> for Ref {
    fn from(row: &RefRow) -> Self {
        Self {
            name: text::lossy(&row.name),
            name_raw: text::raw(&row.name),
            hash: row.id.to_string(),
            peeled: row.peeled.map(|id| id.to_string()),
            symref: None,
        }
    }
}

/// `HEAD`, where its branch is there.
fn head(reading: &Reading) -> Work<Option<Ref>> {
    let target = reading.view.served.head();
    let row = reading.view.snapshot.reference(target.as_bytes())?;
    Ok(row.map(|row| Ref { name: "HEAD".into(), symref: Some(target.to_string()), ..Ref::from(&row) }))
}

/// How many refs a prefix has, `HEAD` not counted.
fn count(reading: &Reading, prefix: &[u8]) -> Work<u64> {
    let key = names::key(reading, "refs", &[prefix]);
    if let Some(count) = reading.reads.counts.get(&key) {
        return Ok(count);
    }
    let mut count = 0;
    reading.view.snapshot.refs(prefix, &mut |_| {
        count += 1;
        true
    })?;
    reading.reads.counts.put(key, count, 8);
    Ok(count)
}

/// Lists refs in the byte order of their names, `HEAD` first.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/refs", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("prefix" = Option<String>, Query),
        ("limit" = Option<u64>, Query), ("cursor" = Option<String>, Query), ("page" = Option<u64>, Query),
        ("at" = Option<String>, Query)),
    responses((status = 200, body = ListEnvelope<Ref>), (status = 404, description = "10200: no such repository")))]
async fn list(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    let paging = Paging::new(&ask.query, REF_PAGE_ITEMS, REF_PAGE_ITEMS_MAX)?;
    ask.answer(&app, Freshness::Revalidate, move |ask, reading| {
        let prefix = ask.query.bytes("prefix").unwrap_or_default();
        let head = if b"HEAD".starts_with(prefix) { head(reading)? } else { None };
        let total = count(reading, prefix)? + u64::from(head.is_some());
        let window = paging.window();
        let (mut skip, mut refs) = (window.skip, Vec::new());
        let after = paging.after.as_deref().map(|name| percent_decode_str(name).collect::<Vec<u8>>());
        if let Some(head) = head.filter(|_| after.is_none()) {
            match skip.checked_sub(1) {
                Some(left) => skip = left,
                None => refs.push((b"HEAD".to_vec(), head)),
            }
        }
        let from = match after {
            Some(name) if name != b"HEAD" => [name.as_slice(), b"\0"].concat(),
            _ => Vec::new(),
        };
        let batch = usize::try_from(skip.saturating_add(window.take).min(REF_PAGE_ITEMS_MAX)).unwrap_or(1);
        if (refs.len() as u64) < window.take && skip < total {
            reading.view.snapshot.refs_from(prefix, &from, batch, &mut |row| {
                if skip > 0 {
                    skip -= 1;
                } else {
                    refs.push((row.name.clone(), Ref::from(&row)));
                }
                (refs.len() as u64) < window.take
            })?;
        }
        let last = refs.last().map(|(name, _)| text::encoded(name));
        let info = paging.info(refs.len(), total, last.as_deref());
        Ok(envelope::list(refs.into_iter().map(|(_, row)| row).collect(), info))
    })
    .await
}

/// Shows one ref: `HEAD`, or a full name such as `refs/heads/main`, of which `refs/` may be left out.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/refs/{*rest}", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("rest" = String, Path, description = "the full name"),
        ("at" = Option<String>, Query)),
    responses((status = 200, body = Envelope<Ref>), (status = 404, description = "10200: no such ref")))]
async fn get(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    let is_head = ask.names.rest == "HEAD";
    let freshness = ask.freshness_of_log().filter(!is_head);
    ask.answer(&app, freshness, move |ask, reading| {
        let name = &ask.names.rest;
        let found = match is_head {
            true => head(reading)?,
            false => {
                let full = if name.starts_with("refs/") { name.clone() } else { format!("refs/{name}") };
                reading.view.snapshot.reference(full.as_bytes())?.as_ref().map(Ref::from)
            }
        };
        let found = found.ok_or_else(|| Error::new(code::NOT_FOUND, "Ref not found"))?;
        Ok(envelope::one(StatusCode::OK, found))
    })
    .await
}
