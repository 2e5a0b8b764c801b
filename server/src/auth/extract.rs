//! The check of REST requests, as an argument of handlers.
//!
//! The token is looked up for each request, so that taking one back counts from the next request on.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header;
use axum::http::request::Parts;

use super::{Caller, Edit, Grant, Owner, View, token};
use crate::app::App;
use crate::error::{Error, code};
use crate::limits::CREDENTIAL_BYTES_MAX;
use crate::store::catalog::{Right, TokenState};

/// What a token may do at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    View,
    Edit,
    Owner,
}

impl FromRequestParts<App> for Grant<View> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Ok(Self::new(caller(parts, app, Reach::View).await?))
    }
}

impl FromRequestParts<App> for Grant<Edit> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Ok(Self::new(caller(parts, app, Reach::Edit).await?))
    }
}

impl FromRequestParts<App> for Grant<Owner> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Ok(Self::new(caller(parts, app, Reach::Owner).await?))
    }
}

/// Who the request is from, if it may name the account and the namespace of its path.
async fn caller(parts: &mut Parts, app: &App, needed: Reach) -> Result<Arc<Caller>, Error> {
    let refused = || Error::new(code::AUTHENTICATION, "Authentication error");
    let text = credentials(parts).filter(|text| text.len() <= CREDENTIAL_BYTES_MAX).ok_or_else(refused)?;
    let (caller, reach) = known(app, text).await?.ok_or_else(refused)?;
    let caller = Arc::new(caller);
    let params = RawPathParams::from_request_parts(parts, app).await;
    let params = params.map_err(|_| Error::input("/path", "the path is not UTF-8"))?;
    for (name, value) in &params {
        match name {
            "account" if value != app.config.account => {
                return Err(Error::new(code::FORBIDDEN, "this server does not hold that account"));
            }
            "ns" => Grant::<View>::new(Arc::clone(&caller)).check_namespace(value)?,
            _ => {}
        }
    }
    let namespace = params.iter().find(|(name, _)| *name == "ns").map(|(_, value)| value);
    app.admit(&caller.actor, namespace).map_err(Error::rate_limited)?;
    match needed {
        needed if reach >= needed => Ok(caller),
        Reach::Owner => Err(Error::new(code::FORBIDDEN, "only the owner's API token may do this")),
        _ => Err(Error::new(code::FORBIDDEN, "this API token may look at things, but not change them")),
    }
}

/// The text of the token, in either header that clients put it in.
fn credentials(parts: &Parts) -> Option<&str> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION.as_str())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    bearer.or_else(|| text("x-auth-key"))
}

/// Whose token it is; `None` where it opens nothing.
async fn known(app: &App, text: &str) -> Result<Option<(Caller, Reach)>, Error> {
    if app.api_token.is(text) {
        let caller = Caller { actor: "api:owner".into(), namespaces: None, token_id: "owner".into() };
        return Ok(Some((caller, Reach::Owner)));
    }
    // A look-up by hash tells by its time what the hash of a guess is near to, which nobody can aim.
    let Some(hash) = token::parse_api_token(text) else { return Ok(None) };
    let Some(row) = app.catalog.api_token(hash).await? else { return Ok(None) };
    if row.state(app.clock.now_ms()) != TokenState::Active {
        return Ok(None);
    }
    let token_id = hash.id();
    let caller = Caller { actor: format!("api:{token_id}"), namespaces: row.namespaces, token_id };
    let reach = match row.right {
        Right::Read => Reach::View,
        Right::Edit => Reach::Edit,
    };
    Ok(Some((caller, reach)))
}
