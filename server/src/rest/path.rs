//! Parts of the path, percent-decoded, with or without the account in front.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use crate::app::App;
use crate::error::Error;

/// The parts of a route that have names; those that it lacks are empty.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `{ns}`: the namespace.
    pub ns: String,
    /// `{name}`: the repository.
    pub name: String,
    /// `{id}`: a token; `{hash}`: an object.
    pub id: String,
    /// `{*rest}`: what follows, slashes included.
    pub rest: String,
}

impl FromRequestParts<App> for Names {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let params = RawPathParams::from_request_parts(parts, app).await;
        let params = params.map_err(|_| Error::input("/path", "the path is not UTF-8"))?;
        let mut names = Self::default();
        for (key, value) in &params {
            match key {
                "ns" => names.ns = value.to_owned(),
                "name" => names.name = value.to_owned(),
                "id" | "hash" => names.id = value.to_owned(),
                "rest" => names.rest = value.to_owned(),
                _ => {}
            }
        }
        Ok(names)
    }
}
