//! `GET .../tree?ref=&path=&recursive=`: entries with their sizes, in pages.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use cairn_protocol::object::ObjectId;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ask::Ask;
use super::envelope::{self, ListEnvelope};
use super::objects::TreeEntry;
use super::page::Paging;
use super::text;
use crate::app::App;
use crate::error::{Error, Result, code};
use crate::limits::{CURSOR_PATH_BYTES_MAX, TREE_PAGE_ITEMS, TREE_PAGE_ITEMS_MAX};
use crate::ops::read::listing::{self, Query, Sized};
use crate::ops::read::{Reading, Work};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// An entry below a tree.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedEntry {
    #[serde(flatten)]
    entry: TreeEntry,
    /// From the root of the repository; bytes that are not UTF-8 are replaced.
    path: String,
    /// The same, percent-encoded; only where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_raw: Option<String>,
    /// Bytes of the blob; folders and submodules have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl From<&Sized> for ListedEntry {
    fn from(from: &Sized) -> Self {
        let item = &from.item;
        Self {
            entry: TreeEntry::new(item.name(), item.mode, &item.id),
            path: text::lossy(&item.path),
            path_raw: text::raw(&item.path),
            size: from.size,
        }
    }
}

/// Where a list goes on: the tree, and the path below it of the last entry, where it is short enough.
struct Place {
    tree: ObjectId,
    after: Option<Vec<u8>>,
}

impl Place {
    fn parse(reading: &Reading, text: &str) -> Work<Self> {
        let bad = || Error::input("/cursor", "Invalid cursor");
        let (hex, path) = text.split_once(':').ok_or_else(bad)?;
        let tree = ObjectId::from_hex(reading.view.served.algo, hex.as_bytes()).ok_or_else(bad)?;
        reading.view.place(&tree)?.ok_or_else(bad)?;
        let after: Vec<u8> = percent_decode_str(path).collect();
        Ok(Self { tree, after: Some(after).filter(|path| !path.is_empty()) })
    }
}

/// Lists a folder, or with `recursive` everything below it, in git's order.
///
/// A cursor goes on in the tree that the first page showed, whatever happens to the ref meanwhile.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/tree", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("ref" = Option<String>, Query),
        ("path" = Option<String>, Query), ("recursive" = Option<bool>, Query), ("limit" = Option<u64>, Query),
        ("cursor" = Option<String>, Query), ("page" = Option<u64>, Query), ("at" = Option<String>, Query)),
    responses((status = 200, body = ListEnvelope<ListedEntry>),
        (status = 404, description = "10200: no such folder or ref")))]
async fn list(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    let paging = Paging::new(&ask.query, TREE_PAGE_ITEMS, TREE_PAGE_ITEMS_MAX)?;
    let recursive = ask.query.flag("/recursive")?;
    let freshness = ask.freshness(ask.reference());
    ask.answer(&app, freshness, move |ask, reading| {
        let path = ask.query.bytes("path").unwrap_or_default();
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        let path = parts.collect::<Vec<_>>().join(&b'/');
        let place = match &paging.after {
            Some(text) => Place::parse(reading, text)?,
            None => {
                let named = reading.named(ask.reference(), &path)?;
                let named = named.filter(|named| named.place.mode & 0o170_000 == 0o040_000);
                let missing = || Error::new(code::NOT_FOUND, "Tree not found");
                Place { tree: named.ok_or_else(missing)?.place.id, after: None }
            }
        };
        let query = Query {
            tree: place.tree,
            path: &path,
            recursive,
            after: place.after.as_deref(),
            skip: paging.window_from_start().skip,
            take: paging.per_page(),
        };
        let (entries, total) = listing::list(reading, &query)?;
        let below = if path.is_empty() { 0 } else { path.len() + 1 };
        let last = entries.last().map(|last| {
            let after = last.item.path.get(below..).unwrap_or_default();
            let after = if after.len() > CURSOR_PATH_BYTES_MAX { b"".as_slice() } else { after };
            format!("{}:{}", place.tree, text::encoded(after))
        });
        let info = paging.info(entries.len(), total, last.as_deref());
        Ok(envelope::list(entries.iter().map(ListedEntry::from).collect(), info))
    })
    .await
}
