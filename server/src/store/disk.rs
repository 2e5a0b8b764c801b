//! The disk that the store is on: the one place where its files get and lose their names.
//!
//! Who embeds the store may put another one under it, as the tests do to make it fail; nothing that a peer sends reaches
//! this choice.

use std::any::Any;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::limits::{WAL_CHECKPOINT_PAGES, WAL_REWRITE_BYTES};

/// Where files live. Paths are those under the data folder.
pub trait Disk: Send + Sync {
    /// The VFS of SQLite that reaches the same files; SQLite's own where there is none.
    fn vfs(&self) -> Option<&str>;
    /// Whether there is a file or folder of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes one folder. Its name is not durable yet.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes a file of these bytes, whole or not at all, where there is none. Its name is not durable yet.
    fn make_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// How many bytes a file has; `None` where it is not there.
    fn len(&self, path: &Path) -> io::Result<Option<u64>>;
    /// Writes the bytes of a file over themselves and syncs it, so that what is read is what survives.
    fn rewrite(&self, path: &Path) -> io::Result<()>;
    /// Makes a file of what `write` writes, whole or not at all, where there is none. Its name is not durable yet.
    fn make_file_of(
        &self,
        path: &Path,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()>;
    /// Makes one folder that nobody else may look into. Its name is not durable yet.
    fn make_own_folder(&self, path: &Path) -> io::Result<()>;
    /// What is in a folder, in any order.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Whether the name is a folder's.
    fn is_folder(&self, path: &Path) -> bool;
    /// Removes a folder and all that is in it.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Gives a file or a folder another name, which a file or an empty folder may have had. Neither is durable yet.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the bytes of a file durable.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// The state of a file; `None` where it is not there.
    fn stamp(&self, path: &Path) -> io::Result<Option<Stamp>>;
    /// Holds a file, made where it is not there, against other processes; `None` where another one holds it.
    fn hold(&self, path: &Path) -> io::Result<Option<Held>>;
}

/// Frees what is held when it is dropped, as the system does however the process ends.
pub type Held = Box<dyn Any + Send>;

/// What tells two states of a file apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which file it is.
    pub number: u64,
    /// Its length.
    pub bytes: u64,
    /// When it was written to last, in nanoseconds since 1970.
    pub changed_ns: i128,
}

/// The disk of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl System {
    /// As the store takes it.
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(Self)
    }
}

impl Disk for System {
    fn vfs(&self) -> Option<&str> {
        None
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn make_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
        let mut made = tempfile::Builder::new().suffix(".tmp").tempfile_in(folder)?;
        made.write_all(bytes)?;
        made.as_file().sync_data()?;
        made.persist_noclobber(path).map_err(|failed| failed.error)?;
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rewrite(&self, path: &Path) -> io::Result<()> {
        let file = File::options().read(true).write(true).open(path)?;
        let (len, mut at) = (file.metadata()?.len(), 0);
        let mut part = vec![0; WAL_REWRITE_BYTES];
        while at < len {
            let count = WAL_REWRITE_BYTES.min(usize::try_from(len - at).unwrap_or(usize::MAX));
            let part = part.get_mut(..count).unwrap_or_default();
            file.read_exact_at(part, at)?;
            file.write_all_at(part, at)?;
            at += count as u64;
        }
        file.sync_all()
    }

    fn make_file_of(
        &self,
        path: &Path,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut made = tempfile::Builder::new().prefix(".cairn-").suffix(".tmp").tempfile_in(folder)?;
        write(made.as_file_mut())?;
        made.as_file().sync_all()?;
        made.persist_noclobber(path).map_err(|failed| failed.error)?;
        Ok(())
    }

    fn make_own_folder(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn stamp(&self, path: &Path) -> io::Result<Option<Stamp>> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let changed_ns = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        Ok(Some(Stamp { number: found.ino(), bytes: found.len(), changed_ns }))
    }

    fn hold(&self, path: &Path) -> io::Result<Option<Held>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A folder for what is not whole yet, removed at the end with all that is still in it.
pub(crate) struct Draft<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
}

impl<'a> Draft<'a> {
    /// One in `folder`, under a name of its own that starts so.
    pub(crate) fn new(disk: &'a dyn Disk, folder: &Path, start: &str) -> io::Result<Self> {
        let number = u64::from_le_bytes(crate::random::bytes());
        let path = folder.join(format!("{start}{number:016x}.tmp"));
        disk.make_own_folder(&path)?;
        Ok(Self { disk, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // What is left is swept by the next run, or has a name that says what it is.
        let _ = self.disk.remove_folder(&self.path);
    }
}

/// Opens a database on the disk.
pub(crate) fn connect(disk: &dyn Disk, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    match disk.vfs() {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    }
}

/// Has this process's SQLite make its temporary files in a folder that is there. Rewriting a database makes one as large as
/// the database: the disk that holds the one has room for the other, which `/tmp` may not have, or only in memory.
pub fn temporary_files_in(folder: &Path) -> rusqlite::Result<()> {
    // A setting of the whole process; SQLite guards it by a lock of its own.
    let conn = Connection::open_in_memory()?;
    conn.pragma_update(None, "temp_store_directory", folder.to_string_lossy())
}

/// The name of a file that SQLite keeps beside a database.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Whether SQLite failed for want of space.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Whether a call failed for want of space.
pub(crate) fn is_full_io(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Closes a connection that failed: its end must not take up the log, which may not
/// be on the disk as it is read.
pub(crate) fn give_up(conn: Connection) {
    keep_log(&conn);
    drop(conn);
}

/// Closing this connection does not take up the log, be it the last one.
pub(crate) fn keep_log(conn: &Connection) {
    // Where this cannot be set, the end of the connection does what it always does.
    let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

/// Closing this connection takes up the log, where it is the last one: it is settled, and nothing failed on it.
pub(crate) fn take_log(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(drop)
}

/// Sees to the checkpoints of a connection that writes. SQLite's own go unheard where they fail; these set `is_suspect`:
/// the log may not be on the disk as it is read (`settle`).
pub(crate) fn watch_checkpoints(conn: &mut Connection, is_suspect: &Arc<AtomicBool>) -> rusqlite::Result<()> {
    let is_suspect = Arc::clone(is_suspect);
    conn.wal_hook(Some(move |log: &mut rusqlite::hooks::Wal, pages: i32| {
        if pages >= WAL_CHECKPOINT_PAGES
            && let Err(error) = log.checkpoint()
            && !matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
        {
            is_suspect.store(true, Ordering::Relaxed);
        }
        // The commit that led here is durable whatever became of the checkpoint.
        Ok(())
    }))
}

/// Makes sure that the write-ahead log beside a database is on the disk as it is read, and ends where it seems to.
///
/// After an fsync that failed, Linux counts pages as written that never reached the disk: they are read back, and no
/// later fsync writes them. What is appended behind them would be lost with them. So whoever starts to write behind
/// what an earlier run or a failed connection left writes it again first. `conn` keeps other writers away meanwhile.
///
/// A commit whose flush failed also lies whole behind the end that the other connections see; a crash would show it.
/// A small commit of its own takes its place, so that what is answered from here on stays so, also to a request
/// that writes nothing. `conn` syncs its commits, and keeps the log where this fails (`keep_log`).
pub(crate) fn settle<E: From<rusqlite::Error> + From<io::Error>>(
    disk: &dyn Disk,
    conn: &Connection,
    path: &Path,
) -> Result<(), E> {
    let log = beside(path, "-wal");
    if disk.len(&log)?.is_none_or(|len| len == 0) {
        return Ok(());
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let done = disk.rewrite(&log).map_err(E::from).and_then(|()| Ok(commit_the_same(conn)?));
    if done.is_err() && !conn.is_autocommit() {
        // If this fails as well, closing the connection does it.
        let _ = conn.execute_batch("ROLLBACK");
    }
    done
}

/// Ends a transaction with a change to nothing that is written all the same: the first page.
fn commit_the_same(conn: &Connection) -> rusqlite::Result<()> {
    let version = conn.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    conn.pragma_update(None, "user_version", version)?;
    conn.execute_batch("COMMIT")
}
