//! Tables, indexes and pragmas of the catalog.
//!
//! `n` is a row's number: counted up by the one writer, never reused (rows are marked deleted, not removed), so the order of `n` is the
//! order of creation. Columns that hold the usual value as NULL or 0 cost no byte, which counts with a million forks.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{CatalogError, Result};
use crate::limits::{CATALOG_BUSY_MS_MAX, CATALOG_CACHE_KIB, CATALOG_WAL_BYTES_KEPT};
use crate::store::disk::{self, Disk};

/// What brings the tables from one version to the next: a file of version N has seen the first N steps. A step that
/// was released is never changed.
const STEPS: &[&str] = &[TABLES, IMPORTS, ORDERS, API_TOKENS, BYTES, IDEMPOTENCY, MAINTAINED, AGES];

const TABLES: &str = "
CREATE TABLE namespaces (
    n          INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    folded     TEXT    NOT NULL,
    repo_count INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
);
CREATE UNIQUE INDEX namespaces_name ON namespaces (folded) WHERE deleted_at IS NULL;

-- spelling: the name where it differs from `folded`. object_format: 0 SHA-1, 1 SHA-256.
-- chain: the pinned logs below the own one, nearest first. dropped: 1 once the file of a deleted one is gone.
CREATE TABLE repos (
    n              INTEGER PRIMARY KEY,
    id             TEXT    NOT NULL,
    namespace      INTEGER NOT NULL,
    folded         TEXT    NOT NULL,
    spelling       TEXT,
    description    TEXT,
    default_branch TEXT    NOT NULL,
    object_format  INTEGER NOT NULL,
    read_only      INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    last_push_at   INTEGER,
    source         TEXT,
    chain          BLOB,
    deleted_at     INTEGER,
    dropped        INTEGER NOT NULL
);
CREATE UNIQUE INDEX repos_id      ON repos (id);
CREATE UNIQUE INDEX repos_name    ON repos (namespace, folded) WHERE deleted_at IS NULL;
CREATE INDEX        repos_newest  ON repos (namespace, n)      WHERE deleted_at IS NULL;
CREATE INDEX        repos_deleted ON repos (namespace, folded) WHERE deleted_at IS NOT NULL;
CREATE INDEX        repos_to_drop ON repos (n)                 WHERE deleted_at IS NOT NULL AND dropped = 0;

-- The trigrams of live names; rowid is n.
CREATE VIRTUAL TABLE repos_trigrams USING fts5 (
    folded, content = '', columnsize = 0, detail = none, tokenize = 'trigram'
);

-- Which live repository pins whose log: a file may go when nobody pins it.
CREATE TABLE pins (
    base INTEGER NOT NULL,
    repo INTEGER NOT NULL,
    PRIMARY KEY (base, repo)
) WITHOUT ROWID;

-- hash: the first 16 bytes of the token's SHA-256. scope: 0 read, 1 write.
CREATE TABLE tokens (
    hash       BLOB    NOT NULL PRIMARY KEY,
    repo       INTEGER NOT NULL,
    scope      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) WITHOUT ROWID;
CREATE INDEX tokens_repo ON tokens (repo, created_at);
";

/// Orders of lists. An entry of `repos_updated` takes some 18 bytes; one of `repos_pushed` some 12 before the first push,
/// since a zero takes none, and 18 after it.
const ORDERS: &str = "
CREATE INDEX repos_updated ON repos (namespace, updated_at)                WHERE deleted_at IS NULL;
CREATE INDEX repos_pushed  ON repos (namespace, COALESCE(last_push_at, 0)) WHERE deleted_at IS NULL;
";

/// id, caller, fingerprint: hashes that take in the API token. ordinal: counts up for each caller. answer: sealed; NULL where
/// it was too large.
const IDEMPOTENCY: &str = "
CREATE TABLE idempotency (
    n           INTEGER PRIMARY KEY,
    id          BLOB    NOT NULL,
    caller      BLOB    NOT NULL,
    ordinal     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    fingerprint BLOB    NOT NULL,
    salt        BLOB    NOT NULL,
    answer      BLOB
);
CREATE UNIQUE INDEX idempotency_id     ON idempotency (id);
CREATE UNIQUE INDEX idempotency_caller ON idempotency (caller, ordinal);
CREATE INDEX        idempotency_age    ON idempotency (created_at);
";

// Tokens that open REST. hash: as in `tokens`. edits: 1 where it may change things. namespaces: folded, with slashes between;
// NULL for all.
const API_TOKENS: &str = "
CREATE TABLE api_tokens (
    hash       BLOB    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    edits      INTEGER NOT NULL,
    namespaces TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) WITHOUT ROWID;
";

// own_bytes: of the packs of a repository's own log; of a namespace's live repositories.
const BYTES: &str = "
ALTER TABLE repos      ADD COLUMN own_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE namespaces ADD COLUMN own_bytes INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER repos_own_bytes AFTER UPDATE OF own_bytes, deleted_at ON repos BEGIN
    UPDATE namespaces SET own_bytes = own_bytes
        - CASE WHEN OLD.deleted_at IS NULL THEN OLD.own_bytes ELSE 0 END
        + CASE WHEN NEW.deleted_at IS NULL THEN NEW.own_bytes ELSE 0 END
    WHERE n = NEW.namespace;
END;
";

/// Imports under way. A row of `repos` says in itself whether it is ready, since it is asked that at every turn.
const IMPORTS: &str = "
ALTER TABLE repos ADD COLUMN importing INTEGER NOT NULL DEFAULT 0;

-- branch: the one that is wanted. depth: commits of history. is_private: 1 where credentials were given, which are not kept.
CREATE TABLE imports (
    repo       INTEGER PRIMARY KEY,
    url        TEXT    NOT NULL,
    branch     TEXT,
    depth      INTEGER,
    is_private INTEGER NOT NULL
);
";

/// maintained_at: the last push that maintenance knew of when it was done with the file.
const MAINTAINED: &str = "
ALTER TABLE repos ADD COLUMN maintained_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX repos_to_maintain ON repos (last_push_at) WHERE deleted_at IS NULL AND last_push_at > maintained_at;
";

/// again_at: when a quiet repository is to be looked at again, since something in it comes of age. steady_ms counts the time in
/// which the data was looked after; seen_ms is when that was told last.
const AGES: &str = "
ALTER TABLE repos ADD COLUMN again_at INTEGER;
CREATE INDEX repos_again ON repos (again_at) WHERE deleted_at IS NULL AND again_at IS NOT NULL;
CREATE TABLE steady (
    n         INTEGER PRIMARY KEY,
    seen_ms   INTEGER NOT NULL,
    steady_ms INTEGER NOT NULL
);
";

/// Opens the catalog for writing and brings its tables up to date.
pub(super) fn open_writer(disk: &dyn Disk, path: &Path) -> Result<Connection> {
    let conn = disk::connect(disk, path, OpenFlags::default())?;
    // Until the log is settled and all is well.
    disk::keep_log(&conn);
    conn.busy_timeout(Duration::from_millis(CATALOG_BUSY_MS_MAX))?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    // SQLite's own checkpoints fail unheard: `disk::watch_checkpoints`.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "cache_size", -CATALOG_CACHE_KIB)?;
    conn.pragma_update(None, "journal_size_limit", CATALOG_WAL_BYTES_KEPT)?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?; // as in `open_reader`
    disk::settle::<CatalogError>(disk, &conn, path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        // SQLite does so as well, but does not ask whether it could.
        disk.sync_folder(folder)?;
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let (found, known) = (version(&conn)?, STEPS.len() as i64);
    let done = usize::try_from(found).ok().filter(|done| *done <= STEPS.len());
    let done = done.ok_or(CatalogError::Newer { found, known })?;
    for step in STEPS.iter().skip(done) {
        conn.execute_batch(step)?;
    }
    if found < known {
        conn.pragma_update(None, "user_version", known)?;
    }
    conn.execute_batch("COMMIT")?;
    disk::take_log(&conn)?;
    Ok(conn)
}

/// Opens the catalog for reading.
pub(super) fn open_reader(disk: &dyn Disk, path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = disk::connect(disk, path, flags)?;
    conn.busy_timeout(Duration::from_millis(CATALOG_BUSY_MS_MAX))?;
    conn.pragma_update(None, "cache_size", -CATALOG_CACHE_KIB)?;
    conn.set_prepared_statement_cache_capacity(64);
    // Without it, each new value makes SQLite plan the lookups by name again, which costs more than they do.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

fn version(conn: &Connection) -> Result<i64> {
    Ok(conn.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::{STEPS, open_writer, version};
    use crate::store::disk::System;
    use rusqlite::Connection;

    #[test]
    fn a_file_of_the_first_version_is_brought_up_to_date_and_keeps_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(STEPS[0]).unwrap();
        old.execute_batch(
            "INSERT INTO repos (n, id, namespace, folded, default_branch, object_format, read_only, created_at,
                 updated_at, dropped) VALUES (7, '0123456789abcdef', 1, 'old', 'main', 0, 0, 1, 1, 0);
             PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(old);
        for _ in 0..2 {
            let conn = open_writer(&System, &path).unwrap();
            assert_eq!(version(&conn).unwrap(), STEPS.len() as i64);
            let row = "SELECT folded, importing FROM repos WHERE n = 7";
            let row = conn.query_row(row, [], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)));
            assert_eq!(row.unwrap(), ("old".to_owned(), false));
            let imports = conn.query_row("SELECT COUNT(*) FROM imports", [], |row| row.get::<_, i64>(0));
            assert_eq!(imports.unwrap(), 0);
        }
    }

    fn version_of(folder: &std::path::Path, steps: usize) -> std::path::PathBuf {
        let path = folder.join(format!("{steps}.sqlite"));
        let conn = Connection::open(&path).unwrap();
        conn.pragma_update(None, "journal_mode", "WAL").unwrap();
        STEPS[..steps].iter().for_each(|step| conn.execute_batch(step).unwrap());
        conn.pragma_update(None, "user_version", steps as i64).unwrap();
        path
    }

    fn tables(conn: &Connection) -> Vec<(String, Option<String>)> {
        let mut all = conn.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn every_earlier_version_becomes_the_same_as_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let new = tables(&open_writer(&System, &folder.path().join("new.sqlite")).unwrap());
        for steps in 0..=STEPS.len() {
            let conn = open_writer(&System, &version_of(folder.path(), steps)).unwrap();
            assert_eq!(tables(&conn), new, "from version {steps}");
        }
    }

    #[test]
    fn steps_that_were_cut_off_are_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        for (steps, next) in STEPS.iter().enumerate().skip(1) {
            let path = version_of(folder.path(), steps);
            let before = tables(&Connection::open(&path).unwrap());
            let cut = Connection::open(&path).unwrap();
            cut.execute_batch("BEGIN IMMEDIATE").unwrap();
            cut.execute_batch(next).unwrap();
            drop(cut); // as a kill would: nothing was committed
            assert_eq!(tables(&Connection::open(&path).unwrap()), before, "from version {steps}");
            assert_eq!(version(&open_writer(&System, &path).unwrap()).unwrap(), STEPS.len() as i64);
        }
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = version_of(folder.path(), STEPS.len());
        let newer = STEPS.len() as i64 + 1;
        Connection::open(&path).unwrap().pragma_update(None, "user_version", newer).unwrap();
        let Err(error) = open_writer(&System, &path) else { panic!("it was opened") };
        let known = STEPS.len();
        assert_eq!(error.to_string(), format!("catalog has schema {newer}, this program knows {known}"));
        assert_eq!(version(&Connection::open(&path).unwrap()).unwrap(), newer);
    }
}
