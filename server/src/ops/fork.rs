//! Fork a repository: a row that pins prefixes of logs. Nothing is copied, whatever the size of the base.

use super::create::Created;
use crate::app::App;
use crate::auth::{self, Edit, Grant};
use crate::error::{Error, Result};
use crate::limits::TOKEN_TTL_SECONDS;
use crate::store::catalog::{NewRepo, Scope};

/// What a caller says of the fork.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The base's namespace.
    pub base_namespace: String,
    /// The base's name.
    pub base_name: String,
    /// Where; the base's namespace if absent.
    pub namespace: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether pushes are refused.
    pub read_only: bool,
    /// The last entry of the base that is seen; its head if absent.
    pub at: Option<u64>,
}

/// Makes the fork; also how many objects it shows.
pub async fn fork(app: &App, grant: Grant<Edit>, wish: Wish) -> Result<(Created, u64)> {
    let base = super::viewed(app, &grant.viewing(), &wish.base_namespace, &wish.base_name).await?;
    let namespace = wish.namespace.as_deref().unwrap_or(&base.namespace);
    let now_ms = app.clock.now_ms();
    let token = auth::issue(Scope::Write, now_ms, TOKEN_TTL_SECONDS);
    let new = NewRepo {
        namespace: super::namespace_name(Some(namespace))?,
        name: super::repo_name(wish.name.as_deref())?,
        description: super::description(wish.description)?,
        default_branch: base.default_branch.clone(),
        object_format: base.object_format,
        read_only: wish.read_only,
        now_ms,
        token: Some(token.row),
    };
    let (opened, base_id, at) = (app.clone(), base.id, wish.at);
    let extent =
        tokio::task::spawn_blocking(move || opened.extent(&base, at)).await.map_err(Error::internal)?;
    let Some((seq, objects)) = extent.map_err(Error::internal)? else {
        return Err(Error::input("/at", "the repository's log ends before that entry"));
    };
    let row = app.catalog.fork_repo(base_id, seq, new).await?;
    Ok((Created { row, token: token.plaintext }, objects))
}
