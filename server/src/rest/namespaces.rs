//! Namespaces.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Input;
use super::envelope::{self, Envelope, ListEnvelope};
use super::page::{Paging, Query};
use super::path::Names;
use crate::app::App;
use crate::auth::{Edit, Grant, View};
use crate::clock::rfc3339;
use crate::error::{Error, Result, code};
use crate::limits::{NAMESPACE_PAGE_ITEMS, PAGE_ITEMS_MAX};
use crate::ops;
use crate::store::catalog::NamespaceRow;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, delete))
}

/// A namespace.
#[derive(Serialize, ToSchema)]
pub struct Namespace {
    /// Its name, as it was spelled.
    namespace: String,
    /// Always `unrestricted`.
    jurisdiction: &'static str,
    /// How many repositories it holds.
    repo_count: u64,
    /// RFC 3339, UTC.
    created_at: String,
    /// RFC 3339, UTC.
    updated_at: String,
}

impl From<&NamespaceRow> for Namespace {
    fn from(row: &NamespaceRow) -> Self {
        Self {
            namespace: row.name.clone(),
            jurisdiction: "unrestricted",
            repo_count: row.repo_count,
            created_at: rfc3339(row.created_at_ms),
            updated_at: rfc3339(row.updated_at_ms),
        }
    }
}

/// A namespace to be made.
#[derive(Deserialize, ToSchema)]
pub struct NewNamespace {
    /// Its name.
    namespace: Option<String>,
    /// Taken and not used: there is one place.
    #[serde(rename = "jurisdiction")]
    _jurisdiction: Option<String>,
}

/// Makes a namespace.
#[utoipa::path(post, path = "/namespaces", tag = "namespaces", request_body = NewNamespace,
    responses((status = 201, body = Envelope<Namespace>), (status = 409, description = "10201: the name is taken")))]
async fn create(
    State(app): State<App>,
    grant: Grant<Edit>,
    Input(new): Input<NewNamespace>,
) -> Result<Response<Body>> {
    let name = ops::namespace_name(new.namespace.as_deref())?;
    grant.check_namespace(name.as_str())?;
    let row = app.catalog.create_namespace(name, app.clock.now_ms()).await?;
    Ok(envelope::one(StatusCode::CREATED, Namespace::from(&row)))
}

/// Lists namespaces in the order of their names.
#[utoipa::path(get, path = "/namespaces", tag = "namespaces",
    params(("limit" = Option<u64>, Query), ("cursor" = Option<String>, Query), ("page" = Option<u64>, Query)),
    responses((status = 200, body = ListEnvelope<Namespace>)))]
async fn list(State(app): State<App>, _grant: Grant<View>, query: Query) -> Result<Response<Body>> {
    let paging = Paging::new(&query, NAMESPACE_PAGE_ITEMS, PAGE_ITEMS_MAX)?;
    let listed = app.catalog.namespaces(paging.window_from_start()).await?;
    let last = listed.items.last().map(|row| row.name.as_str());
    let info = paging.info(listed.items.len(), listed.total, last);
    Ok(envelope::list(listed.items.iter().map(Namespace::from).collect(), info))
}

/// Shows a namespace.
#[utoipa::path(get, path = "/namespaces/{ns}", tag = "namespaces", params(("ns" = String, Path)),
    responses((status = 200, body = Envelope<Namespace>), (status = 404, description = "10200: there is none")))]
async fn get(State(app): State<App>, _grant: Grant<View>, names: Names) -> Result<Response<Body>> {
    let row = app.catalog.namespace(&names.ns).await?;
    let row = row.ok_or_else(|| Error::new(code::NOT_FOUND, "Namespace not found"))?;
    Ok(envelope::one(StatusCode::OK, Namespace::from(&row)))
}

/// Deletes a namespace; with its repositories where `force` is true.
#[utoipa::path(delete, path = "/namespaces/{ns}", tag = "namespaces",
    params(("ns" = String, Path), ("force" = Option<bool>, Query)),
    responses((status = 204), (status = 409, description = "10100: it holds repositories")))]
async fn delete(
    State(app): State<App>,
    _grant: Grant<Edit>,
    names: Names,
    query: Query,
) -> Result<Response<Body>> {
    let force = query.get("force") == Some("true");
    app.catalog.delete_namespace(&names.ns, force, app.clock.now_ms()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
