//! Refs made, moved and deleted: `PUT` and `DELETE .../refs/{full name}`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use cairn_protocol::object::HashAlgo;
use cairn_protocol::refs::{RefName, is_pushable};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Input;
use super::commits::object_id;
use super::envelope::{self, Envelope};
use super::page::Query;
use super::path::Names;
use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::move_ref::Move;
use crate::ops::write::Wanted;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(put, delete))
}

/// Where a ref is, or was before it was deleted.
#[derive(Serialize, ToSchema)]
pub struct RefAt {
    /// Its full name.
    name: String,
    /// The object.
    hash: String,
}

/// A ref to be made or moved.
#[derive(Deserialize, ToSchema)]
pub struct NewRef {
    /// Where it goes: an object of the repository.
    oid: Option<String>,
    /// Where it must be; null where it must not exist. Where absent, it may be anywhere.
    #[serde(default, deserialize_with = "given")]
    expected: Option<Option<String>>,
    /// Whether it may move to what does not follow its present commit.
    force: Option<bool>,
}

/// What a deletion may say in its body.
#[derive(Deserialize, ToSchema)]
pub struct OldRef {
    /// Where the ref must be.
    expected: Option<String>,
}

/// Tells null from absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// The name in the path, which may leave out `refs/`.
fn full_name(rest: &str) -> Result<RefName> {
    let full = if rest.starts_with("refs/") { rest.to_owned() } else { format!("refs/{rest}") };
    let name = RefName::new(full.as_bytes()).ok().filter(is_pushable);
    name.ok_or_else(|| Error::input("/ref", format!("'{full}' is not the name of a ref")))
}

fn wanted(algo: HashAlgo, expected: Option<Option<&str>>) -> Result<Wanted> {
    Ok(match expected {
        None => Wanted::Any,
        Some(None) => Wanted::Absent,
        Some(Some(hex)) => Wanted::At(object_id(algo, "/expected", hex)?),
    })
}

/// Makes or moves a ref. Without `force` it only moves from a commit to one that follows it.
#[utoipa::path(put, path = "/namespaces/{ns}/repos/{name}/refs/{*rest}", tag = "refs", request_body = NewRef,
    params(("ns" = String, Path), ("name" = String, Path), ("rest" = String, Path, description = "full name")),
    responses((status = 200, body = Envelope<RefAt>),
        (status = 400, description = "10100: no such object, or it does not follow"),
        (status = 409, description = "10304: the ref is elsewhere; errors[0].meta.current is where")))]
async fn put(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    Input(new): Input<NewRef>,
) -> Result<Response<Body>> {
    let row = ops::edited(&app, &grant, &names.ns, &names.name).await?;
    let name = full_name(&names.rest)?;
    let algo = row.object_format;
    let to = object_id(algo, "/oid", new.oid.as_deref().unwrap_or_default())?;
    let expected = wanted(algo, new.expected.as_ref().map(Option::as_deref))?;
    let wish = Move { name, expected, to: Some(to), force: new.force.unwrap_or(false) };
    let answer = RefAt { name: wish.name.to_string(), hash: to.to_string() };
    moved(&app, &grant, row, wish).await?;
    Ok(envelope::one(StatusCode::OK, answer))
}

/// Deletes a ref and tells where it was. The default branch stays.
#[utoipa::path(delete, path = "/namespaces/{ns}/repos/{name}/refs/{*rest}", tag = "refs",
    params(("ns" = String, Path), ("name" = String, Path), ("rest" = String, Path, description = "full name"),
        ("expected" = Option<String>, Query)), request_body = OldRef,
    responses((status = 200, body = Envelope<RefAt>), (status = 404, description = "10200: there is none"),
        (status = 403, description = "10107: it is the default branch"),
        (status = 409, description = "10304: the ref is elsewhere; errors[0].meta.current is where")))]
async fn delete(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    query: Query,
    Input(old): Input<OldRef>,
) -> Result<Response<Body>> {
    let row = ops::edited(&app, &grant, &names.ns, &names.name).await?;
    let name = full_name(&names.rest)?;
    let expected = query.get("expected").or(old.expected.as_deref());
    let expected = wanted(row.object_format, expected.map(Some))?;
    let wish = Move { name, expected, to: None, force: true };
    let name = wish.name.to_string();
    let was = moved(&app, &grant, row, wish).await?;
    let hash = was.map(|id| id.to_string()).unwrap_or_default();
    Ok(envelope::one(StatusCode::OK, RefAt { name, hash }))
}

async fn moved(
    app: &App,
    grant: &Grant<Edit>,
    row: crate::store::catalog::RepoRow,
    wish: Move,
) -> Result<Option<cairn_protocol::object::ObjectId>> {
    let turn = app.commit_turns.of(&app.memory, row.id).await?;
    let (inside, id, now_ms) = (app.clone(), row.id, app.clock.now_ms());
    let actor = grant.caller().actor.clone();
    let done = crate::stop::spawn(move || {
        let _held = turn;
        ops::move_ref::move_ref(&inside, &row, &wish, &actor, now_ms)
    });
    let was = done.await.map_err(Error::internal)??;
    app.noted(id).await;
    Ok(was)
}
