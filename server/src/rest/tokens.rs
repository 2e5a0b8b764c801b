//! Tokens of repositories.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
use crate::limits::{TOKEN_PAGE_ITEMS, TOKEN_PAGE_ITEMS_MAX};
use crate::ops;
use crate::store::catalog::TokenState;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(issue)).routes(routes!(revoke))
}

/// A token to be made.
#[derive(Deserialize, ToSchema)]
pub struct NewToken {
    /// The repository that it opens.
    #[schema(max_length = 63, pattern = "^[a-zA-Z0-9][a-zA-Z0-9._-]*$")]
    repo: Option<String>,
    /// `read` or `write`; `write` if absent.
    #[schema(pattern = "^(read|write)$")]
    scope: Option<String>,
    /// Seconds until it expires; 86400 if absent.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 60, maximum = 31_536_000)]
    ttl: Value,
}

/// A new token.
#[derive(Serialize, ToSchema)]
pub struct TokenNew {
    /// Its public id.
    id: String,
    /// What git sends as the password: `art_v1_<40 hex>?expires=<unix seconds>`. Shown this once.
    plaintext: String,
    /// `read` or `write`.
    scope: &'static str,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// A token as lists show it.
#[derive(Serialize, ToSchema)]
pub struct TokenInfo {
    /// Its public id.
    id: String,
    /// `read` or `write`.
    scope: &'static str,
    /// `active`, `expired` or `revoked`.
    state: &'static str,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// What was taken back.
#[derive(Serialize, ToSchema)]
pub struct RevokedToken {
    /// The id, as it was given.
    id: String,
}

/// Makes a token that opens git on one repository. The life is checked before the repository is looked up.
#[utoipa::path(post, path = "/namespaces/{ns}/tokens", operation_id = "createToken", tag = "tokens",
    params(("ns" = String, Path)), request_body = NewToken,
    responses((status = 201, body = Envelope<TokenNew>), (status = 400, description = "10103: a bad life"),
        (status = 404, description = "10200: there is no such repository")))]
async fn issue(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    Input(new): Input<NewToken>,
) -> Result<Response<Body>> {
    let ttl = match new.ttl {
        Value::Null => None,
        value => Some(value.as_i64().ok_or_else(|| {
            Error::new(code::INVALID_TTL, "ttl must be a whole number of seconds").at("/ttl")
        })?),
    };
    let repo = new.repo.unwrap_or_default();
    let token = ops::tokens::issue(&app, grant, &names.ns, &repo, new.scope.as_deref(), ttl).await?;
    let result = TokenNew {
        id: token.row.hash.id(),
        plaintext: token.plaintext,
        scope: token.row.scope.name(),
        expires_at: rfc3339(token.row.expires_at_ms),
    };
    Ok(envelope::one(StatusCode::CREATED, result))
}

/// Lists a repository's tokens, the newest first.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/tokens", operation_id = "listTokens", tag = "tokens",
    params(("ns" = String, Path), ("name" = String, Path),
        ("state" = Option<String>, Query, pattern = "^(active|expired|revoked|all)$",
            description = "active, expired, revoked or all; active if absent"),
        ("per_page" = Option<u64>, Query, minimum = 1, maximum = 100, description = "tokens on a page; 30 if absent"),
        ("page" = Option<u64>, Query, minimum = 1, description = "number of the page")),
    responses((status = 200, body = ListEnvelope<TokenInfo>), (status = 404, description = "10200: no such repository")))]
async fn list(
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
    let items = listed.items.iter().map(|token| TokenInfo {
        id: token.hash.id(),
        scope: token.scope.name(),
        state: token.state(now).name(),
        created_at: rfc3339(token.created_at_ms),
        expires_at: rfc3339(token.expires_at_ms),
    });
    let info = paging.info(listed.items.len(), listed.total, None);
    Ok(envelope::list(items.collect(), info))
}

/// Takes a token back, from the next request on; doing so twice is no error.
#[utoipa::path(delete, path = "/namespaces/{ns}/tokens/{id}", operation_id = "revokeToken", tag = "tokens",
    params(("ns" = String, Path), ("id" = String, Path, pattern = "^[0-9a-v]{16}$", description = "the token's id")),
    responses((status = 200, body = Envelope<RevokedToken>), (status = 404, description = "10200: there is none")))]
async fn revoke(State(app): State<App>, grant: Grant<Edit>, names: Names) -> Result<Response<Body>> {
    ops::tokens::revoke(&app, grant, &names.ns, &names.id).await?;
    Ok(envelope::one(StatusCode::OK, RevokedToken { id: names.id }))
}
