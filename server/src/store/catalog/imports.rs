//! Repositories that are being imported: a row of their own beside that of the repository, for as long as it takes.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Catalog, CatalogError, NewRepo, RepoRow, Result, repos};
use crate::store::RepoId;

/// An import as it was asked for. Credentials are never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// Where it comes from, without credentials.
    pub url: String,
    /// The one branch that is wanted, without `refs/heads/`; all branches and tags if absent.
    pub branch: Option<String>,
    /// Commits of history; all if absent.
    pub depth: Option<u32>,
    /// Whether the remote was asked with credentials, so that nobody can ask it again without the caller.
    pub is_private: bool,
}

/// What `source` says of a repository that was imported from `url`.
fn source(url: &str) -> String {
    format!("git:{}.git", url.strip_suffix(".git").unwrap_or(url))
}

fn row_of(conn: &Connection, id: RepoId) -> Result<Option<ImportRow>> {
    let mut find = conn.prepare_cached(
        "SELECT i.url, i.branch, i.depth, i.is_private FROM imports i JOIN repos r ON r.n = i.repo
         WHERE r.id = ?1 AND r.deleted_at IS NULL",
    )?;
    let row = find.query_row([id.to_string()], |row| {
        Ok(ImportRow { url: row.get(0)?, branch: row.get(1)?, depth: row.get(2)?, is_private: row.get(3)? })
    });
    Ok(row.optional()?)
}

impl Catalog {
    /// Makes a repository that is being imported, its namespace where that is absent, and its first token, in one.
    pub async fn create_import(&self, new: NewRepo, import: ImportRow) -> Result<RepoRow> {
        self.write(move |conn| {
            let row = repos::insert(conn, new, Some(source(&import.url)), &[])?;
            conn.prepare_cached("UPDATE repos SET importing = 1 WHERE n = ?1")?.execute([row.n])?;
            let mut insert = conn.prepare_cached(
                "INSERT INTO imports (repo, url, branch, depth, is_private) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            let ImportRow { url, branch, depth, is_private } = import;
            insert.execute(params![row.n, url, branch, depth, is_private])?;
            Ok(RepoRow { importing: true, ..row })
        })
        .await
    }

    /// Notes that an import is done: from now on the repository is one like any other. Fails where it was deleted meanwhile.
    pub async fn import_done(&self, id: RepoId, now: i64) -> Result<RepoRow> {
        self.write(move |conn| {
            let n = repos::live_number(conn, id)?.ok_or(CatalogError::RepoMissing)?;
            conn.prepare_cached("UPDATE repos SET importing = 0, updated_at = ?2 WHERE n = ?1")?
                .execute([n, now])?;
            conn.prepare_cached("DELETE FROM imports WHERE repo = ?1")?.execute([n])?;
            repos::by_id(conn, id)?.ok_or(CatalogError::Corrupt("repository index"))
        })
        .await
    }

    /// Takes back a repository whose import failed, so that nothing tells of it: its name is free, no list and no later delete
    /// knows it, and the namespace that was made for it goes too. Its file is to be dropped as that of any deleted repository.
    /// False where it is no import under way.
    pub async fn discard_import(&self, id: RepoId, now: i64) -> Result<bool> {
        self.write(move |conn| {
            let mut find = conn.prepare_cached(
                "SELECT r.n, r.namespace, r.created_at FROM repos r JOIN imports i ON i.repo = r.n
                 WHERE r.id = ?1 AND r.deleted_at IS NULL",
            )?;
            let found: Option<(i64, i64, i64)> = find
                .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((n, namespace, created_at)) = found else { return Ok(false) };
            repos::mark_deleted(conn, n, now)?;
            conn.prepare_cached("DELETE FROM imports WHERE repo = ?1")?.execute([n])?;
            // The row stays, since its number is never used again, but under no name.
            conn.prepare_cached("UPDATE repos SET folded = '', spelling = NULL WHERE n = ?1")?
                .execute([n])?;
            let mut empty = conn.prepare_cached(
                "UPDATE namespaces SET deleted_at = ?2 WHERE n = ?1 AND repo_count = 0 AND created_at = ?3",
            )?;
            empty.execute([namespace, now, created_at])?;
            Ok(true)
        })
        .await
    }

    /// What is asked for of an import under way.
    pub async fn import(&self, id: RepoId) -> Result<Option<ImportRow>> {
        self.read(move |conn| row_of(conn, id)).await
    }

    /// The repositories that are being imported, oldest first.
    pub async fn imports(&self) -> Result<Vec<(RepoRow, ImportRow)>> {
        self.read(move |conn| {
            let mut find = conn.prepare_cached(
                "SELECT r.id FROM imports i JOIN repos r ON r.n = i.repo WHERE r.deleted_at IS NULL ORDER BY r.n",
            )?;
            let ids = find.query_map([], |row| row.get::<_, String>(0))?;
            let ids = ids.collect::<rusqlite::Result<Vec<_>>>()?;
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                let id = RepoId::parse(&id).ok_or(CatalogError::Corrupt("repository id"))?;
                if let (Some(row), Some(import)) = (repos::by_id(conn, id)?, row_of(conn, id)?) {
                    found.push((row, import));
                }
            }
            Ok(found)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::source;

    #[test]
    fn a_source_ends_in_git_once() {
        assert_eq!(source("https://h/a/b"), "git:https://h/a/b.git");
        assert_eq!(source("https://h/a/b.git"), "git:https://h/a/b.git");
    }
}
