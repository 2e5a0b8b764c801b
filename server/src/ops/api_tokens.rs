//! Make, list and take back the tokens that open REST.
//!
//! The owner's is none of these: it comes with the start of the server, is for everything, and cannot be taken back here.

use crate::app::App;
use crate::auth::{self, Grant, Owner};
use crate::error::{Error, Result, code};
use crate::limits::{
    API_TOKEN_NAME_BYTES_MAX, API_TOKEN_NAMESPACES_MAX, API_TOKEN_TTL_SECONDS_MAX, TOKEN_TTL_SECONDS_MIN,
};
use crate::store::catalog::{ApiTokenRow, Listed, Right, Window};

/// What the owner says of a new API token.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What it is called; need not be unique.
    pub name: String,
    /// `read` if absent.
    pub right: Option<String>,
    /// The namespaces that it is for, which need not exist; all if absent.
    pub namespaces: Option<Vec<String>>,
    /// Seconds until it expires; never if absent.
    pub ttl_seconds: Option<i64>,
}

/// Makes an API token; also its text, which exists nowhere else.
pub async fn create(app: &App, _grant: &Grant<Owner>, wish: Wish) -> Result<(ApiTokenRow, String)> {
    let name = wish.name.trim();
    if name.is_empty() || name.len() > API_TOKEN_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let rule = format!(
            "a name has 1 to {API_TOKEN_NAME_BYTES_MAX} bytes, none of them of control characters; this one has {}",
            name.len()
        );
        return Err(Error::input("/name", rule));
    }
    let right = Right::from_name(wish.right.as_deref().unwrap_or("read"));
    let right = right.ok_or_else(|| Error::input("/right", "right is read or edit"))?;
    let now = app.clock.now_ms();
    let (text, hash) = auth::api_token();
    let row = ApiTokenRow {
        hash,
        name: name.to_owned(),
        right,
        namespaces: wish.namespaces.map(|names| namespaces(&names)).transpose()?,
        created_at_ms: now,
        expires_at_ms: wish.ttl_seconds.map(|ttl| end(now, ttl)).transpose()?,
        revoked_at_ms: None,
    };
    app.catalog.add_api_token(row.clone()).await?;
    Ok((row, text))
}

/// As they are looked up, each once. None at all would be a token for nothing.
fn namespaces(names: &[String]) -> Result<Vec<String>> {
    if names.is_empty() || names.len() > API_TOKEN_NAMESPACES_MAX {
        let rule = format!(
            "a token is for 1 to {API_TOKEN_NAMESPACES_MAX} namespaces, or for all if absent, not for {}",
            names.len()
        );
        return Err(Error::input("/namespaces", rule));
    }
    let mut folded = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let name =
            super::namespace_name(Some(name)).map_err(|error| error.at(format!("/namespaces/{at}")))?;
        folded.push(name.folded());
    }
    folded.sort_unstable();
    folded.dedup();
    Ok(folded)
}

fn end(now_ms: i64, ttl_seconds: i64) -> Result<i64> {
    if (TOKEN_TTL_SECONDS_MIN..=API_TOKEN_TTL_SECONDS_MAX).contains(&ttl_seconds) {
        return Ok(now_ms.saturating_add(ttl_seconds * 1_000));
    }
    let rule = format!("ttl must be {TOKEN_TTL_SECONDS_MIN} to {API_TOKEN_TTL_SECONDS_MAX} seconds");
    Err(Error::new(code::INVALID_TTL, rule).at("/ttl"))
}

/// All of them, dead ones too for a while, newest first.
pub async fn list(app: &App, _grant: &Grant<Owner>, window: Window) -> Result<Listed<ApiTokenRow>> {
    Ok(app.catalog.api_tokens(window).await?)
}

/// Takes one back; doing so twice is no error.
pub async fn revoke(app: &App, _grant: &Grant<Owner>, id: &str) -> Result<()> {
    Ok(app.catalog.revoke_api_token(id, app.clock.now_ms()).await?)
}
