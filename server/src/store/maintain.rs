//! Care for everything under the data folder: check, back up, sweep.
//!
//! Work on repository files comes in as a closure, so that this module knows the order and not the files.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

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
    for_each(catalog, |row| {
        report.repo_count += 1;
        let found = repo(row).unwrap_or_else(|error| vec![error.to_string()]);
        let (id, namespace, name) = (row.id, &row.namespace, &row.name);
        report.findings.extend(found.into_iter().map(|line| format!("{id} {namespace}/{name}: {line}")));
        Ok(())
    })
    .await?;
    Ok(report)
}

/// Copies the catalog to `to/catalog.sqlite`, then lets `files` copy every repository file.
///
/// In this order, since logs only grow: a file copied after the catalog holds at least every entry that the catalog's
/// forks pin. A repository made meanwhile is a file that no row names, which is harmless; one deleted and dropped
/// meanwhile is a row without a file, which reads as empty. The API token is not copied: a restored server makes one.
pub async fn backup_all<F>(catalog: &Catalog, to: &Path, files: F) -> Result<(), FileError>
where
    F: FnOnce(&Path) -> Result<(), FileError>,
{
    // Hashes of tokens are nobody else's business.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    catalog.copy_to(&to.join("catalog.sqlite")).await?;
    files(to)?;
    std::fs::File::open(to)?.sync_all()?;
    Ok(())
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

/// Hands over every live repository.
pub async fn each_repo<F>(catalog: &Catalog, mut each: F) -> Result<(), CatalogError>
where
    F: FnMut(&RepoRow),
{
    for_each(catalog, |row| {
        each(row);
        Ok(())
    })
    .await
}

async fn for_each<F>(catalog: &Catalog, mut each: F) -> Result<(), CatalogError>
where
    F: FnMut(&RepoRow) -> Result<(), CatalogError>,
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
