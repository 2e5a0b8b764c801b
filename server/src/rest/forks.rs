//! Forks.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Input;
use super::envelope::{self, Envelope};
use super::path::Names;
use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::error::Result;
use crate::ops;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create))
}

/// A number, or a text that may hold one.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum ForkPoint {
    /// The number of an entry.
    Seq(u64),
    /// The number of an entry, an RFC 3339 time, or the whole hash of a commit.
    Text(String),
}

impl From<ForkPoint> for String {
    fn from(moment: ForkPoint) -> Self {
        match moment {
            ForkPoint::Seq(seq) => seq.to_string(),
            ForkPoint::Text(text) => text,
        }
    }
}

/// A fork to be made.
#[derive(Deserialize, ToSchema)]
pub struct NewFork {
    /// Its name.
    name: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// Whether pushes and REST writes are refused; false if absent.
    read_only: Option<bool>,
    /// Whether it shows the base's default branch alone; false if absent. Nothing that only other refs reach is served.
    default_branch_only: Option<bool>,
    /// Where; the base's namespace if absent. Made if there is none.
    namespace: Option<String>,
    /// What of the base is seen: everything up to an entry (its number), up to a time, or up to the entry that first
    /// showed a commit, at which the default branch then stands. All of it if absent.
    at: Option<ForkPoint>,
}

/// A new fork.
#[derive(Serialize, ToSchema)]
pub struct CreatedFork {
    /// Its id.
    id: String,
    /// Its name, as it was spelled.
    name: String,
    /// What it is for.
    description: Option<String>,
    /// The branch that HEAD names.
    default_branch: String,
    /// Where git finds it.
    remote: String,
    /// A write token for git.
    token: String,
    /// Objects in the logs that it stands on. With `default_branch_only`, not all of them are reachable.
    objects: u64,
}

/// Forks a repository. Nothing is copied: the fork pins what the base shows at this moment, or at the one in `at`, and
/// sees nothing that the base gets later. It stays whole when the base is deleted.
#[utoipa::path(post, path = "/namespaces/{ns}/repos/{name}/fork", tag = "repositories", request_body = NewFork,
    params(("ns" = String, Path), ("name" = String, Path)),
    responses((status = 201, body = Envelope<CreatedFork>),
        (status = 400, description = "10100: a bad `at`; 10101: a bad name"),
        (status = 403, description = "10107: the API token is not for that namespace"),
        (status = 404, description = "10200: there is no such repository"),
        (status = 409, description = "10201: the name is taken"),
        (status = 422, description = "10403: the fork would stand on too many logs")))]
async fn create(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    Input(new): Input<NewFork>,
) -> Result<Response<Body>> {
    let wish = ops::fork::Wish {
        base_namespace: names.ns,
        base_name: names.name,
        namespace: new.namespace,
        name: new.name,
        description: new.description,
        read_only: new.read_only.unwrap_or(false),
        default_branch_only: new.default_branch_only.unwrap_or(false),
        at: new.at.map(String::from),
    };
    let (created, objects) = ops::fork::fork(&app, grant, wish).await?;
    let row = created.row;
    let result = CreatedFork {
        remote: app.remote(&row),
        id: row.id.to_string(),
        name: row.name,
        description: row.description,
        default_branch: row.default_branch,
        token: created.token,
        objects,
    };
    Ok(envelope::one(StatusCode::CREATED, result))
}
