//! What command lines ask to find out whether their settings are good, and what probes ask.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{self, Envelope, ListEnvelope};
use super::page::{Paging, Query};
use crate::app::App;
use crate::auth::{Grant, View};
use crate::error::{Error, Result, code};
use crate::limits::PAGE_ITEMS_MAX;
use crate::metrics::Now;
use crate::{ops, process};

/// The routes of this file, which are not under the account's base.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(user))
        .routes(routes!(verify))
        .routes(routes!(accounts))
        .routes(routes!(memberships))
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(metrics))
}

/// How something is.
#[derive(Serialize, ToSchema)]
struct Status {
    /// One word.
    status: &'static str,
}

/// The token that the request carries.
#[derive(Serialize, ToSchema)]
struct Verified {
    /// An API token's id, or `owner`.
    id: String,
    /// Always `active`: a dead token is told 401.
    status: &'static str,
}

/// Who the token stands for: the account.
#[derive(Serialize, ToSchema)]
struct User {
    /// The account.
    id: String,
    /// Made up from the account; nobody reads it.
    email: String,
}

/// The account.
#[derive(Serialize, ToSchema)]
struct Account {
    /// What paths name.
    id: String,
    /// The same.
    name: String,
}

/// That the token belongs to the account.
#[derive(Serialize, ToSchema)]
struct Membership {
    /// The account.
    id: String,
    /// The account.
    account: Account,
}

/// Says which token the request carries.
#[utoipa::path(get, path = "/client/v4/user/tokens/verify", operation_id = "verifyToken", tag = "diagnosis",
    responses((status = 200, body = Envelope<Verified>)))]
async fn verify(grant: Grant<View>) -> Response<Body> {
    envelope::one(StatusCode::OK, Verified { id: grant.caller().token_id.clone(), status: "active" })
}

/// Says who the token stands for.
#[utoipa::path(get, path = "/client/v4/user", operation_id = "getUser", tag = "diagnosis",
    responses((status = 200, body = Envelope<User>)))]
async fn user(State(app): State<App>, _grant: Grant<View>) -> Response<Body> {
    let email = format!("{}@cairn.invalid", app.config.account);
    envelope::one(StatusCode::OK, User { id: app.config.account.clone(), email })
}

fn account(app: &App) -> Account {
    Account { id: app.config.account.clone(), name: app.config.account.clone() }
}

fn single<T: Serialize>(query: &Query, item: T) -> Result<Response<Body>> {
    let paging = Paging::new(query, 20, PAGE_ITEMS_MAX)?;
    let items = if paging.window_from_start().skip == 0 { vec![item] } else { Vec::new() };
    let info = paging.info(items.len(), 1, None);
    Ok(envelope::list(items, info))
}

/// Lists the account.
#[utoipa::path(get, path = "/client/v4/accounts", operation_id = "listAccounts", tag = "diagnosis",
    params(("page" = Option<u64>, Query, minimum = 1), ("per_page" = Option<u64>, Query, minimum = 1, maximum = 200)),
    responses((status = 200, body = ListEnvelope<Account>)))]
async fn accounts(State(app): State<App>, _grant: Grant<View>, query: Query) -> Result<Response<Body>> {
    single(&query, account(&app))
}

/// Lists the membership of the token in the account.
#[utoipa::path(get, path = "/client/v4/memberships", operation_id = "listMemberships", tag = "diagnosis",
    params(("page" = Option<u64>, Query, minimum = 1), ("per_page" = Option<u64>, Query, minimum = 1, maximum = 200)),
    responses((status = 200, body = ListEnvelope<Membership>)))]
async fn memberships(State(app): State<App>, _grant: Grant<View>, query: Query) -> Result<Response<Body>> {
    single(&query, Membership { id: app.config.account.clone(), account: account(&app) })
}

/// The server runs and its catalog answers.
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "diagnosis", security(()),
    responses((status = 200, body = Envelope<Status>)))]
async fn health(State(app): State<App>) -> Result<Response<Body>> {
    app.catalog.namespace("-").await?;
    Ok(envelope::one(StatusCode::OK, Status { status: "ok" }))
}

/// The catalog takes changes, and the folder takes files.
#[utoipa::path(get, path = "/readyz", operation_id = "ready", tag = "diagnosis", security(()),
    responses((status = 200, body = Envelope<Status>), (status = 503, description = "10404: not now")))]
async fn ready(State(app): State<App>) -> Result<Response<Body>> {
    app.catalog.ready().await?;
    let probe = app.spool_dir();
    let made =
        tokio::task::spawn_blocking(move || ops::spool::probe(&probe)).await.map_err(Error::internal)?;
    made.map_err(|error| Error {
        cause: Some(error.to_string()),
        ..Error::new(code::NOT_READY, "the disk takes no files")
    })?;
    Ok(envelope::one(StatusCode::OK, Status { status: "ready" }))
}

/// What the server counts, in the form of OpenMetrics. For a caller who may see every namespace.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "diagnosis",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
async fn metrics(State(app): State<App>, grant: Grant<View>) -> Result<Response<Body>> {
    if grant.caller().namespaces.is_some() {
        return Err(Error::new(code::FORBIDDEN, "this API token is not for the whole server"));
    }
    let (repositories, namespaces) = app.catalog.counts().await?;
    let now = Now {
        open_files: app.files.open_count() as u64,
        file_asks: app.files.asks(),
        catalog_queue: app.catalog.queue_len() as u64,
        repositories,
        namespaces,
        stored_bytes: app.catalog.stored_bytes().await?,
        graphs: app.files.graphs(),
        memory_budget_bytes: app.memory.config().budget_bytes,
        memory_taken_bytes: app.memory.taken_bytes(),
        memory_waiting: app.memory.waiting() as u64,
        memory_refused: app.memory.refused(),
        resident_bytes: process::resident_bytes(),
        open_descriptors: process::open_descriptors(),
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], app.metrics.text(now)).into_response())
}

/// Everything that is no route.
pub async fn missing() -> Error {
    Error::new(code::NOT_FOUND, "Route not found")
}

/// A route that does not know the method.
pub async fn method() -> Error {
    Error::new(code::INVALID_INPUT, "Method not allowed").with_status(405)
}
