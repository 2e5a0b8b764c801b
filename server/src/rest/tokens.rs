//! Tokens of repositories.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde_json::json;

use super::body::Fields;
use super::envelope;
use super::page::{Paging, Query};
use super::path::Names;
use crate::app::App;
use crate::auth::{Edit, Grant, View};
use crate::clock::rfc3339;
use crate::error::{Error, Result, code};
use crate::limits::{TOKEN_PAGE_ITEMS, TOKEN_PAGE_ITEMS_MAX};
use crate::ops;
use crate::store::catalog::TokenState;

/// `POST /namespaces/{ns}/tokens`
pub async fn issue(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    fields: Fields,
) -> Result<Response<Body>> {
    let ttl = match fields.get("/ttl") {
        None => None,
        Some(value) => Some(value.as_i64().ok_or_else(|| {
            Error::new(code::INVALID_TTL, "ttl must be a whole number of seconds").at("/ttl")
        })?),
    };
    let repo = fields.text("/repo")?.unwrap_or_default();
    let scope = fields.text("/scope")?;
    let token = ops::tokens::issue(&app, grant, &names.ns, &repo, scope.as_deref(), ttl).await?;
    let result = json!({
        "id": token.row.hash.id(),
        "plaintext": token.plaintext,
        "scope": token.row.scope.name(),
        "expires_at": rfc3339(token.row.expires_at_ms),
    });
    Ok(envelope::one(StatusCode::CREATED, result))
}

/// `GET /namespaces/{ns}/repos/{name}/tokens`
pub async fn list(
    State(app): State<App>,
    _grant: Grant<View>,
    names: Names,
    query: Query,
) -> Result<Response<Body>> {
    let paging = Paging::new(&query, TOKEN_PAGE_ITEMS, TOKEN_PAGE_ITEMS_MAX)?;
    let state = match query.get("state") {
        None | Some("active") => Some(TokenState::Active),
        Some("expired") => Some(TokenState::Expired),
        Some("revoked") => Some(TokenState::Revoked),
        Some("all") => None,
        Some(_) => return Err(Error::input("/state", "state is active, expired, revoked or all")),
    };
    let row = app.catalog.resolve(&names.ns, &names.name).await?.ok_or_else(Error::repo_missing)?;
    let now = app.clock.now_ms();
    let listed = app.catalog.tokens(row.id, state, now, paging.window_from_start()).await?;
    let items = listed.items.iter().map(|token| {
        json!({
            "id": token.hash.id(),
            "scope": token.scope.name(),
            "state": token.state(now).name(),
            "created_at": rfc3339(token.created_at_ms),
            "expires_at": rfc3339(token.expires_at_ms),
        })
    });
    let info = paging.info(listed.items.len(), listed.total, None);
    Ok(envelope::list(items.collect(), info))
}

/// `DELETE /namespaces/{ns}/tokens/{id}`
pub async fn revoke(State(app): State<App>, grant: Grant<Edit>, names: Names) -> Result<Response<Body>> {
    ops::tokens::revoke(&app, grant, &names.ns, &names.id).await?;
    Ok(envelope::one(StatusCode::OK, json!({ "id": names.id })))
}
