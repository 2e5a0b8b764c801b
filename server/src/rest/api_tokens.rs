//! Tokens that open REST. Only the owner's token opens these routes.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Input;
use super::envelope::{self, Envelope, ListEnvelope};
use super::page::{Paging, Query};
use super::path::Names;
use crate::app::App;
use crate::auth::{Grant, Owner};
use crate::clock::rfc3339;
use crate::error::Result;
use crate::limits::{TOKEN_PAGE_ITEMS, TOKEN_PAGE_ITEMS_MAX};
use crate::ops;
use crate::store::catalog::ApiTokenRow;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// An API token as lists show it.
#[derive(Serialize, ToSchema)]
pub struct ApiToken {
    /// Its public id.
    id: String,
    /// What its owner calls it.
    name: String,
    /// `read` or `edit`.
    right: &'static str,
    /// The namespaces that it is for, in lower case; null for all.
    namespaces: Option<Vec<String>>,
    /// `active`, `expired` or `revoked`.
    state: &'static str,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
    /// RFC 3339, UTC; null for never.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

impl ApiToken {
    /// As it is at `now_ms`.
    pub fn new(row: &ApiTokenRow, now_ms: i64) -> Self {
        Self {
            id: row.hash.id(),
            name: row.name.clone(),
            right: row.right.name(),
            namespaces: row.namespaces.clone(),
            state: row.state(now_ms).name(),
            created_at: rfc3339(row.created_at_ms),
            expires_at: row.expires_at_ms.map(rfc3339),
        }
    }
}

/// A new API token, with its text, which is shown this once.
#[derive(Serialize, ToSchema)]
pub struct MadeApiToken {
    /// What lists show of it.
    #[serde(flatten)]
    token: ApiToken,
    /// `cairn_v1_` and 40 digits of hex.
    plaintext: String,
}

impl MadeApiToken {
    /// Of a token that was just made.
    pub fn new(row: &ApiTokenRow, plaintext: String) -> Self {
        Self { token: ApiToken::new(row, row.created_at_ms), plaintext }
    }
}

/// An API token to be made.
#[derive(Deserialize, ToSchema)]
pub struct NewApiToken {
    /// What it is called; need not be unique. Up to 100 bytes.
    #[schema(min_length = 1, max_length = 25, pattern = "^[a-zA-Z0-9][a-zA-Z0-9 ._-]*$")]
    name: String,
    /// `read` looks at things, `edit` changes them too; `read` if absent.
    #[schema(pattern = "^(read|edit)$")]
    right: Option<String>,
    /// The namespaces that it is for, which need not exist; all if absent.
    #[schema(min_items = 1, max_items = 64)]
    namespaces: Option<Vec<String>>,
    /// Seconds until it expires; never if absent.
    #[schema(minimum = 60, maximum = 315_360_000)]
    ttl: Option<i64>,
}

/// What was taken back.
#[derive(Serialize, ToSchema)]
pub struct Revoked {
    /// The id, as it was given.
    id: String,
}

/// Makes an API token. Only the owner's token may.
#[utoipa::path(post, path = "/api-tokens", operation_id = "createApiToken", tag = "api tokens",
    request_body = NewApiToken,
    responses((status = 201, body = Envelope<MadeApiToken>)))]
async fn create(
    State(app): State<App>,
    grant: Grant<Owner>,
    Input(new): Input<NewApiToken>,
) -> Result<Response<Body>> {
    let wish = ops::api_tokens::Wish {
        name: new.name,
        right: new.right,
        namespaces: new.namespaces,
        ttl_seconds: new.ttl,
    };
    let (row, plaintext) = ops::api_tokens::create(&app, &grant, wish).await?;
    Ok(envelope::one(StatusCode::CREATED, MadeApiToken::new(&row, plaintext)))
}

/// Lists API tokens, the newest first; dead ones for 30 days more. Only the owner's token may.
#[utoipa::path(get, path = "/api-tokens", operation_id = "listApiTokens", tag = "api tokens",
    params(("page" = Option<u64>, Query, minimum = 1, description = "number of the page"),
        ("per_page" = Option<u64>, Query, minimum = 1, maximum = 100, description = "tokens on a page; 30 if absent")),
    responses((status = 200, body = ListEnvelope<ApiToken>)))]
async fn list(State(app): State<App>, grant: Grant<Owner>, query: Query) -> Result<Response<Body>> {
    let paging = Paging::new(&query, TOKEN_PAGE_ITEMS, TOKEN_PAGE_ITEMS_MAX)?;
    let listed = ops::api_tokens::list(&app, &grant, paging.window_from_start()).await?;
    let now = app.clock.now_ms();
    let last = listed.items.last().map(|row| row.hash.id());
    let info = paging.info(listed.items.len(), listed.total, last.as_deref());
    Ok(envelope::list(listed.items.iter().map(|row| ApiToken::new(row, now)).collect(), info))
}

/// Takes an API token back, from the next request on; doing so twice is no error. Only the owner's token may.
#[utoipa::path(delete, path = "/api-tokens/{id}", operation_id = "revokeApiToken", tag = "api tokens",
    params(("id" = String, Path, pattern = "^[0-9a-v]{16}$", description = "the token's id")),
    responses((status = 200, body = Envelope<Revoked>), (status = 404, description = "10200: there is none")))]
async fn revoke(State(app): State<App>, grant: Grant<Owner>, names: Names) -> Result<Response<Body>> {
    ops::api_tokens::revoke(&app, &grant, &names.id).await?;
    Ok(envelope::one(StatusCode::OK, Revoked { id: names.id }))
}
