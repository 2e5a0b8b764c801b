//! Backups that cost what changed, and what is made of them.
//!
//! A backup is a folder with `backup.sqlite`, which says what else of it counts: one copy of the catalog
//! (`catalog.<generation>.sqlite`) and copies of repository files below `repos`. A run writes beside what counts, or adds
//! to copies what an older catalog does not see, and then makes all of it count in one transaction. Killed anywhere, the
//! folder is the backup before, and the next run takes away what was left.
//!
//! The catalog is copied first, since logs only grow: files copied after it hold every entry that its forks pin. What is
//! deleted meanwhile, and might have been dropped from a file before that was copied, is deleted in the copy too.

mod manifest;
mod one;
mod restore;

use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;

pub use one::{Adopted, restore_one};
pub use restore::restore;

use self::manifest::{Kept, Manifest};
use super::StoreError;
use super::catalog::{Catalog, CatalogCopy, CatalogError};
use super::disk::{self, Disk, Held, beside};
use super::files::path_in;
use super::id::RepoId;
use super::repo::copy::{self, Synced};

/// Repositories that are looked up at a time.
const BATCH_REPOS: u32 = 1_000;

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A repository file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder holds something else.
    #[error("{0} holds something that is no backup")]
    NoBackup(PathBuf),
    /// The folder holds no backup that was completed.
    #[error("{0} holds no complete backup")]
    Incomplete(PathBuf),
    /// A newer program made the backup.
    #[error("the backup has format {found}, this program knows {known}")]
    Newer {
        /// Format of the backup.
        found: i64,
        /// Format of this program.
        known: i64,
    },
    /// Another process works on the folder.
    #[error("another process uses the backup in {0}")]
    InUse(PathBuf),
    /// Nothing is restored over what is there.
    #[error("{0} is not empty")]
    NotEmpty(PathBuf),
    /// What was to be restored is not possible; in words for the operator.
    #[error("{0}")]
    Refused(String),
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<std::io::Error> for BackupError {
    fn from(error: std::io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Counts up with each run.
    pub generation: i64,
    /// Repository files that were copied as a whole.
    pub copied: u64,
    /// Copies to which something was added.
    pub extended: u64,
    /// Copies that were up to date.
    pub unchanged: u64,
    /// Copies of files that are gone.
    pub removed: u64,
}

/// Where a repository's file is below a folder.
fn place(folder: &Path, id: RepoId, generation: Option<i64>) -> PathBuf {
    let path = path_in(folder, id);
    match generation {
        Some(generation) => path.with_extension(format!("{generation}.sqlite")),
        None => path,
    }
}

fn catalog_name(generation: i64) -> String {
    format!("catalog.{generation}.sqlite")
}

/// Makes the folder `to` a backup of `data`, or brings the one in it up to date. A server may be at work.
///
/// `disk` is the one that the catalog and `data` are on.
pub async fn backup(
    disk: &dyn Disk,
    (catalog, data): (&Catalog, &Path),
    to: &Path,
    now_ms: i64,
) -> Result<Done, BackupError> {
    make_own_folders(disk, to)?;
    Manifest::check_place(disk, to)?;
    let _lock = lock(disk, to)?;
    let mut manifest = Manifest::open_or_make(disk, to)?;
    let generation = manifest.generation() + 1;
    let mut done = Done { generation, ..Done::default() };
    let copy = to.join(catalog_name(generation));
    remove_with_companions(disk, &copy)?;
    catalog.copy_to(disk, &copy).await?;
    {
        let named = CatalogCopy::open(disk, &copy)?;
        let mut next = manifest.begin()?;
        for path in files_below(disk, &data.join("repos")) {
            let (id, path) = path?;
            if named.keeps_file(id)? {
                take(disk, &next, (id, &path), to, now_ms, &mut done)?;
            }
        }
        let gone = deleted_since(&named, catalog).await?;
        named.delete(&gone, now_ms)?;
        drop(named);
        disk.sync_file(&copy)?;
        disk.sync_folder(to)?;
        done.removed = next.forget_unseen()?;
        next.commit(now_ms)?;
    }
    sweep(disk, &manifest, to)?;
    Ok(done)
}

/// `create_dir_all`, for ourselves alone: hashes of tokens are nobody else's business.
fn make_own_folders(disk: &dyn Disk, folder: &Path) -> Result<(), BackupError> {
    if folder.as_os_str().is_empty() || disk.exists(folder)? {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new(""));
    make_own_folders(disk, parent)?;
    disk.make_own_folder(folder)?;
    Ok(disk.sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?)
}

/// Brings the copy of one file up to date. A file that is deleted meanwhile is left out: its repository is, too.
fn take(
    disk: &dyn Disk,
    next: &manifest::Next<'_>,
    (id, path): (RepoId, &Path),
    to: &Path,
    now_ms: i64,
    done: &mut Done,
) -> Result<(), BackupError> {
    let mut taken = || -> Result<(), BackupError> {
        // Before the file is read: what comes later shows at the next run.
        let fingerprint = copy::fingerprint(disk, path, now_ms)?;
        let kept = next.find(id)?;
        if let Some(Kept { generation, fingerprint: Some(before) }) = &kept
            && fingerprint.as_ref() == Some(before)
        {
            next.note(id, *generation, fingerprint.as_deref())?;
            done.unchanged += 1;
            return Ok(());
        }
        if let Some(Kept { generation, .. }) = kept {
            let old = place(to, id, Some(generation));
            if let Synced::Rows(rows) = copy::sync(disk, path, &old)? {
                next.note(id, generation, fingerprint.as_deref())?;
                *(if rows == 0 { &mut done.unchanged } else { &mut done.extended }) += 1;
                return Ok(());
            }
        }
        let new = place(to, id, Some(next.generation()));
        remove_with_companions(disk, &new)?;
        copy::make(disk, path, &new)?;
        next.note(id, next.generation(), fingerprint.as_deref())?;
        done.copied += 1;
        Ok(())
    };
    match taken() {
        Err(_) if !disk.exists(path)? => Ok(()),
        done => done,
    }
}

/// Live repositories of a copy that are deleted by now.
async fn deleted_since(copy: &CatalogCopy, live: &Catalog) -> Result<Vec<RepoId>, CatalogError> {
    let (mut last, mut gone) = (0, Vec::new());
    loop {
        let batch = copy.live_after(last, BATCH_REPOS)?;
        let Some((end, _)) = batch.last() else { return Ok(gone) };
        last = *end;
        gone.extend(live.not_live(batch.into_iter().map(|(_, id)| id).collect()).await?);
    }
}

/// Deletes what does not count: leftovers of a run that was killed, and what this run replaced.
fn sweep(disk: &dyn Disk, manifest: &Manifest, to: &Path) -> Result<(), BackupError> {
    let current = catalog_name(manifest.generation());
    for path in disk.list(to)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("catalog.") && !name.starts_with(&current) {
            disk.remove(&path)?;
        }
    }
    for path in paths_below(disk, &to.join("repos")) {
        let path = path?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut parts = name.split('.');
        let id = parts.next().and_then(RepoId::parse);
        let generation = parts.next().and_then(|text| text.parse::<i64>().ok());
        let counts = match id.zip(generation) {
            Some((id, generation)) => manifest.find(id)?.is_some_and(|kept| kept.generation == generation),
            None => false,
        };
        match counts {
            true => {}
            // Where a copy was under way when its run was killed.
            false if disk.is_folder(&path) => disk.remove_folder(&path)?,
            false => disk.remove(&path)?,
        }
    }
    Ok(())
}

/// Rolls back what a run that was killed left half done in a file of a backup. On a medium that takes no writes there is
/// nothing half done.
fn recover(disk: &dyn Disk, path: &Path) -> Result<(), BackupError> {
    if disk.exists(&beside(path, "-journal"))? {
        let conn = disk::connect(disk, path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    }
    Ok(())
}

fn remove_with_companions(disk: &dyn Disk, path: &Path) -> Result<(), BackupError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match disk.remove(&beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The repository files below a folder, with their ids.
fn files_below(disk: &dyn Disk, folder: &Path) -> impl Iterator<Item = std::io::Result<(RepoId, PathBuf)>> {
    paths_below(disk, folder).filter_map(|path| match path {
        Ok(path) => {
            let is_file = path.extension().is_some_and(|ending| ending == "sqlite");
            let id = path.file_stem().and_then(|stem| RepoId::parse(stem.to_str()?));
            id.filter(|_| is_file).map(|id| Ok((id, path)))
        }
        Err(error) => Some(Err(error)),
    })
}

/// What lies two folders below a folder: one listing is held at each level.
fn paths_below(disk: &dyn Disk, folder: &Path) -> impl Iterator<Item = std::io::Result<PathBuf>> {
    let below = move |path: std::io::Result<PathBuf>| -> Vec<std::io::Result<PathBuf>> {
        match path.and_then(|path| disk.list(&path)) {
            Ok(paths) => paths.into_iter().map(Ok).collect(),
            // Removed since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => vec![Err(error)],
        }
    };
    below(Ok(folder.to_owned())).into_iter().flat_map(below).flat_map(below)
}

/// Held while a process works on a backup; the system frees it however the process ends.
fn lock(disk: &dyn Disk, folder: &Path) -> Result<Held, BackupError> {
    disk.hold(&folder.join("lock"))?.ok_or_else(|| BackupError::InUse(folder.to_owned()))
}
