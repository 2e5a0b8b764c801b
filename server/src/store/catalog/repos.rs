//! Rows of repositories.

use cairn_protocol::object::HashAlgo;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::list::{self, RepoPage};
use super::{Catalog, CatalogError, Listed, NewToken, Result, forks, namespaces, search, tokens};
use crate::names::Name;
use crate::store::{Pin, RepoId};

/// A live repository.
#[derive(Clone, Debug)]
pub struct RepoRow {
    /// Its number in the catalog.
    pub(super) n: i64,
    /// Its id.
    pub id: RepoId,
    /// The namespace, as it was spelled.
    pub namespace: String,
    /// The name, as it was spelled.
    pub name: String,
    /// What its owner says of it.
    pub description: Option<String>,
    /// The branch that HEAD names, without `refs/heads/`.
    pub default_branch: String,
    /// The hash function of its objects.
    pub object_format: HashAlgo,
    /// Whether pushes and REST writes are refused.
    pub read_only: bool,
    /// Whether its import is still under way: it can be listed and deleted, and nothing else.
    pub importing: bool,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// Milliseconds since 1970.
    pub updated_at_ms: i64,
    /// Milliseconds since 1970; `None` before the first push.
    pub last_push_at_ms: Option<i64>,
    /// Where it came from: `artifacts:<ns>/<repo>` or `git:<url>`.
    pub source: Option<String>,
    /// The logs that it reads: its own first, then those it was forked from, nearest first.
    pub pins: Vec<Pin>,
}

/// A repository to be made.
#[derive(Clone, Debug)]
pub struct NewRepo {
    /// Where; made if absent.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// What its owner says of it.
    pub description: Option<String>,
    /// The branch that HEAD names. Forks take their base's.
    pub default_branch: String,
    /// The hash function of its objects. Forks take their base's.
    pub object_format: HashAlgo,
    /// Whether pushes are refused.
    pub read_only: bool,
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// Its first token.
    pub token: Option<NewToken>,
}

/// What may be changed later; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub struct RepoChange {
    /// The inner `None` removes the description.
    pub description: Option<Option<String>>,
    /// The branch that HEAD names.
    pub default_branch: Option<String>,
    /// Whether pushes are refused.
    pub read_only: Option<bool>,
}

pub(super) const COLUMNS: &str =
    "r.n, r.id, s.name, COALESCE(r.spelling, r.folded), r.description, r.default_branch,
    r.object_format, r.read_only, r.created_at, r.updated_at, r.last_push_at, r.source, r.chain, r.importing";

pub(super) fn row_of(row: &Row<'_>) -> rusqlite::Result<Result<RepoRow>> {
    let id: String = row.get(1)?;
    let Some(id) = RepoId::parse(&id) else {
        return Ok(Err(CatalogError::Corrupt("repository id")));
    };
    let chain: Option<Vec<u8>> = row.get(12)?;
    let Some(mut below) = forks::decode_chain(chain.as_deref().unwrap_or_default()) else {
        return Ok(Err(CatalogError::Corrupt("fork chain")));
    };
    below.insert(0, Pin::new(id, None));
    Ok(Ok(RepoRow {
        n: row.get(0)?,
        id,
        namespace: row.get(2)?,
        name: row.get(3)?,
        description: row.get(4)?,
        default_branch: row.get(5)?,
        object_format: if row.get::<_, i64>(6)? == 0 { HashAlgo::Sha1 } else { HashAlgo::Sha256 },
        read_only: row.get(7)?,
        created_at_ms: row.get(8)?,
        updated_at_ms: row.get(9)?,
        last_push_at_ms: row.get(10)?,
        source: row.get(11)?,
        pins: below,
        importing: row.get(13)?,
    }))
}

/// The number of a live repository.
pub(super) fn live_number(conn: &Connection, id: RepoId) -> Result<Option<i64>> {
    let mut find = conn.prepare_cached("SELECT n FROM repos WHERE id = ?1 AND deleted_at IS NULL")?;
    Ok(find.query_row([id.to_string()], |row| row.get(0)).optional()?)
}

/// A live repository by its id.
pub(super) fn by_id(conn: &Connection, id: RepoId) -> Result<Option<RepoRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM repos r JOIN namespaces s ON s.n = r.namespace WHERE r.id = ?1 AND r.deleted_at IS NULL"
    );
    conn.prepare_cached(&sql)?.query_row([id.to_string()], row_of).optional()?.transpose()
}

/// Inserts the row of `new`, with `chain` below it.
pub(super) fn insert(
    conn: &Connection,
    new: NewRepo,
    source: Option<String>,
    below: &[Pin],
) -> Result<RepoRow> {
    insert_as(conn, RepoId::random(), new, source, below)
}

/// The same under an id of the caller's, which was never used.
pub(super) fn insert_as(
    conn: &Connection,
    id: RepoId,
    new: NewRepo,
    source: Option<String>,
    below: &[Pin],
) -> Result<RepoRow> {
    let namespace = namespaces::ensure(conn, &new.namespace, new.now_ms)?;
    let folded = new.name.folded();
    let spelling = (folded != new.name.as_str()).then(|| new.name.as_str().to_owned());
    let chain = forks::encode_chain(below);
    let mut insert = conn.prepare_cached(
        "INSERT INTO repos (n, id, namespace, folded, spelling, description, default_branch, object_format,
             read_only, created_at, updated_at, source, chain, dropped)
         SELECT COALESCE(MAX(n), 0) + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, 0 FROM repos WHERE true
         ON CONFLICT DO NOTHING RETURNING n",
    )?;
    let format = i64::from(new.object_format == HashAlgo::Sha256);
    let values = params![
        id.to_string(),
        namespace,
        folded,
        spelling,
        new.description,
        new.default_branch,
        format,
        new.read_only,
        new.now_ms,
        source,
        chain
    ];
    let taken = || CatalogError::RepoExists(new.name.as_str().to_owned());
    let n: i64 = insert.query_row(values, |row| row.get(0)).optional()?.ok_or_else(taken)?;
    search::insert(conn, n, &new.name.folded())?;
    namespaces::count(conn, namespace, 1, new.now_ms)?;
    if let Some(token) = &new.token {
        tokens::insert(conn, n, token)?;
    }
    by_id(conn, id)?.ok_or(CatalogError::Corrupt("repository index"))
}

/// Marks a live repository deleted: its tokens die, what it pinned is free, its file stays while others pin it.
pub(super) fn mark_deleted(conn: &Connection, n: i64, now: i64) -> Result<()> {
    let mut mark = conn.prepare_cached(
        "UPDATE repos SET deleted_at = ?2 WHERE n = ?1 AND deleted_at IS NULL RETURNING namespace, chain, folded",
    )?;
    let marked = mark.query_row([n, now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let (namespace, chain, folded): (i64, Option<Vec<u8>>, String) =
        marked.ok_or(CatalogError::RepoMissing)?;
    search::remove(conn, n, &folded)?;
    let below = forks::decode_chain(chain.as_deref().unwrap_or_default())
        .ok_or(CatalogError::Corrupt("fork chain"))?;
    forks::unpin(conn, n, &below)?;
    conn.prepare_cached("DELETE FROM tokens WHERE repo = ?1")?.execute([n])?;
    conn.prepare_cached("DELETE FROM imports WHERE repo = ?1")?.execute([n])?;
    namespaces::count(conn, namespace, -1, now)
}

impl Catalog {
    /// Makes an empty repository, its namespace where that is absent, and its first token, in one.
    pub async fn create_repo(&self, new: NewRepo) -> Result<RepoRow> {
        self.write(move |conn| insert(conn, new, None, &[])).await
    }

    /// The live repository of that name.
    pub async fn resolve(&self, namespace: &str, name: &str) -> Result<Option<RepoRow>> {
        let names = [namespace.to_ascii_lowercase(), name.to_ascii_lowercase()];
        self.read(move |conn| {
            let sql = format!(
                "SELECT {COLUMNS} FROM namespaces s JOIN repos r ON r.namespace = s.n AND r.deleted_at IS NULL
                 WHERE s.folded = ?1 AND s.deleted_at IS NULL AND r.folded = ?2"
            );
            conn.prepare_cached(&sql)?.query_row(names, row_of).optional()?.transpose()
        })
        .await
    }

    /// Changes what may be changed.
    pub async fn change_repo(&self, id: RepoId, change: RepoChange, now: i64) -> Result<RepoRow> {
        self.write(move |conn| {
            let n = live_number(conn, id)?.ok_or(CatalogError::RepoMissing)?;
            let mut update = conn.prepare_cached(
                "UPDATE repos SET updated_at = ?2, default_branch = COALESCE(?3, default_branch),
                     read_only = COALESCE(?4, read_only) WHERE n = ?1",
            )?;
            update.execute(params![n, now, change.default_branch, change.read_only])?;
            if let Some(text) = change.description {
                conn.execute("UPDATE repos SET description = ?2 WHERE n = ?1", params![n, text])?;
            }
            by_id(conn, id)?.ok_or(CatalogError::Corrupt("repository index"))
        })
        .await
    }

    /// Notes a push. Durable when it answers; a caller that cannot wait may drop the future after polling it once.
    pub async fn touched(&self, id: RepoId, push_time_ms: i64) -> Result<()> {
        let noted = self.noted.clone();
        let written = self.write(move |conn| {
            let mut update = conn.prepare_cached(
                "UPDATE repos SET last_push_at = ?2, updated_at = CASE WHEN updated_at < ?2 THEN ?2 ELSE updated_at END
                 WHERE id = ?1 AND deleted_at IS NULL AND COALESCE(last_push_at, 0) <= ?2",
            )?;
            update.execute(params![id.to_string(), push_time_ms])?;
            noted.write(conn, id)
        });
        let written = written.await?;
        self.noted.settle(id, written);
        Ok(())
    }

    /// Marks a repository deleted and tells its id; the id again where that was done before.
    pub async fn delete_repo(&self, namespace: &str, name: &str, now: i64) -> Result<RepoId> {
        let names = [namespace.to_ascii_lowercase(), name.to_ascii_lowercase()];
        self.write(move |conn| {
            let [namespace, name] = names;
            let space = namespaces::number(conn, &namespace)?.ok_or(CatalogError::RepoMissing)?;
            let mut live = conn.prepare_cached(
                "SELECT n, id FROM repos WHERE namespace = ?1 AND folded = ?2 AND deleted_at IS NULL",
            )?;
            let found: Option<(i64, String)> =
                live.query_row(params![space, name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let id = match found {
                Some((n, id)) => {
                    mark_deleted(conn, n, now)?;
                    id
                }
                None => conn
                    .prepare_cached(
                        "SELECT id FROM repos WHERE namespace = ?1 AND folded = ?2 AND deleted_at IS NOT NULL
                         ORDER BY n DESC LIMIT 1",
                    )?
                    .query_row(params![space, name], |row| row.get(0))
                    .optional()?
                    .ok_or(CatalogError::RepoMissing)?,
            };
            RepoId::parse(&id).ok_or(CatalogError::Corrupt("repository id"))
        })
        .await
    }

    /// Part of a namespace's repositories.
    pub async fn repos(&self, page: RepoPage) -> Result<Listed<RepoRow>> {
        self.read(move |conn| list::list(conn, &page)).await
    }

    /// Every live repository in batches of `take`, by ascending id number: pass the last one's `cursor` to go on.
    pub async fn all_repos(&self, after: Option<&RepoRow>, take: u32) -> Result<Vec<RepoRow>> {
        let after = after.map_or(0, |row| row.n);
        self.read(move |conn| {
            let sql = format!(
                "SELECT {COLUMNS} FROM repos r JOIN namespaces s ON s.n = r.namespace
                 WHERE r.n > ?1 AND r.deleted_at IS NULL ORDER BY r.n LIMIT ?2"
            );
            let mut page = conn.prepare_cached(&sql)?;
            page.query_map([after, i64::from(take)], row_of)?.map(|row| row?).collect()
        })
        .await
    }
}
