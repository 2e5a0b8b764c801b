//! The layout of a repository's file, how it is made and opened.
//!
//! `chunk` holds all parts of all packs: a row's number is `pack << 22 | section << 20 | n`, so that a pack
//! is one range of rows. Sections: the pack's bytes, its records, its commit links, its sorted id index.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cairn_protocol::object::HashAlgo;
use rusqlite::{Connection, OpenFlags};

use super::limits::BUSY_MS_MAX;
use crate::store::StoreError;
use crate::store::disk::{self, Disk, System};

/// Goes up when files of an older layout can no longer be read as they are.
const LAYOUT: i64 = 1;
/// What a file says once packs were rolled: programs that do not know cuts would show too much as of older entries.
pub(crate) const LAYOUT_ROLLED: i64 = 2;
/// What it says once a rolled pack has an index of its own: programs before would roll such a pack and lose its ids.
pub(crate) const LAYOUT_INDEXED: i64 = 3;
/// What it says once something was dropped: programs before would take it for there.
pub(crate) const LAYOUT_DROPPED: i64 = 4;

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE entry (seq INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, actor TEXT NOT NULL,
    kind TEXT NOT NULL, nonce BLOB NOT NULL, pack INTEGER);
-- new NULL: the ref was deleted. Keyed by name, so that the refs as of a seq are one ordered scan.
CREATE TABLE ref_change (name BLOB NOT NULL, seq INTEGER NOT NULL, old BLOB, new BLOB, peeled BLOB,
    PRIMARY KEY (name, seq)) WITHOUT ROWID;
-- id NULL: a ref of a base that this fork deleted.
CREATE TABLE ref (name BLOB PRIMARY KEY, id BLOB, peeled BLOB) WITHOUT ROWID;
CREATE TABLE pack (id INTEGER PRIMARY KEY, key BLOB NOT NULL, live INTEGER NOT NULL, bytes INTEGER NOT NULL,
    object_count INTEGER NOT NULL, base_ordinal INTEGER, seq INTEGER, whole INTEGER NOT NULL,
    commits BLOB NOT NULL, trees BLOB NOT NULL, tags BLOB NOT NULL, dups BLOB NOT NULL, fanout BLOB NOT NULL);
CREATE TABLE chunk (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE object (id BLOB PRIMARY KEY, ordinal INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE reach (source INTEGER NOT NULL, key BLOB NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (source, key)) WITHOUT ROWID;
";

/// What later programs added to the tables above, in order; `user_version` counts those that a file has. Each must leave
/// the file readable and writable by programs that do not know it.
const STEPS: &[&str] = &[
    // The ref changes of an entry without a scan of all of them.
    "CREATE INDEX ref_change_seq ON ref_change (seq);",
    // Where the packs of several entries end inside the one that they were rolled into; NULL in a pack of one entry.
    "ALTER TABLE pack ADD COLUMN cuts BLOB;",
];

/// A part of a pack in `chunk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Bytes = 0,
    Records = 1,
    Commits = 2,
    Index = 3,
}

/// A number as SQLite holds it. All that are stored are far below the limit.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The number of a row of `chunk`.
pub(crate) fn row_id(pack: u32, section: Section, n: u32) -> i64 {
    i64::from(pack) << 22 | (section as i64) << 20 | i64::from(n)
}

/// All rows of a pack in `chunk`.
pub(crate) fn pack_rows(pack: u32) -> (i64, i64) {
    (i64::from(pack) << 22, ((i64::from(pack) + 1) << 22) - 1)
}

/// The bytes of a file without entries.
pub(crate) fn template(algo: HashAlgo) -> Result<Vec<u8>, StoreError> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("template.sqlite");
    let conn = Connection::open(&path)?;
    conn.execute_batch(
        "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;",
    )?;
    conn.execute_batch(TABLES)?;
    bring_up_to_date(&conn)?;
    conn.execute("INSERT INTO meta VALUES ('algo', ?1), ('layout', ?2)", (algo.name(), LAYOUT))?;
    conn.close().map_err(|(_, error)| error)?;
    Ok(fs::read(&path)?)
}

/// Makes a file whole or not at all: a crash leaves at most a temporary file, which is never opened. Its name is not
/// durable yet: see `sync_names`.
pub(crate) fn create_file(disk: &dyn Disk, path: &Path, template: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().ok_or(StoreError::Misuse("a repository file lies in a folder"))?;
    create_folders(disk, folder)?;
    Ok(disk.make_file(path, template)?)
}

/// Makes the name of a file durable, and that of the log beside it; of a file without entries those of the folders that
/// it is in, too, up to the data folder.
///
/// Before the first write to a file, not only when it is made: whether an earlier try failed is not known, and SQLite,
/// which syncs the folder of a log as well, does not ask whether it could.
pub(crate) fn sync_names(
    disk: &dyn Disk,
    path: &Path,
    data_dir: &Path,
    has_no_entry: bool,
) -> Result<(), StoreError> {
    let folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(data_dir));
    for folder in folders.take(if has_no_entry { usize::MAX } else { 1 }) {
        disk.sync_folder(folder)?;
    }
    Ok(())
}

/// `create_dir_all`.
fn create_folders(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    if disk.exists(folder)? {
        return Ok(());
    }
    let parent = folder.parent().ok_or(StoreError::Misuse("a data folder has a parent"))?;
    create_folders(disk, parent)?;
    match disk.make_folder(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

/// `create_dir_all`, with each new name made durable in its parent.
pub(crate) fn create_durable_folders(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    // The end of a relative path is where the process is.
    if folder.as_os_str().is_empty() || disk.exists(folder)? {
        return Ok(());
    }
    let parent = folder.parent().ok_or(StoreError::Misuse("a data folder has a parent"))?;
    create_durable_folders(disk, parent)?;
    create_folders(disk, folder)?;
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    Ok(disk.sync_folder(parent)?)
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Write,
    Read,
    /// Beside another process that serves.
    ReadOnly,
}

/// Opens a connection to an existing file.
pub(crate) fn connect(path: &Path, to: Use) -> Result<Connection, StoreError> {
    connect_on(&System, path, to)
}

/// The same on a disk of the caller's.
pub(crate) fn connect_on(disk: &dyn Disk, path: &Path, to: Use) -> Result<Connection, StoreError> {
    let open = if to == Use::ReadOnly {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    };
    let conn = disk::connect(disk, path, open | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // The writer, which is closed last, takes the log up: once it is settled, and not before.
    disk::keep_log(&conn);
    conn.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
    // No checkpoints of SQLite's own, which fail unheard: `disk::watch_checkpoints`.
    conn.execute_batch(
        "PRAGMA cache_size = -512; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;",
    )?;
    if to != Use::Write {
        conn.execute_batch("PRAGMA query_only = ON;")?;
    }
    Ok(conn)
}

/// Refuses a file of another layout or hash.
pub(crate) fn check_meta(conn: &Connection, algo: HashAlgo) -> Result<(), StoreError> {
    let layout: i64 = conn.query_row("SELECT value FROM meta WHERE key = 'layout'", [], |row| row.get(0))?;
    if !(LAYOUT..=LAYOUT_DROPPED).contains(&layout) {
        let known = format!("{LAYOUT} to {LAYOUT_DROPPED}");
        return Err(StoreError::corrupt(format!("layout {layout}, this program reads {known}")));
    }
    let name: String = conn.query_row("SELECT value FROM meta WHERE key = 'algo'", [], |row| row.get(0))?;
    if name != algo.name() {
        return Err(StoreError::corrupt(format!("object format {name}, expected {}", algo.name())));
    }
    Ok(())
}

/// Whether packs of this file can have cuts: a file that is only read may lack the step.
pub(crate) fn has_cuts(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn.prepare("SELECT 1 FROM pragma_table_info('pack') WHERE name = 'cuts'")?.exists([])?)
}

/// Takes the steps that an older file lacks, all or none. One that knows more steps than we is left as it is.
pub(crate) fn bring_up_to_date(conn: &Connection) -> Result<(), StoreError> {
    let steps_done = |conn: &Connection| conn.pragma_query_value(None, "user_version", |row| row.get(0));
    let known = STEPS.len() as i64;
    let found: i64 = steps_done(conn)?;
    if found >= known {
        return Ok(());
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let steps = || -> Result<(), StoreError> {
        // Again inside the transaction: another process may have been faster.
        let found: i64 = steps_done(conn)?;
        for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
            conn.execute_batch(step)?;
        }
        Ok(conn.pragma_update(None, "user_version", known.max(found))?)
    };
    match steps() {
        Ok(()) => Ok(conn.execute_batch("COMMIT")?),
        Err(error) => {
            // The first error says more than one of the roll-back.
            let _ = conn.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}

/// Deletes a staged pack; a live one stays.
pub(crate) fn delete_staged(conn: &Connection, pack: u32) -> Result<(), StoreError> {
    if conn.execute("DELETE FROM pack WHERE id = ?1 AND live = 0", [pack])? == 1 {
        conn.execute("DELETE FROM chunk WHERE id BETWEEN ?1 AND ?2", pack_rows(pack))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("a.sqlite");
        create_file(&System, &path, &template(HashAlgo::Sha1).unwrap()).unwrap();
        path
    }

    #[test]
    fn steps_that_were_cut_off_are_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        let conn = Connection::open(&path).unwrap();
        let undo = "DROP INDEX ref_change_seq; ALTER TABLE pack DROP COLUMN cuts; PRAGMA user_version = 0";
        conn.execute_batch(undo).unwrap();
        let cut = Connection::open(&path).unwrap();
        cut.execute_batch("BEGIN IMMEDIATE").unwrap();
        cut.execute_batch(STEPS[0]).unwrap();
        drop(cut); // as a kill would: nothing was committed
        for _ in 0..2 {
            bring_up_to_date(&connect(&path, Use::Write).unwrap()).unwrap();
        }
        let count = "SELECT count(*) FROM sqlite_schema WHERE name = 'ref_change_seq'";
        assert_eq!(conn.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        assert!(has_cuts(&conn).unwrap());
        let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, STEPS.len() as i64);
    }

    #[test]
    fn a_file_of_a_newer_layout_is_refused_and_one_with_more_steps_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        let conn = Connection::open(&path).unwrap();
        conn.pragma_update(None, "user_version", STEPS.len() as i64 + 1).unwrap();
        check_meta(&conn, HashAlgo::Sha1).unwrap();
        bring_up_to_date(&conn).unwrap();
        let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, STEPS.len() as i64 + 1, "what a newer program added stays noted");
        conn.execute("UPDATE meta SET value = ?1 WHERE key = 'layout'", [LAYOUT_DROPPED + 1]).unwrap();
        let error = check_meta(&conn, HashAlgo::Sha1).unwrap_err().to_string();
        assert_eq!(error, "corrupt: layout 5, this program reads 1 to 4");
    }
}
