//! Rows of namespaces.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Catalog, CatalogError, Listed, Result, Window, repos};
use crate::names::Name;

/// A namespace as callers see it.
#[derive(Clone, Debug)]
pub struct NamespaceRow {
    /// As it was spelled.
    pub name: String,
    /// Live repositories in it.
    pub repo_count: u64,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// Milliseconds since 1970.
    pub updated_at_ms: i64,
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<NamespaceRow> {
    Ok(NamespaceRow {
        name: row.get(0)?,
        repo_count: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
        created_at_ms: row.get(2)?,
        updated_at_ms: row.get(3)?,
    })
}

/// The number of a live namespace.
pub(super) fn number(conn: &Connection, folded: &str) -> Result<Option<i64>> {
    let mut find =
        conn.prepare_cached("SELECT n FROM namespaces WHERE folded = ?1 AND deleted_at IS NULL")?;
    Ok(find.query_row([folded], |row| row.get(0)).optional()?)
}

/// Makes a namespace; `None` where it exists.
fn insert(conn: &Connection, name: &Name, now: i64) -> Result<Option<i64>> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO namespaces (n, name, folded, repo_count, created_at, updated_at)
         SELECT COALESCE(MAX(n), 0) + 1, ?1, ?2, 0, ?3, ?3 FROM namespaces WHERE true
         ON CONFLICT DO NOTHING RETURNING n",
    )?;
    Ok(insert.query_row(params![name.as_str(), name.folded(), now], |row| row.get(0)).optional()?)
}

/// The number of a namespace, which is made where it is absent.
pub(super) fn ensure(conn: &Connection, name: &Name, now: i64) -> Result<i64> {
    if let Some(n) = number(conn, &name.folded())? {
        return Ok(n);
    }
    insert(conn, name, now)?.ok_or(CatalogError::Corrupt("namespace index"))
}

/// Counts repositories in (+1) or out (-1).
pub(super) fn count(conn: &Connection, namespace: i64, by: i64, now: i64) -> Result<()> {
    let mut update = conn
        .prepare_cached("UPDATE namespaces SET repo_count = repo_count + ?2, updated_at = ?3 WHERE n = ?1")?;
    update.execute([namespace, by, now])?;
    Ok(())
}

const COLUMNS: &str = "name, repo_count, created_at, updated_at";

impl Catalog {
    /// Makes a namespace.
    pub async fn create_namespace(&self, name: Name, now: i64) -> Result<NamespaceRow> {
        self.write(move |conn| {
            insert(conn, &name, now)?.ok_or(CatalogError::NamespaceExists)?;
            let name = name.as_str().to_owned();
            Ok(NamespaceRow { name, repo_count: 0, created_at_ms: now, updated_at_ms: now })
        })
        .await
    }

    /// The live namespace of that name.
    pub async fn namespace(&self, name: &str) -> Result<Option<NamespaceRow>> {
        let folded = name.to_ascii_lowercase();
        self.read(move |conn| {
            let sql = format!("SELECT {COLUMNS} FROM namespaces WHERE folded = ?1 AND deleted_at IS NULL");
            Ok(conn.prepare_cached(&sql)?.query_row([folded], row_of).optional()?)
        })
        .await
    }

    /// Live namespaces, newest first.
    pub async fn namespaces(&self, window: Window) -> Result<Listed<NamespaceRow>> {
        self.read(move |conn| {
            let snapshot = conn.unchecked_transaction()?;
            let sql = format!(
                "SELECT {COLUMNS} FROM namespaces WHERE deleted_at IS NULL ORDER BY n DESC LIMIT ?1 OFFSET ?2"
            );
            let (take, skip) = window.sql();
            let mut page = snapshot.prepare_cached(&sql)?;
            let items = page.query_map([take, skip], row_of)?.collect::<rusqlite::Result<_>>()?;
            let count = "SELECT COUNT(*) FROM namespaces WHERE deleted_at IS NULL";
            let total: i64 = snapshot.prepare_cached(count)?.query_row([], |row| row.get(0))?;
            Ok(Listed { items, total: u64::try_from(total).unwrap_or(0) })
        })
        .await
    }

    /// Those of the named namespaces that live, newest first. `folded` are a few names in lower case.
    pub async fn namespaces_among(
        &self,
        folded: Vec<String>,
        window: Window,
    ) -> Result<Listed<NamespaceRow>> {
        self.read(move |conn| {
            let snapshot = conn.unchecked_transaction()?;
            let sql = format!("SELECT {COLUMNS}, n FROM namespaces WHERE folded = ?1 AND deleted_at IS NULL");
            let mut find = snapshot.prepare_cached(&sql)?;
            let mut rows: Vec<(i64, NamespaceRow)> = Vec::new();
            for name in folded {
                rows.extend(find.query_row([name], |row| Ok((row.get(4)?, row_of(row)?))).optional()?);
            }
            rows.sort_unstable_by_key(|(n, _)| std::cmp::Reverse(*n));
            let total = rows.len() as u64;
            let count = |part: u64| usize::try_from(part).unwrap_or(usize::MAX);
            let part = rows.into_iter().skip(count(window.skip)).take(count(window.take));
            Ok(Listed { items: part.map(|(_, row)| row).collect(), total })
        })
        .await
    }

    /// Marks a namespace deleted, with all that is in it if `force`.
    pub async fn delete_namespace(&self, name: &str, force: bool, now: i64) -> Result<()> {
        let folded = name.to_ascii_lowercase();
        self.write(move |conn| {
            let n = number(conn, &folded)?.ok_or(CatalogError::NamespaceMissing)?;
            let mut inside =
                conn.prepare_cached("SELECT n FROM repos WHERE namespace = ?1 AND deleted_at IS NULL")?;
            let repos: Vec<i64> =
                inside.query_map([n], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            if !repos.is_empty() && !force {
                return Err(CatalogError::NamespaceInUse(repos.len() as u64));
            }
            for repo in repos {
                repos::mark_deleted(conn, repo, now)?;
            }
            conn.prepare_cached("UPDATE namespaces SET deleted_at = ?2 WHERE n = ?1")?.execute([n, now])?;
            Ok(())
        })
        .await
    }
}
