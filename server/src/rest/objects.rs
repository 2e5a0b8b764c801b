//! Objects by their hashes: `GET .../commit/{hash}`, `.../tree/{hash}`, `.../blob/{hash}`. Only what a ref shows is there.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use cairn_protocol::object::{HashAlgo, Kind, ObjectId, TreeIter};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ask::Ask;
use super::cond::{self, Freshness, Tag};
use super::content::blob_answer;
use super::envelope::{self, Envelope};
use super::log::Commit;
use super::text;
use crate::app::App;
use crate::error::{Error, Result, code};
use crate::limits::TREE_WHOLE_BYTES_MAX;
use crate::ops::read::blob::Blob;
use crate::ops::read::tree::type_of;
use crate::ops::read::{Reading, Work, history};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(commit)).routes(routes!(tree)).routes(routes!(blob))
}

/// An entry of a tree.
#[derive(Debug, Serialize, ToSchema)]
pub struct TreeEntry {
    /// Its name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Its name, percent-encoded; only where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_raw: Option<String>,
    /// git's mode in octal digits: `40000`, `100644`, `100755`, `120000`, `160000`.
    pub mode: String,
    /// What is there.
    pub hash: String,
    /// `blob`, `exec`, `symlink`, `gitlink` or `tree`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl TreeEntry {
    /// The shape of an entry.
    pub fn new(name: &[u8], mode: u32, id: &ObjectId) -> Self {
        let (name, name_raw) = (text::lossy(name), text::raw(name));
        Self { name, name_raw, mode: format!("{mode:o}"), hash: id.to_string(), kind: type_of(mode) }
    }
}

/// The hash in the path.
fn hash(ask: &Ask, reading: &Reading) -> Work<ObjectId> {
    let algo = reading.view.served.algo;
    let name = match algo {
        HashAlgo::Sha1 => "SHA-1",
        HashAlgo::Sha256 => "SHA-256",
    };
    let id = ObjectId::from_hex(algo, ask.names.id.as_bytes());
    Ok(id.ok_or_else(|| Error::input("/hash", format!("Invalid {name} hash")))?)
}

/// Answers `make`'s JSON about a visible object, or 404 with `missing`.
async fn object(
    app: &App,
    ask: &Ask,
    kind: Kind,
    missing: &'static str,
    make: fn(&Reading, ObjectId, &[u8]) -> Work<Response<Body>>,
) -> Result<Response<Body>> {
    ask.read(app, move |ask, _, reading| {
        let id = hash(ask, &reading)?;
        let missing = || Error::new(code::NOT_FOUND, missing);
        let data = reading.object(&id, kind)?.ok_or_else(missing)?;
        let tag = Tag::object(&id);
        if tag.is_had(&ask.headers) {
            return Ok(cond::not_modified(&tag, Freshness::Immutable));
        }
        let mut response = make(&reading, id, &data)?;
        cond::mark(&mut response, &tag, Freshness::Immutable);
        Ok(response)
    })
    .await
}

/// Shows a commit.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/commit/{hash}", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("hash" = String, Path), ("at" = Option<String>, Query)),
    responses((status = 200, body = Envelope<Commit>), (status = 400, description = "10100: not a hash"),
        (status = 404, description = "10200: no ref shows such a commit")))]
async fn commit(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    object(&app, &ask, Kind::Commit, "Commit not found", |reading, id, data| {
        let text = history::text(reading, id, data)?;
        Ok(envelope::one(StatusCode::OK, Commit::from(&text)))
    })
    .await
}

/// Shows the entries of one tree, in git's order. A very large tree is shown by `GET .../tree?ref={hash}`, in pages.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/tree/{hash}", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("hash" = String, Path), ("at" = Option<String>, Query)),
    responses((status = 200, body = Envelope<Vec<TreeEntry>>), (status = 400, description = "10100: not a hash"),
        (status = 404, description = "10200: no ref shows such a tree")))]
async fn tree(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    object(&app, &ask, Kind::Tree, "Tree not found", |reading, id, data| {
        if data.len() > TREE_WHOLE_BYTES_MAX {
            let len = data.len();
            let text = format!(
                "the tree has {len} bytes, shown whole are at most {TREE_WHOLE_BYTES_MAX}: page through tree?ref={id}"
            );
            return Err(Error::new(code::MEMORY_LIMIT, text).into());
        }
        let algo = reading.view.served.algo;
        let entry = |entry: cairn_protocol::object::TreeEntry<'_>| {
            Some(TreeEntry::new(entry.name, entry.mode, &ObjectId::from_bytes(algo, entry.id)?))
        };
        let entries: Vec<_> = TreeIter::new(algo, data).filter_map(|found| entry(found.ok()?)).collect();
        Ok(envelope::one(StatusCode::OK, entries))
    })
    .await
}

/// The bytes of a blob.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/blob/{hash}", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path), ("hash" = String, Path), ("at" = Option<String>, Query)),
    responses((status = 200, content_type = "application/octet-stream", description = "the bytes"),
        (status = 206, description = "the range of bytes that was asked for"),
        (status = 400, description = "10100: not a hash"),
        (status = 404, description = "10200: no ref shows such a blob")))]
async fn blob(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    ask.read(&app, |ask, app, reading| {
        let id = hash(ask, &reading)?;
        let blob = Blob::open(&reading, &id, &app.spool_dir())?;
        let blob = blob.ok_or_else(|| Error::new(code::NOT_FOUND, "Blob not found"))?;
        blob_answer(ask, app, &blob, Freshness::Immutable)
    })
    .await
}
