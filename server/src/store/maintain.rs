//! Care for everything under the data folder: check, sweep.
//!
//! Work on repository files comes in as a closure, so that this module knows the order and not the files.

use super::catalog::{Catalog, CatalogError, RepoRow};
use super::id::RepoId;

/// Why care for a repository's file failed, in words for the operator.
pub type FileError = Box<dyn std::error::Error + Send + Sync>;

/// Repositories read from the catalog at a time.
const BATCH_REPOS: u32 = 1_000;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Repositories looked at.
    pub repo_count: u64,
    /// What is wrong, a line each.
    pub findings: Vec<String>,
}

/// Checks the catalog, then each live repository with `repo`, which returns its findings.
pub async fn fsck_all<F>(catalog: &Catalog, mut repo: F) -> Result<Report, CatalogError>
where
    F: FnMut(&RepoRow) -> Result<Vec<String>, FileError>,
{
    let mut report = Report::default();
    report.findings.extend(catalog.integrity().await?.into_iter().map(|line| format!("catalog: {line}")));
    each_repo(catalog, |row| {
        report.repo_count += 1;
        let found = repo(row).unwrap_or_else(|error| vec![error.to_string()]);
        let (id, namespace, name) = (row.id, &row.namespace, &row.name);
        report.findings.extend(found.into_iter().map(|line| format!("{id} {namespace}/{name}: {line}")));
        Ok::<_, CatalogError>(())
    })
    .await?;
    Ok(report)
}

/// Lets `remove` delete the files of deleted repositories that nothing pins, and notes each that is gone.
/// `remove` must take a file that is already gone as success.
pub async fn sweep_files<F>(catalog: &Catalog, mut remove: F) -> Result<u64, CatalogError>
where
    F: FnMut(RepoId) -> Result<(), FileError>,
{
    let mut gone = 0;
    for id in catalog.files_to_drop().await? {
        match remove(id) {
            Ok(()) => {
                catalog.file_dropped(id).await?;
                gone += 1;
            }
            Err(error) => tracing::warn!(%id, %error, "the file of a deleted repository stays"),
        }
    }
    Ok(gone)
}

/// Hands over every live repository, until `each` fails.
pub async fn each_repo<F, E>(catalog: &Catalog, mut each: F) -> Result<(), E>
where
    F: FnMut(&RepoRow) -> Result<(), E>,
    E: From<CatalogError>,
{
    let mut last = None;
    loop {
        let batch = catalog.all_repos(last.as_ref(), BATCH_REPOS).await?;
        batch.iter().try_for_each(&mut each)?;
        match batch.into_iter().next_back() {
            Some(row) => last = Some(row),
            None => return Ok(()),
        }
    }
}
