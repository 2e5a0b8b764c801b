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

/// What the trigrams say of a search.
pub(super) enum Candidates {
    /// Reading all names of the namespace is the better way: it is small.
    All,
    /// These numbers alone, of any namespace, may have the part in their names.
    Few(Vec<i64>),
    /// Very many may, or the part is too short for a trigram.
    Many,
}

/// The query for names that may hold `part`; `None` where it is shorter than a trigram.
pub(super) fn query(part: &str) -> Option<String> {
    let signs: Vec<char> = part.to_ascii_lowercase().chars().collect();
    let quoted = |three: &[char]| format!("\"{}\"", three.iter().collect::<String>().replace('"', "\"\""));
    let trigrams: BTreeSet<String> = signs.windows(3).map(quoted).collect();
    (!trigrams.is_empty()).then(|| trigrams.into_iter().collect::<Vec<_>>().join(" AND "))
}

/// Looks `part` up, for a namespace that holds `count` repositories.
pub(super) fn candidates(conn: &Connection, part: &str, count: i64) -> Result<Candidates> {
    if count <= SEARCH_SCAN_REPOS_MAX {
        return Ok(Candidates::All);
    }
    let Some(query) = query(part) else { return Ok(Candidates::Many) };
    let mut find =
        conn.prepare_cached("SELECT rowid FROM repos_trigrams WHERE repos_trigrams MATCH ?1 LIMIT ?2")?;
    let most = SEARCH_CANDIDATES_MAX;
    let found: Vec<i64> =
        find.query_map(params![query, most + 1], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(if found.len() as i64 <= most { Candidates::Few(found) } else { Candidates::Many })
}
