//! Delete a repository. Its file stays while forks pin it; the sweep at the next start takes it after that.

use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::error::Result;
use crate::store::RepoId;

/// Marks the repository deleted; doing so twice is no error.
pub async fn delete(app: &App, _grant: Grant<Edit>, namespace: &str, name: &str) -> Result<RepoId> {
    let id = app.catalog.delete_repo(namespace, name, app.clock.now_ms()).await?;
    app.imports.cancel(id);
    Ok(id)
}
