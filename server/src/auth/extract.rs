//! The check of REST requests, as an argument of handlers.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header;
use axum::http::request::Parts;

use super::{Caller, Edit, Grant, View};
use crate::app::App;
use crate::error::{Error, code};

impl FromRequestParts<App> for Grant<View> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Ok(Self::new(caller(parts, app).await?))
    }
}

impl FromRequestParts<App> for Grant<Edit> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Ok(Self::new(caller(parts, app).await?))
    }
}

/// Who the request is from, if it may name the account and the namespace of its path.
async fn caller(parts: &mut Parts, app: &App) -> Result<Arc<Caller>, Error> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION.as_str())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let known = bearer.or_else(|| text("x-auth-key")).is_some_and(|token| app.api_token.is(token));
    if !known {
        return Err(Error::new(code::AUTHENTICATION, "Authentication error"));
    }
    let caller = Arc::new(Caller { actor: "api:owner".into(), namespaces: None });
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
    Ok(caller)
}
