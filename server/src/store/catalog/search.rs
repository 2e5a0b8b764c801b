//! Finding a part of a name among very many: an index of the names' trigrams (PostgreSQL's is called pg_trgm).
//!
//! The index names candidates, which the caller checks; it knows nothing of namespaces. It costs some 20 bytes a name.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::Result;
use crate::limits::{SEARCH_CANDIDATES_MAX, SEARCH_SCAN_REPOS_MAX};

/// Adds a name.
pub(super) fn insert(conn: &Connection, n: i64, folded: &str) -> Result<()> {
    let mut insert = conn.prepare_cached("INSERT INTO repos_trigrams (rowid, folded) VALUES (?1, ?2)")?;
    insert.execute(params![n, folded])?;
    Ok(())
}

/// Removes a name, which must be the one that was added.
pub(super) fn remove(conn: &Connection, n: i64, folded: &str) -> Result<()> {
    let sql = "INSERT INTO repos_trigrams (repos_trigrams, rowid, folded) VALUES ('delete', ?1, ?2)";
    conn.prepare_cached(sql)?.execute(params![n, folded])?;
    Ok(())
}

/// The numbers of all repositories that may have `part` in their names; `None` where reading all names of the
/// namespace, which holds `count`, is the better way: it is small, `part` is shorter than a trigram, or very many match.
pub(super) fn candidates(conn: &Connection, part: &str, count: i64) -> Result<Option<Vec<i64>>> {
    let signs: Vec<char> = part.to_ascii_lowercase().chars().collect();
    if count <= SEARCH_SCAN_REPOS_MAX || signs.len() < 3 {
        return Ok(None);
    }
    let quoted = |three: &[char]| format!("\"{}\"", three.iter().collect::<String>().replace('"', "\"\""));
    let trigrams: BTreeSet<String> = signs.windows(3).map(quoted).collect();
    let query = trigrams.into_iter().collect::<Vec<_>>().join(" AND ");
    let mut find =
        conn.prepare_cached("SELECT rowid FROM repos_trigrams WHERE repos_trigrams MATCH ?1 LIMIT ?2")?;
    let most = SEARCH_CANDIDATES_MAX;
    let found: Vec<i64> =
        find.query_map(params![query, most + 1], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok((found.len() as i64 <= most).then_some(found))
}
