//! The check of REST requests, as an argument of handlers.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header;
use axum::http::request::Parts;

use super::{Admin, Grant};
use crate::app::App;
use crate::error::{Error, code};

impl FromRequestParts<App> for Grant<Admin> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION.as_str())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let known = bearer.or_else(|| text("x-auth-key")).is_some_and(|token| app.api_token.is(token));
        if !known {
            return Err(Error::new(code::AUTHENTICATION, "Authentication error"));
        }
        let params = RawPathParams::from_request_parts(parts, app).await;
        let params = params.map_err(|_| Error::input("/path", "the path is not UTF-8"))?;
        match params.iter().find(|(name, _)| *name == "account") {
            Some((_, account)) if account != app.config.account => {
                Err(Error::new(code::FORBIDDEN, "this server does not hold that account"))
            }
            _ => Ok(Self(PhantomData)),
        }
    }
}
