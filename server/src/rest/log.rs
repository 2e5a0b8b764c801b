//! `GET .../log`, and the shape of a commit.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use cairn_protocol::object::{Kind, ObjectId};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ask::Ask;
use super::envelope::{self, ListEnvelope};
use super::page::Paging;
use crate::app::App;
use crate::error::{Error, Result};
use crate::limits::{LOG_PAGE_ITEMS, LOG_PAGE_ITEMS_MAX};
use crate::ops::commit_text::{CommitText, Signature};
use crate::ops::read::history::{self, Query};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Who.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Person {
    /// Name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Address, likewise.
    pub email: String,
}

impl From<&Signature> for Person {
    fn from(from: &Signature) -> Self {
        Self { name: from.name.clone(), email: from.email.clone() }
    }
}

/// A commit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Commit {
    /// Its id.
    pub hash: String,
    /// Its root tree.
    #[serde(rename = "treeHash")]
    pub tree_hash: String,
    /// Without one newline at its end.
    pub message: String,
    /// Who wrote the change.
    pub author: Person,
    /// Who made the commit.
    pub committer: Person,
    /// Ids, in order.
    pub parents: Vec<String>,
    /// Seconds since 1970.
    #[serde(rename = "authoredAt")]
    pub authored_at: i64,
    /// Seconds since 1970.
    #[serde(rename = "committedAt")]
    pub committed_at: i64,
}

impl From<&CommitText> for Commit {
    fn from(from: &CommitText) -> Self {
        Self {
            hash: from.id.to_string(),
            tree_hash: from.tree.to_string(),
            message: from.message.strip_suffix('\n').unwrap_or(&from.message).to_owned(),
            author: (&from.author).into(),
            committer: (&from.committer).into(),
            parents: from.parents.iter().map(ObjectId::to_string).collect(),
            authored_at: from.author.seconds,
            committed_at: from.committer.seconds,
        }
    }
}

/// Shows the history of a ref, newest first: first parents, or everything with `all`.
///
/// `result_info` has a `cursor` while there is more to look at; the history that it goes on with does not change when the
/// ref moves. With `path`, a page may be shorter than asked for.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/log", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("ref" = Option<String>, Query),
        ("limit" = Option<u64>, Query), ("offset" = Option<u64>, Query), ("path" = Option<String>, Query),
        ("all" = Option<bool>, Query), ("cursor" = Option<String>, Query), ("at" = Option<String>, Query)),
    responses((status = 200, body = ListEnvelope<Commit>), (status = 404, description = "10200: no such repository")))]
async fn list(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    let paging = Paging::new(&ask.query, LOG_PAGE_ITEMS, LOG_PAGE_ITEMS_MAX)?;
    let offset = ask.query.offset("/offset")?;
    let before = paging.window_from_start().skip;
    let is_after = paging.after.is_some();
    let query = Query {
        walked: if is_after { before } else { 0 },
        skip: offset + if is_after { 0 } else { before },
        take: paging.per_page(),
        all: ask.query.flag("/all")?,
        path: ask.query.bytes("path").map(<[u8]>::to_vec),
    };
    let freshness = ask.freshness(ask.reference());
    ask.answer(&app, freshness, move |ask, reading| {
        let view = &reading.view;
        let tip = match &paging.after {
            Some(hex) => {
                let id = ObjectId::from_hex(view.served.algo, hex.as_bytes());
                let id = id.ok_or_else(|| Error::input("/cursor", "Invalid cursor"))?;
                view.header(&id)?.filter(|(kind, _)| *kind == Kind::Commit).map(|_| id)
            }
            None => match view.resolve_bytes(ask.reference())? {
                Some(id) => view.peel(id)?.filter(|(_, kind)| *kind == Kind::Commit).map(|(id, _)| id),
                None => None,
            },
        };
        let page = match tip {
            Some(tip) => history::log(reading, tip, &query)?,
            None => history::Page::default(),
        };
        let mut info = json!({ "count": page.commits.len(), "per_page": query.take });
        if let (Some(next), Some(fields)) = (page.next, info.as_object_mut()) {
            fields.insert("cursor".into(), Paging::cursor(next.walked, &next.tip.to_string()).into());
        }
        Ok(envelope::list(page.commits.iter().map(Commit::from).collect(), info))
    })
    .await
}
