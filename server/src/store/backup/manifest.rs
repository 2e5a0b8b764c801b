//! `backup.sqlite`: what of a backup's folder counts.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{BackupError, recover};
use crate::store::RepoId;
use crate::store::disk::{self, Disk};

/// Goes up when an older program could no longer read a backup.
const FORMAT: i64 = 1;

// generation: which copy of the file counts. seen: the last generation that had the file. fingerprint: NULL where the
// file has to be looked into at the next run.
const TABLES: &str = "
CREATE TABLE run (generation INTEGER NOT NULL, finished_ms INTEGER NOT NULL);
CREATE TABLE file (id TEXT PRIMARY KEY, generation INTEGER NOT NULL, seen INTEGER NOT NULL, fingerprint TEXT) WITHOUT ROWID;
";

/// The open manifest.
pub(super) struct Manifest {
    conn: Connection,
    generation: i64,
}

/// The copy of a file that counts.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) generation: i64,
    pub(super) fingerprint: Option<String>,
}

impl Manifest {
    /// Refuses a folder that holds something else.
    pub(super) fn check_place(disk: &dyn Disk, folder: &Path) -> Result<(), BackupError> {
        if disk.exists(&folder.join("backup.sqlite"))? {
            return Ok(());
        }
        match disk.list(folder)?.iter().any(|path| path.file_name().is_some_and(|name| name != "lock")) {
            true => Err(BackupError::NoBackup(folder.to_owned())),
            false => Ok(()),
        }
    }

    /// That of a folder; a new one where the folder is empty.
    pub(super) fn open_or_make(disk: &dyn Disk, folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join("backup.sqlite");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = disk::connect(disk, &path, flags)?;
        conn.pragma_update(None, "synchronous", "EXTRA")?;
        if version(&conn)? == 0 {
            conn.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT"))?;
        }
        Self::opened(conn)
    }

    /// That of a backup, which stays as it is.
    pub(super) fn read(disk: &dyn Disk, folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join("backup.sqlite");
        if !disk.exists(&path)? {
            return Err(BackupError::NoBackup(folder.to_owned()));
        }
        recover(disk, &path)?;
        let conn = disk::connect(disk, &path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // A first run may have come no further than the file.
        if version(&conn)? == 0 {
            return Err(BackupError::Incomplete(folder.to_owned()));
        }
        let manifest = Self::opened(conn)?;
        match manifest.generation {
            0 => Err(BackupError::Incomplete(folder.to_owned())),
            _ => Ok(manifest),
        }
    }

    fn opened(conn: Connection) -> Result<Self, BackupError> {
        let found = version(&conn)?;
        if found != FORMAT {
            return Err(BackupError::Newer { found, known: FORMAT });
        }
        let generation = conn.query_row("SELECT generation FROM run", [], |row| row.get(0)).optional()?;
        Ok(Self { conn, generation: generation.unwrap_or(0) })
    }

    /// The last complete run; 0 before the first.
    pub(super) fn generation(&self) -> i64 {
        self.generation
    }

    /// The copy of a file.
    pub(super) fn find(&self, id: RepoId) -> Result<Option<Kept>, BackupError> {
        find(&self.conn, id)
    }

    /// Calls `each` with every copy.
    pub(super) fn each(
        &self,
        mut each: impl FnMut(RepoId, i64) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let mut all = self.conn.prepare("SELECT id, generation FROM file ORDER BY id")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let bad =
                || BackupError::Refused(format!("the backup names a file {id}, which is no repository's"));
            each(RepoId::parse(&id).ok_or_else(bad)?, row.get(1)?)?;
        }
        Ok(())
    }

    /// Starts the next run: one transaction, which dropping undoes.
    pub(super) fn begin(&mut self) -> Result<Next<'_>, BackupError> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Next { is_open: true, manifest: self })
    }
}

/// A run under way.
pub(super) struct Next<'a> {
    manifest: &'a mut Manifest,
    is_open: bool,
}

impl Next<'_> {
    pub(super) fn generation(&self) -> i64 {
        self.manifest.generation + 1
    }

    pub(super) fn find(&self, id: RepoId) -> Result<Option<Kept>, BackupError> {
        find(&self.manifest.conn, id)
    }

    /// This copy of a file will count.
    pub(super) fn note(&self, id: RepoId, copy: i64, fingerprint: Option<&str>) -> Result<(), BackupError> {
        let sql = "INSERT OR REPLACE INTO file (id, generation, seen, fingerprint) VALUES (?1, ?2, ?3, ?4)";
        let mut note = self.manifest.conn.prepare_cached(sql)?;
        note.execute((id.as_str(), copy, self.generation(), fingerprint))?;
        Ok(())
    }

    /// Copies that were not noted will not count; how many.
    pub(super) fn forget_unseen(&self) -> Result<u64, BackupError> {
        let forget = "DELETE FROM file WHERE seen <> ?1";
        Ok(self.manifest.conn.execute(forget, [self.generation()])? as u64)
    }

    /// Makes everything count.
    pub(super) fn commit(&mut self, now_ms: i64) -> Result<(), BackupError> {
        let generation = self.generation();
        self.manifest.conn.execute("DELETE FROM run", [])?;
        self.manifest.conn.execute("INSERT INTO run VALUES (?1, ?2)", (generation, now_ms))?;
        self.manifest.conn.execute_batch("COMMIT")?;
        self.is_open = false;
        self.manifest.generation = generation;
        Ok(())
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // Closing the connection undoes it, too.
            let _ = self.manifest.conn.execute_batch("ROLLBACK");
        }
    }
}

fn version(conn: &Connection) -> Result<i64, BackupError> {
    Ok(conn.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn find(conn: &Connection, id: RepoId) -> Result<Option<Kept>, BackupError> {
    let mut find = conn.prepare_cached("SELECT generation, fingerprint FROM file WHERE id = ?1")?;
    let kept = |row: &rusqlite::Row<'_>| Ok(Kept { generation: row.get(0)?, fingerprint: row.get(1)? });
    Ok(find.query_row([id.as_str()], kept).optional()?)
}
