//! What a backup asks of a catalog and does to its copy.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{Catalog, CatalogError, NewRepo, RepoRow, Result, forks, repos};
use crate::store::disk::{self, Disk};
use crate::store::{Pin, RepoId};

impl Catalog {
    /// Those of `ids` that no live repository has.
    pub async fn not_live(&self, ids: Vec<RepoId>) -> Result<Vec<RepoId>> {
        self.read(move |conn| {
            let mut gone = Vec::new();
            for id in ids {
                if repos::live_number(conn, id)?.is_none() {
                    gone.push(id);
                }
            }
            Ok(gone)
        })
        .await
    }

    /// Makes a row like `old` for a repository whose file is already in its place, on logs that must still be kept.
    pub async fn adopt_repo(
        &self,
        id: RepoId,
        new: NewRepo,
        old: RepoRow,
        own_bytes: u64,
    ) -> Result<RepoRow> {
        let below: Vec<Pin> = old.pins.into_iter().skip(1).collect();
        self.write(move |conn| {
            let mut kept = conn.prepare_cached("SELECT 1 FROM repos WHERE id = ?1 AND dropped = 0")?;
            for log in &below {
                let found: Option<i64> = kept.query_row([log.id.to_string()], |row| row.get(0)).optional()?;
                found.ok_or(CatalogError::Corrupt("pin: the log is gone"))?;
            }
            let row = repos::insert_as(conn, id, new, old.source, &below)?;
            forks::pin(conn, row.n, &below)?;
            let own_bytes = i64::try_from(own_bytes).unwrap_or(i64::MAX);
            conn.execute(
                "UPDATE repos SET own_bytes = ?2, last_push_at = ?3 WHERE n = ?1",
                (row.n, own_bytes, old.last_push_at_ms),
            )?;
            Ok(row)
        })
        .await
    }
}

/// A copy of a catalog that nobody serves: one file at rest.
pub(crate) struct CatalogCopy(Connection);

impl CatalogCopy {
    /// Opens what `copy_to` made. Blocks, as all of this does.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let conn = disk::connect(disk, path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.pragma_update(None, "journal_mode", "DELETE")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self(conn))
    }

    /// Whether the file of a repository, dead or alive, belongs to what the catalog names.
    pub(crate) fn keeps_file(&self, id: RepoId) -> Result<bool> {
        let mut find = self.0.prepare_cached("SELECT 1 FROM repos WHERE id = ?1 AND dropped = 0")?;
        Ok(find.exists([id.as_str()])?)
    }

    /// The next `take` live repositories behind the number `after`, with their numbers.
    pub(crate) fn live_after(&self, after: i64, take: u32) -> Result<Vec<(i64, RepoId)>> {
        let mut page = self.0.prepare_cached(
            "SELECT n, id FROM repos WHERE n > ?1 AND deleted_at IS NULL ORDER BY n LIMIT ?2",
        )?;
        let rows =
            page.query_map((after, take), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
        let parsed = |(n, id): (i64, String)| RepoId::parse(&id).map(|id| (n, id));
        rows.map(|row| parsed(row?).ok_or(CatalogError::Corrupt("repository id"))).collect()
    }

    /// Marks repositories deleted that were deleted after the copy was made: what they stood on may be gone since.
    pub(crate) fn delete(&self, gone: &[RepoId], now_ms: i64) -> Result<()> {
        self.0.execute_batch("BEGIN IMMEDIATE")?;
        for id in gone {
            if let Some(n) = repos::live_number(&self.0, *id)? {
                repos::mark_deleted(&self.0, n, now_ms)?;
            }
        }
        Ok(self.0.execute_batch("COMMIT")?)
    }
}
