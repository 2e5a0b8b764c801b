//! Imports.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Input;
use super::envelope;
use super::path::Names;
use super::repos::created_shape;
use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::error::Result;
use crate::jobs::import::{self, Wish};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create))
}

/// A repository to be imported.
#[derive(Deserialize, ToSchema)]
pub struct NewImport {
    /// An HTTPS URL of a git remote. Credentials in it are used once and kept nowhere.
    url: Option<String>,
    /// The one branch that is wanted; all branches and tags if absent.
    branch: Option<String>,
    /// Commits of history to take, from 1; all if absent.
    depth: Option<u32>,
    /// Whether pushes are refused afterwards.
    read_only: Option<bool>,
    /// The remote's user. Used once and kept nowhere.
    username: Option<String>,
    /// The remote's password. Used once and kept nowhere.
    password: Option<String>,
    /// A token of the remote, sent as the password. Used once and kept nowhere.
    token: Option<String>,
}

/// Imports a repository from a git remote. The answer comes when it is done or, for a large one, while it is under way:
/// until then lists show it as `importing`, and everything else answers 409.
#[utoipa::path(post, path = "/namespaces/{ns}/repos/{name}/import", tag = "repositories",
    params(("ns" = String, Path), ("name" = String, Path)), request_body = NewImport,
    responses((status = 201, description = "done or under way"),
        (status = 400, description = "10100: no HTTPS URL, or a field breaks a rule; 10104: nothing there speaks git"),
        (status = 409, description = "10201: the name is taken"),
        (status = 422, description = "10106: the remote asks for credentials; 10403: it is larger than allowed"),
        (status = 502, description = "10401: the remote cannot be reached")))]
async fn create(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    Input(new): Input<NewImport>,
) -> Result<Response<Body>> {
    let wish = Wish {
        namespace: names.ns,
        name: Some(names.name),
        url: new.url,
        branch: new.branch,
        depth: new.depth,
        read_only: new.read_only.unwrap_or(false),
        username: new.username,
        password: new.password,
        token: new.token,
    };
    let created = import::begin(&app, grant, wish).await?;
    Ok(envelope::one(StatusCode::CREATED, created_shape(&app, &created)))
}
