//! What command lines ask to find out whether their settings are good, what probes ask, and the table of errors.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::envelope;
use super::page::{Paging, Query};
use crate::app::App;
use crate::auth::{Grant, View};
use crate::error::{Error, Result, code};
use crate::limits::PAGE_ITEMS_MAX;
use crate::metrics::Now;
use crate::ops;

/// `GET /client/v4/user/tokens/verify`
pub async fn verify(State(app): State<App>, _grant: Grant<View>) -> Response<Body> {
    envelope::one(StatusCode::OK, json!({ "id": app.config.account, "status": "active" }))
}

/// `GET /client/v4/user`
pub async fn user(State(app): State<App>, _grant: Grant<View>) -> Response<Body> {
    let email = format!("{}@cairn.invalid", app.config.account);
    envelope::one(StatusCode::OK, json!({ "id": app.config.account, "email": email }))
}

fn account(app: &App) -> Value {
    json!({ "id": app.config.account, "name": app.config.account })
}

fn single(query: &Query, item: Value) -> Result<Response<Body>> {
    let paging = Paging::new(query, 20, PAGE_ITEMS_MAX)?;
    let items = if paging.window_from_start().skip == 0 { vec![item] } else { Vec::new() };
    let info = paging.info(items.len(), 1, None);
    Ok(envelope::list(items, info))
}

/// `GET /client/v4/accounts`
pub async fn accounts(State(app): State<App>, _grant: Grant<View>, query: Query) -> Result<Response<Body>> {
    single(&query, account(&app))
}

/// `GET /client/v4/memberships`
pub async fn memberships(
    State(app): State<App>,
    _grant: Grant<View>,
    query: Query,
) -> Result<Response<Body>> {
    single(&query, json!({ "id": app.config.account, "account": account(&app) }))
}

/// `GET /healthz`: the catalog answers.
pub async fn health(State(app): State<App>) -> Result<Response<Body>> {
    app.catalog.namespace("-").await?;
    Ok(envelope::one(StatusCode::OK, json!({ "status": "ok" })))
}

/// `GET /readyz`: the catalog takes changes, and the folder takes files.
pub async fn ready(State(app): State<App>) -> Result<Response<Body>> {
    app.catalog.ready().await?;
    let probe = app.spool_dir();
    let made =
        tokio::task::spawn_blocking(move || ops::spool::probe(&probe)).await.map_err(Error::internal)?;
    made.map_err(|error| Error {
        cause: Some(error.to_string()),
        ..Error::new(code::NOT_READY, "the disk takes no files")
    })?;
    Ok(envelope::one(StatusCode::OK, json!({ "status": "ready" })))
}

/// `GET /metrics`: for a caller who may see every namespace.
pub async fn metrics(State(app): State<App>, grant: Grant<View>) -> Result<Response<Body>> {
    if grant.caller().namespaces.is_some() {
        return Err(Error::new(code::FORBIDDEN, "this API token is not for the whole server"));
    }
    let (repositories, namespaces) = app.catalog.counts().await?;
    let now = Now {
        open_files: app.files.open_count() as u64,
        catalog_queue: app.catalog.queue_len() as u64,
        repositories,
        namespaces,
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], app.metrics.text(now)).into_response())
}

/// `GET /docs/errors`
pub async fn errors() -> Response<Body> {
    let row = |code: &code::Code| {
        let retry = if code.retry { "yes" } else { "no" };
        format!("| {} | {} | {} | {retry} | {} |\n", code.number, code.name, code.status, code.meaning)
    };
    let rows: String = code::ALL.iter().map(row).collect();
    let page =
        format!("# Error codes\n\n| code | name | status | retry | meaning |\n|---|---|---|---|---|\n{rows}");
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], page).into_response()
}

/// Everything that is no route.
pub async fn missing() -> Error {
    Error::new(code::NOT_FOUND, "Route not found")
}

/// A route that does not know the method.
pub async fn method() -> Error {
    Error::new(code::INVALID_INPUT, "Method not allowed").with_status(405)
}
