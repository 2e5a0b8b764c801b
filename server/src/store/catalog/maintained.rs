//! Which repositories were pushed to since their file was last looked after.

use rusqlite::params;

use super::repos::{COLUMNS, row_of};
use super::{Catalog, RepoRow, Result};
use crate::store::RepoId;

/// A repository whose file was looked after.
#[derive(Clone, Copy, Debug)]
pub struct Maintained {
    /// Its id.
    pub id: RepoId,
    /// Its last push then, in milliseconds since 1970.
    pub last_push_at_ms: i64,
    /// When it is to be looked at again, in milliseconds since 1970, though nobody pushed.
    pub again_at_ms: Option<i64>,
}

impl Catalog {
    /// Up to `take` live repositories that were pushed to since they were maintained, and not after `quiet_since_ms`; the
    /// longest quiet first.
    pub async fn to_maintain(&self, quiet_since_ms: i64, take: u32) -> Result<Vec<RepoRow>> {
        self.read(move |conn| {
            let sql = format!(
                "SELECT {COLUMNS} FROM repos r JOIN namespaces s ON s.n = r.namespace
                 WHERE r.deleted_at IS NULL AND r.last_push_at > r.maintained_at AND r.last_push_at <= ?1
                 ORDER BY r.last_push_at LIMIT ?2"
            );
            let mut page = conn.prepare_cached(&sql)?;
            page.query_map(params![quiet_since_ms, take], row_of)?.map(|row| row?).collect()
        })
        .await
    }

    /// Up to `take` live repositories that were to be looked at again by `now_ms`.
    pub async fn to_look_again(&self, now_ms: i64, take: u32) -> Result<Vec<RepoRow>> {
        self.read(move |conn| {
            let sql = format!(
                "SELECT {COLUMNS} FROM repos r JOIN namespaces s ON s.n = r.namespace
                 WHERE r.deleted_at IS NULL AND r.again_at IS NOT NULL AND r.again_at <= ?1
                 ORDER BY r.again_at LIMIT ?2"
            );
            let mut page = conn.prepare_cached(&sql)?;
            page.query_map(params![now_ms, take], row_of)?.map(|row| row?).collect()
        })
        .await
    }

    /// A live repository by its id.
    pub async fn repo_by_id(&self, id: RepoId) -> Result<Option<RepoRow>> {
        self.read(move |conn| super::repos::by_id(conn, id)).await
    }

    /// Notes which repositories were looked after, and what they hold since, as far as `note_bytes` was told.
    pub async fn maintained(&self, done: Vec<Maintained>) -> Result<()> {
        let noted = self.noted.clone();
        let ids: Vec<RepoId> = done.iter().map(|one| one.id).collect();
        let written = self.write(move |conn| {
            let mut update = conn.prepare_cached(
                "UPDATE repos SET maintained_at = max(maintained_at, ?2), again_at = ?3
                 WHERE id = ?1 AND deleted_at IS NULL",
            )?;
            let one = |one: &Maintained| {
                update.execute(params![one.id.to_string(), one.last_push_at_ms, one.again_at_ms])?;
                noted.write(conn, one.id)
            };
            done.iter().map(one).collect::<Result<Vec<_>>>()
        });
        for (id, written) in ids.into_iter().zip(written.await?) {
            self.noted.settle(id, written);
        }
        Ok(())
    }
}
