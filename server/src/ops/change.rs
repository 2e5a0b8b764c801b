//! Change a repository's settings.

use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::error::Result;
use crate::store::catalog::{RepoChange, RepoRow};

/// Applies `change` to the repository of that name.
pub async fn change(
    app: &App,
    grant: Grant<Edit>,
    namespace: &str,
    name: &str,
    change: RepoChange,
) -> Result<RepoRow> {
    let row = super::viewed(app, &grant.viewing(), namespace, name).await?;
    let change = RepoChange {
        description: change.description.map(super::description).transpose()?,
        default_branch: change.default_branch.map(super::branch).transpose()?,
        read_only: change.read_only,
    };
    Ok(app.catalog.change_repo(row.id, change, app.clock.now_ms()).await?)
}
