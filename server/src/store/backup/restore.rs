//! A data folder out of a backup.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::manifest::Manifest;
use super::{BackupError, catalog_name, lock, place};
use crate::store::disk::{Disk, System};
use crate::store::repo::{fsck, schema};

/// Makes the data folder `to`, which must be absent or empty, out of the backup in `from`; how many repository files.
///
/// It appears whole or not at all. The API token of the server is in no backup: the restored one makes a new one.
pub fn restore(from: &Path, to: &Path) -> Result<u64, BackupError> {
    let manifest = Manifest::read(from)?;
    let _lock = match lock(from) {
        // On a medium that takes no writes there is no run to wait for.
        Err(BackupError::InUse(folder)) => return Err(BackupError::InUse(folder)),
        other => other.ok(),
    };
    let inside = match fs::read_dir(to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        inside => Some(inside?),
    };
    if inside.is_some_and(|mut inside| inside.next().is_some()) {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let whole = std::path::absolute(to)?;
    let parent =
        whole.parent().ok_or_else(|| BackupError::Refused("the data folder has no parent".to_owned()))?;
    schema::create_durable_folders(parent)?;
    let made = tempfile::Builder::new().prefix(".cairn-restore-").tempdir_in(parent)?;
    let draft = made.path().join("data");
    fs::DirBuilder::new().mode(0o700).create(&draft)?;
    let catalog = from.join(catalog_name(manifest.generation()));
    fsck::backup(&catalog, &draft.join("catalog.sqlite"))?;
    let mut count = 0;
    manifest.each(|id, generation| {
        count += 1;
        Ok(fsck::backup(&place(from, id, Some(generation)), &place(&draft, id, None))?)
    })?;
    System.sync_folder(&draft)?;
    fs::rename(&draft, &whole)?;
    System.sync_folder(parent)?;
    Ok(count)
}
