//! A copy of a repository's file that is kept up to date while another process serves the file.
//!
//! A copy is brought up to date in place only where it lost nothing: packs never change and logs only grow, so that a
//! copy with further entries still holds all that an older catalog names. What maintenance takes away or rewrites makes
//! a new copy instead, and the old one stays until nobody names it. Packs are told apart by their random keys, so that
//! a number that is used again is no trap.

use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roaring::RoaringBitmap;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::drops::{Drops, PLACES};
use super::fsck;
use super::limits::BUSY_MS_MAX;
use super::schema::{self, Use};
use crate::store::StoreError;
use crate::store::disk::{self, Disk, Stamp, beside};

/// What may stand in a file URI as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// A file that changed this shortly before it was looked at may change again within the same tick of the file system's
/// clock; in milliseconds.
const RACY_MS: i128 = 2_000;
/// Nanoseconds of a second.
const NANOS: i128 = 1_000_000_000;

/// Rows that stay as they are once they are there, by table: all columns but those that hold much, which are told by their
/// length. Rows that come and go, such as refs, are not among them.
const LASTING: &[(&str, &str)] = &[
    (
        "pack",
        "(b.key, b.live, b.seq, b.base_ordinal, b.object_count, b.bytes) IS NOT \
              (s.key, s.live, s.seq, s.base_ordinal, s.object_count, s.bytes)",
    ),
    ("chunk", "length(b.data) <> length(s.data)"),
    ("object", "b.ordinal <> s.ordinal"),
    ("entry", "(b.nonce, b.time_ms, b.pack) IS NOT (s.nonce, s.time_ms, s.pack)"),
    ("ref_change", "(b.old, b.new) IS NOT (s.old, s.new)"),
];

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// It has what the file has, after so many changed rows.
    Rows(u64),
    /// The file is not what the copy was made of and something more: a new copy is needed.
    Differs,
}

/// Names a state of a file: whoever sees the same text twice saw the same file. `None` where it changed just now, so
/// that its next change might show the same.
pub fn fingerprint(disk: &dyn Disk, path: &Path, now_ms: i64) -> Result<Option<String>, StoreError> {
    let mut text = String::new();
    for suffix in ["", "-wal"] {
        let found = match disk.stamp(&beside(path, suffix))? {
            Some(found) => found,
            None if suffix.is_empty() => {
                return Err(std::io::Error::from(std::io::ErrorKind::NotFound).into());
            }
            None => continue,
        };
        let Stamp { number, bytes, changed_ns } = found;
        if (i128::from(now_ms) - changed_ns / 1_000_000).abs() < RACY_MS {
            return Ok(None);
        }
        let (seconds, nanos) = (changed_ns.div_euclid(NANOS), changed_ns.rem_euclid(NANOS));
        text.push_str(&format!("{suffix}:{number}:{bytes}:{seconds}.{nanos};"));
    }
    Ok(Some(text))
}

/// Makes a copy that can be brought up to date later. Durable when it returns; absent where it fails.
pub fn make(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), StoreError> {
    fsck::backup(disk, from, to)?;
    // One file at rest, without companions: it can lie on a medium that takes no writes.
    let conn = open(disk, to)?;
    let staged: Vec<u32> = conn
        .prepare("SELECT id FROM pack WHERE live = 0")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for pack in staged {
        schema::delete_staged(&conn, pack)?;
    }
    conn.pragma_update(None, "journal_mode", "DELETE")?;
    conn.close().map_err(|(_, error)| error.into())
}

fn open(disk: &dyn Disk, copy: &Path) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = disk::connect(disk, copy, flags)?;
    conn.execute_batch("PRAGMA synchronous = EXTRA; PRAGMA cache_size = -4096; PRAGMA temp_store = FILE;")?;
    Ok(conn)
}

/// Brings `copy` to the state of `from` as of one moment, in one transaction: a crash leaves the state before or after.
pub fn sync(disk: &dyn Disk, from: &Path, copy: &Path) -> Result<Synced, StoreError> {
    // Leftovers of a crash are rolled back by whoever opens the copy for writing.
    let conn = open(disk, copy)?;
    let absolute = std::path::absolute(from)?;
    let path = absolute.to_str().ok_or(StoreError::Misuse("the folder of the data is not UTF-8"))?;
    let uri = format!("file:{}?mode=ro", utf8_percent_encode(path, PATH));
    conn.execute("ATTACH ?1 AS source", [uri])?;
    conn.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
    conn.execute_batch("BEGIN IMMEDIATE")?;
    // An error below drops the connection, which rolls back.
    if !same_tables(&conn)? || lost_something(&conn)? {
        return Ok(Synced::Differs);
    }
    let before = conn.total_changes();
    for table in tables(&conn)? {
        take_over(&conn, &table)?;
    }
    let rows = conn.total_changes() - before;
    conn.execute_batch("COMMIT")?;
    conn.close().map_err(|(_, error)| error)?;
    Ok(Synced::Rows(rows))
}

fn same_tables(conn: &Connection) -> Result<bool, StoreError> {
    let version = |schema: &str| -> Result<i64, StoreError> {
        Ok(conn.pragma_query_value(Some(schema), "user_version", |row| row.get(0))?)
    };
    let question = "SELECT NOT EXISTS (SELECT type, name, sql FROM main.sqlite_schema
            EXCEPT SELECT type, name, sql FROM source.sqlite_schema)
        AND NOT EXISTS (SELECT type, name, sql FROM source.sqlite_schema
            EXCEPT SELECT type, name, sql FROM main.sqlite_schema)";
    let same = conn.query_row(question, [], |row| row.get::<_, bool>(0))?;
    Ok(same && version("main")? == version("source")?)
}

fn lost_something(conn: &Connection) -> Result<bool, StoreError> {
    for (table, differs) in LASTING {
        let keys = keys(conn, table)?;
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM main.{table} b LEFT JOIN source.{table} s ON {on}
                 WHERE s.{first} IS NULL OR {differs})",
            on = same_keys(&keys),
            first = keys.first().map_or("rowid", String::as_str),
        );
        if conn.query_row(&sql, [], |row| row.get::<_, bool>(0))? {
            return Ok(true);
        }
    }
    // What was dropped may be what an older catalog pins.
    let dropped = |schema: &str| -> Result<Option<Vec<u8>>, StoreError> {
        let sql = format!("SELECT value FROM {schema}.meta WHERE key = ?1");
        Ok(conn.query_row(&sql, [PLACES], |row| row.get(0)).optional()?)
    };
    Ok(dropped("main")? != dropped("source")?)
}

fn tables(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT name FROM source.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    Ok(conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn keys(conn: &Connection, table: &str) -> Result<Vec<String>, StoreError> {
    let mut ask = conn.prepare("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")?;
    let keys = ask.query_map([table], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    match keys.is_empty() {
        true => Err(StoreError::corrupt(format!("table {table} has no primary key"))),
        false => Ok(keys),
    }
}

fn same_keys(keys: &[String]) -> String {
    keys.iter().map(|key| format!("b.{key} = s.{key}")).collect::<Vec<_>>().join(" AND ")
}

/// Makes a table equal to the source's. Rows of packs that are staged there are not taken.
fn take_over(conn: &Connection, table: &str) -> Result<(), StoreError> {
    let keys = keys(conn, table)?;
    let on = same_keys(&keys);
    let lasting = LASTING.iter().any(|(name, _)| *name == table);
    if lasting {
        let is_live = match table {
            "pack" => "AND s.live = 1",
            "chunk" => "AND EXISTS (SELECT 1 FROM source.pack p WHERE p.id = s.id >> 22 AND p.live = 1)",
            _ => "",
        };
        let sql = format!(
            "INSERT INTO main.{table} SELECT s.* FROM source.{table} s
             WHERE NOT EXISTS (SELECT 1 FROM main.{table} b WHERE {on}) {is_live}"
        );
        conn.execute(&sql, [])?;
        return Ok(());
    }
    let columns: Vec<String> = conn
        .prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map([table], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let differs: Vec<String> = columns.iter().map(|name| format!("b.{name} IS NOT s.{name}")).collect();
    conn.execute(
        &format!(
            "DELETE FROM main.{table} AS b WHERE NOT EXISTS (SELECT 1 FROM source.{table} s WHERE {on})"
        ),
        [],
    )?;
    conn.execute(
        &format!(
            "INSERT OR REPLACE INTO main.{table} SELECT s.* FROM source.{table} s
                 LEFT JOIN main.{table} b ON {on} WHERE {}",
            differs.join(" OR ")
        ),
        [],
    )?;
    Ok(())
}

/// Ordinals of a log that were dropped.
pub fn dropped_at(path: &Path) -> Result<RoaringBitmap, StoreError> {
    Ok(Drops::load(&schema::connect(path, Use::ReadOnly)?)?.places)
}

/// What tells an entry of a log from every other; `None` where the log does not have it.
pub fn nonce_at(path: &Path, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
    if !path.try_exists()? {
        return Ok(None);
    }
    let conn = schema::connect(path, Use::ReadOnly)?;
    let ask = "SELECT nonce FROM entry WHERE seq = ?1";
    Ok(conn.query_row(ask, [schema::int(seq)], |row| row.get(0)).optional()?)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use cairn_protocol::object::HashAlgo;
    use rusqlite::Connection;

    use super::{Synced, fingerprint, make, open, sync};
    use crate::store::disk::System;
    use crate::store::repo::schema;

    const ENTRY: &str = "
        INSERT INTO pack VALUES (1, x'aa', 1, 40, 1, 0, 1, 1, x'', x'', x'', x'', x'', NULL);
        INSERT INTO chunk VALUES (4194304, x'0102');
        INSERT INTO object VALUES (x'11', 0);
        INSERT INTO entry VALUES (1, 5, 'a', 'push', x'01', 1);
        INSERT INTO ref_change VALUES (x'61', 1, NULL, x'11', NULL);
        INSERT INTO ref VALUES (x'61', x'11', NULL);";

    struct Pair {
        _folder: tempfile::TempDir,
        file: PathBuf,
        copy: PathBuf,
    }

    impl Pair {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("a % b?.sqlite");
            schema::create_file(
                &crate::store::disk::System,
                &file,
                &schema::template(HashAlgo::Sha1).unwrap(),
            )
            .unwrap();
            let pair = Self { copy: folder.path().join("copy.sqlite"), file, _folder: folder };
            pair.change(ENTRY);
            make(&System, &pair.file, &pair.copy).unwrap();
            pair
        }

        fn change(&self, sql: &str) {
            Connection::open(&self.file).unwrap().execute_batch(sql).unwrap();
        }

        fn sync(&self) -> Synced {
            sync(&System, &self.file, &self.copy).unwrap()
        }
    }

    fn content(path: &Path) -> Vec<String> {
        let conn = open(&System, path).unwrap();
        let mut all = Vec::new();
        for table in ["meta", "entry", "ref_change", "ref", "pack", "chunk", "object", "reach"] {
            let mut select = conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = select.column_count();
            let mut rows = select.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let cells: Vec<_> = (0..columns).map(|at| row.get_ref(at).unwrap()).collect();
                all.push(format!("{table} {cells:?}"));
            }
        }
        all
    }

    #[test]
    fn what_is_added_and_what_may_change_is_taken_over() {
        let pair = Pair::new();
        assert_eq!(pair.sync(), Synced::Rows(0));
        pair.change(
            "INSERT INTO pack VALUES (2, x'bb', 1, 40, 1, 1, 2, 1, x'', x'', x'', x'', x'', NULL);
             INSERT INTO chunk VALUES (8388608, x'0304');
             INSERT INTO object VALUES (x'22', 1);
             INSERT INTO entry VALUES (2, 6, 'a', 'push', x'02', 2);
             INSERT INTO ref_change VALUES (x'61', 2, x'11', x'22', NULL);
             UPDATE ref SET id = x'22';
             INSERT INTO reach VALUES (0, x'00', x'ff');",
        );
        assert_eq!(pair.sync(), Synced::Rows(7));
        assert_eq!(content(&pair.copy), content(&pair.file));
        pair.change("DELETE FROM reach; INSERT INTO ref VALUES (x'62', x'22', NULL);");
        assert_eq!(pair.sync(), Synced::Rows(2));
        assert_eq!(content(&pair.copy), content(&pair.file));
    }

    #[test]
    fn what_is_staged_is_not_taken() {
        let pair = Pair::new();
        let before = content(&pair.copy);
        pair.change(
            "INSERT INTO pack VALUES (2, x'bb', 0, 40, 1, NULL, NULL, 1, x'', x'', x'', x'', x'', NULL);
             INSERT INTO chunk VALUES (8388608, x'0304');",
        );
        assert_eq!(pair.sync(), Synced::Rows(0));
        make(&System, &pair.file, &pair.copy).unwrap();
        assert_eq!(content(&pair.copy), before);
    }

    #[test]
    fn a_file_that_lost_or_changed_what_lasts_needs_a_new_copy_and_the_old_one_stays() {
        let cases = [
            ("a pack under a number that was used before", "UPDATE pack SET key = x'cc'"),
            ("a pack that was taken away", "DELETE FROM pack; DELETE FROM chunk"),
            ("a chunk that was cut", "UPDATE chunk SET data = x'01'"),
            ("an object at another place", "UPDATE object SET ordinal = 7"),
            ("an entry of another log", "UPDATE entry SET nonce = x'09'"),
            ("a ref change that is gone", "DELETE FROM ref_change"),
            ("objects that were dropped", "INSERT INTO meta VALUES ('dropped', x'01')"),
            ("a table more", "CREATE TABLE more (id INTEGER PRIMARY KEY)"),
            ("a newer version", "PRAGMA user_version = 99"),
        ];
        for (why, sql) in cases {
            let pair = Pair::new();
            let before = content(&pair.copy);
            pair.change(sql);
            assert_eq!(pair.sync(), Synced::Differs, "{why}");
            assert_eq!(content(&pair.copy), before, "{why}");
            assert!(!pair.copy.with_extension("sqlite-journal").exists(), "{why}");
        }
    }

    #[test]
    fn a_file_is_named_by_its_state_once_it_is_at_rest() {
        let pair = Pair::new();
        let changed = std::fs::metadata(&pair.file).unwrap().modified().unwrap();
        let ms = changed.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
        assert_eq!(
            fingerprint(&System, &pair.file, ms + 1_999).unwrap(),
            None,
            "it may change in the same tick"
        );
        let first = fingerprint(&System, &pair.file, ms + 60_000).unwrap();
        assert!(first.is_some());
        assert_eq!(fingerprint(&System, &pair.file, ms + 70_000).unwrap(), first);
        pair.change("INSERT INTO reach VALUES (0, x'00', zeroblob(100000))");
        assert_ne!(fingerprint(&System, &pair.file, ms + 60_000).unwrap(), first);
        assert!(fingerprint(&System, &pair.copy.with_extension("none"), ms).is_err());
    }
}
