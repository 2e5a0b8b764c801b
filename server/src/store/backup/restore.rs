//! A data folder out of a backup.

use std::path::Path;

use super::manifest::Manifest;
use super::{BackupError, catalog_name, lock, place, recover};
use crate::store::disk::{Disk, Draft};
use crate::store::repo::{fsck, schema};

/// Makes the data folder `to`, which must be absent or empty, out of the backup in `from`; how many repository files.
///
/// It appears whole or not at all. The API token of the server is in no backup: the restored one makes a new one.
pub fn restore(disk: &dyn Disk, from: &Path, to: &Path) -> Result<u64, BackupError> {
    let manifest = Manifest::read(disk, from)?;
    let _lock = match lock(disk, from) {
        // On a medium that takes no writes there is no run to wait for.
        Err(BackupError::InUse(folder)) => return Err(BackupError::InUse(folder)),
        other => other.ok(),
    };
    let inside = match disk.list(to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        inside => Some(inside?),
    };
    if inside.is_some_and(|inside| !inside.is_empty()) {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let whole = std::path::absolute(to)?;
    let parent =
        whole.parent().ok_or_else(|| BackupError::Refused("the data folder has no parent".to_owned()))?;
    schema::create_durable_folders(disk, parent)?;
    let made = Draft::new(disk, parent, ".cairn-restore-")?;
    let draft = made.path().join("data");
    disk.make_own_folder(&draft)?;
    let catalog = from.join(catalog_name(manifest.generation()));
    recover(disk, &catalog)?;
    fsck::backup(disk, &catalog, &draft.join("catalog.sqlite"))?;
    let mut count = 0;
    manifest.each(|id, generation| {
        count += 1;
        let copy = place(from, id, Some(generation));
        recover(disk, &copy)?;
        Ok(fsck::backup(disk, &copy, &place(&draft, id, None))?)
    })?;
    disk.sync_folder(&draft)?;
    disk.rename(&draft, &whole)?;
    disk.sync_folder(parent)?;
    Ok(count)
}
