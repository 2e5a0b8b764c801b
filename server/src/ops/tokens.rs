//! Issue and take back the tokens that open git.

use crate::app::App;
use crate::auth::{self, Edit, Grant, Issued};
use crate::error::{Error, Result, code};
use crate::limits::{TOKEN_TTL_SECONDS, TOKEN_TTL_SECONDS_MAX, TOKEN_TTL_SECONDS_MIN};
use crate::store::catalog::Scope;

/// Makes a token for the repository of that name. The life is checked before the repository is looked up.
pub async fn issue(
    app: &App,
    _grant: Grant<Edit>,
    namespace: &str,
    repo: &str,
    scope: Option<&str>,
    ttl_seconds: Option<i64>,
) -> Result<Issued> {
    let ttl = ttl_seconds.unwrap_or(TOKEN_TTL_SECONDS);
    if !(TOKEN_TTL_SECONDS_MIN..=TOKEN_TTL_SECONDS_MAX).contains(&ttl) {
        let message = format!("ttl must be {TOKEN_TTL_SECONDS_MIN} to {TOKEN_TTL_SECONDS_MAX} seconds");
        return Err(Error::new(code::INVALID_TTL, message).at("/ttl"));
    }
    let scope = Scope::from_name(scope.unwrap_or("write"));
    let scope = scope.ok_or_else(|| Error::input("/scope", "scope is read or write"))?;
    let row = app.catalog.resolve(namespace, repo).await?.ok_or_else(Error::repo_missing)?;
    let token = auth::issue(scope, app.clock.now_ms(), ttl);
    app.catalog.add_token(row.id, token.row).await?;
    Ok(token)
}

/// Takes a token back; doing so twice is no error.
pub async fn revoke(app: &App, _grant: Grant<Edit>, namespace: &str, id: &str) -> Result<()> {
    Ok(app.catalog.revoke_token(namespace, id, app.clock.now_ms()).await?)
}
