//! Delete a repository. Its file stays while forks pin it; the sweep at the next start takes it after that.

use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::error::{Error, Result};
use crate::store::RepoId;
use crate::store::catalog::CatalogError;

use super::reserve;

/// Marks the repository deleted; doing so twice is no error.
pub async fn delete(app: &App, _grant: Grant<Edit>, namespace: &str, name: &str) -> Result<RepoId> {
    let mut done = app.catalog.delete_repo(namespace, name, app.clock.now_ms()).await;
    if matches!(done, Err(CatalogError::Full)) && reserve::give(&app.config.data).map_err(Error::internal)? {
        done = app.catalog.delete_repo(namespace, name, app.clock.now_ms()).await;
    }
    let id = done?;
    app.imports.cancel(id);
    Ok(id)
}
