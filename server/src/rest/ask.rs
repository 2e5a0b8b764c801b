//! What every read route is asked: of which repository, as of when, and what the client has already.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, Uri};

use super::cond::{self, Freshness, Tag};
use super::page::Query;
use super::path::Names;
use crate::app::App;
use crate::auth::{Grant, View};
use crate::budget::Wait;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::at::At;
use crate::ops::read::{Halt, Reading, Work, names};
use crate::ops::room::within;

/// A read request that was let in.
#[derive(Clone)]
pub struct Ask(Arc<Inner>);

/// The parts of an `Ask`, read through it.
pub struct Inner {
    grant: Grant<View>,
    /// The parts of the path.
    pub names: Names,
    /// The query.
    pub query: Query,
    /// The moment that is asked for.
    pub at: Option<At>,
    /// GET or HEAD.
    pub method: Method,
    /// What came with it.
    pub headers: HeaderMap,
    /// The path below the account's base, as it was sent, and the query.
    pub uri: Uri,
}

impl std::ops::Deref for Ask {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl FromRequestParts<App> for Ask {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let grant = Grant::<View>::from_request_parts(parts, app).await?;
        let names = Names::from_request_parts(parts, app).await?;
        let query = Query::from_request_parts(parts, app).await?;
        let at = query.get("at").map(At::parse).transpose()?;
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let headers = std::mem::take(&mut parts.headers);
        Ok(Self(Arc::new(Inner { grant, names, query, at, method, headers, uri })))
    }
}

impl Ask {
    /// The ref that is asked for; empty for the default branch.
    pub fn reference(&self) -> &[u8] {
        self.query.bytes("ref").unwrap_or_default()
    }

    /// How long an answer holds that depends on `name`, a ref: for ever if the moment is an entry's and no setting
    /// decides what the ref is.
    pub fn freshness(&self, name: &[u8]) -> Freshness {
        let is_set = !name.is_empty() && name != b"HEAD";
        self.freshness_of_log().filter(is_set)
    }

    /// How long an answer holds that depends on the log alone.
    pub fn freshness_of_log(&self) -> Freshness {
        if matches!(self.at, Some(At::Seq(_))) { Freshness::Immutable } else { Freshness::Revalidate }
    }

    /// Runs `work` on the repository as of the moment; once more, with more memory, where it must make large objects.
    pub async fn read<T, F>(&self, app: &App, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Ask, &App, Reading) -> Work<T> + Send + Sync + 'static,
    {
        let row = ops::viewed(app, &self.grant, &self.names.ns, &self.names.name).await?;
        let (ask, inner) = (self.clone(), app.clone());
        let run = move |room| work(&ask, &inner, Reading::open(&inner, &row, ask.at, room)?);
        match within(app, Wait::Request, 0, run).await {
            Ok(done) => Ok(done),
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Room(bytes)) => {
                Err(Error::internal(format!("work has room for {bytes} bytes and asks for it")))
            }
        }
    }

    /// Answers JSON that depends on nothing but what the refs show, settings of HEAD, and the question.
    pub async fn answer<F>(&self, app: &App, freshness: Freshness, work: F) -> Result<Response<Body>>
    where
        F: Fn(&Ask, &Reading) -> Work<Response<Body>> + Send + Sync + 'static,
    {
        let run = move |ask: &Ask, _: &App, reading: Reading| {
            let question = ask.uri.to_string();
            let key = names::key(&reading, "answer", &[question.as_bytes()]);
            let tag = Tag::weak(&key);
            if tag.is_had(&ask.headers) {
                return Ok(cond::not_modified(&tag, freshness));
            }
            let mut response = work(ask, &reading)?;
            cond::mark(&mut response, &tag, freshness);
            Ok(response)
        };
        self.read(app, run).await
    }
}
