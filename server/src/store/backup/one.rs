//! One repository of a backup, put into a folder that may be in use.

use std::path::Path;

use super::manifest::Manifest;
use super::{BackupError, catalog_name, place, recover};
use cairn_protocol::source::ObjectSource;

use crate::names::Name;
use crate::store::StoreError;
use crate::store::catalog::{Catalog, NewRepo, RepoRow};
use crate::store::disk::System;
use crate::store::files::{Files, Pin, RepoId};
use crate::store::repo::{copy, fsck};

/// What was put back.
#[derive(Debug)]
pub struct Adopted {
    /// Its row, with a new id.
    pub row: RepoRow,
    /// What a check of it found; empty where all is well.
    pub findings: Vec<String>,
}

/// Puts the repository `namespace/name` of the backup in `from` into the data folder `data` under a new id, with its
/// entries, refs and objects. Its git tokens are not put back.
///
/// Safe beside a server: the file is in its place before a row names it, and no server opens a file that no row names.
/// Refused where the name is taken, and where the logs that a fork stands on are not the same in both.
pub async fn restore_one(
    from: &Path,
    (catalog, data): (&Catalog, &Path),
    (namespace, name): (&str, &str),
    now_ms: i64,
) -> Result<Adopted, BackupError> {
    let manifest = Manifest::read(&System, from)?;
    // Opening a catalog may bring it up to date; the backup stays as it is.
    let made = tempfile::tempdir()?;
    let draft = made.path().join("catalog.sqlite");
    fsck::backup(&System, &from.join(catalog_name(manifest.generation())), &draft)?;
    let old = Catalog::open(&draft)?.resolve(namespace, name).await?;
    let missing = || BackupError::Refused(format!("the backup has no repository {namespace}/{name}"));
    let old = old.filter(|row| !row.importing).ok_or_else(missing)?;
    if catalog.resolve(namespace, name).await?.is_some() {
        return Err(BackupError::Refused(format!(
            "{namespace}/{name} exists in {}: delete or rename it first",
            data.display()
        )));
    }
    let files = Files::open_read_only(data, 8);
    for log in old.pins.iter().skip(1) {
        let seq = log.seq.unwrap_or(0);
        let theirs = match manifest.find(log.id)? {
            Some(kept) => copy::nonce_at(&place(from, log.id, Some(kept.generation)), seq)?,
            None => None,
        };
        if theirs.is_none() || theirs != copy::nonce_at(&files.path(log.id), seq)? {
            return Err(lacks(&old, log, data));
        }
    }
    let id = RepoId::random();
    let mut chain = old.pins.clone();
    chain.splice(..1, [Pin::new(id, None)]);
    // Until the row is there nobody drops anything that it is to stand on: `files` is held.
    for (log, limit) in old.pins.iter().zip(limits(&files, &old, &chain)?).skip(1) {
        let kept = manifest.find(log.id)?.map(|kept| place(from, log.id, Some(kept.generation)));
        let mut lost = copy::dropped_at(&files.path(log.id))?;
        lost.remove_range(limit..);
        lost -= kept.map(|kept| copy::dropped_at(&kept)).transpose()?.unwrap_or_default();
        if !lost.is_empty() {
            return Err(lacks(&old, log, data));
        }
    }
    if let Some(kept) = manifest.find(old.id)? {
        recover(&System, &place(from, old.id, Some(kept.generation)))?;
        fsck::backup(&System, &place(from, old.id, Some(kept.generation)), &files.path(id))?;
    }
    let bad = || BackupError::Refused(format!("{namespace}/{name} is no name of a repository"));
    let new = NewRepo {
        namespace: Name::new(&old.namespace).ok_or_else(bad)?,
        name: Name::new(&old.name).ok_or_else(bad)?,
        description: old.description.clone(),
        default_branch: old.default_branch.clone(),
        object_format: old.object_format,
        read_only: old.read_only,
        now_ms,
        token: None,
    };
    let own_bytes = files.repo(old.object_format, &chain)?.snapshot(None)?.own_bytes()?;
    let row = catalog.adopt_repo(id, new, old, own_bytes).await?;
    let findings = fsck::fsck(&files, row.object_format, &row.pins);
    Ok(Adopted { row, findings })
}

/// How far a chain sees each of its logs, in ordinals.
fn limits(files: &Files, row: &RepoRow, chain: &[Pin]) -> Result<Vec<u32>, BackupError> {
    match files.repo(row.object_format, chain)?.snapshot(None) {
        Ok(snapshot) => Ok(snapshot.limits()),
        // Told of each log.
        Err(StoreError::Dropped { .. }) => Ok(vec![u32::MAX; chain.len()]),
        Err(error) => Err(error.into()),
    }
}

fn lacks(row: &RepoRow, log: &Pin, data: &Path) -> BackupError {
    BackupError::Refused(format!(
        "{}/{} stands on entry {} of the log {}, which {} does not have: restore the whole backup into another folder and \
         fetch from there",
        row.namespace,
        row.name,
        log.seq.unwrap_or(0),
        log.id,
        data.display()
    ))
}
