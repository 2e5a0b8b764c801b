//! The disk that the store is on: the one place where its files get and lose their names.
//!
//! Who embeds the store may put another one under it, as the tests do to make it fail; nothing that a peer sends reaches
//! this choice.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
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
