//! How many bytes of packs repositories and namespaces hold.
//!
//! A repository's number is set with the time of its push, in the same transaction; triggers keep the namespaces' sums.
//! What was noted and is not written yet is kept in memory and counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use super::{Catalog, Result};
use crate::limits::NOTED_SIZES_MAX;
use crate::store::RepoId;

/// Entry and bytes of repositories whose row does not tell yet.
#[derive(Clone, Default)]
pub(super) struct Noted(Arc<Mutex<HashMap<RepoId, (u64, u64)>>>);

impl Noted {
    fn insert(&self, id: RepoId, seq: u64, bytes: u64) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_older = noted.get(&id).is_some_and(|(known, _)| *known > seq);
        // Only a path that never says `touched` could fill it; such bytes are noted by the next push.
        if !is_older && (noted.len() < NOTED_SIZES_MAX || noted.contains_key(&id)) {
            noted.insert(id, (seq, bytes));
        }
    }

    /// Writes what is noted of `id` to its row; answers what `settle` takes.
    pub(super) fn write(&self, conn: &Connection, id: RepoId) -> Result<Option<u64>> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
        let Some((seq, bytes)) = noted else { return Ok(None) };
        let sql = "UPDATE repos SET own_bytes = ?2 WHERE id = ?1";
        conn.prepare_cached(sql)?
            .execute(params![id.to_string(), i64::try_from(bytes).unwrap_or(i64::MAX)])?;
        Ok(Some(seq))
    }

    /// Forgets what is durable.
    pub(super) fn settle(&self, id: RepoId, written: Option<u64>) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&id).is_some_and(|(seq, _)| Some(*seq) == written) {
            noted.remove(&id);
        }
    }

    fn all(&self) -> Vec<(RepoId, u64)> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.iter().map(|(id, (_, bytes))| (*id, *bytes)).collect()
    }
}

impl Catalog {
    /// Notes that the repository held `bytes` after its entry `seq`. Kept with the next `touched`.
    pub fn note_bytes(&self, id: RepoId, seq: u64, bytes: u64) {
        self.noted.insert(id, seq, bytes);
    }

    /// What all live repositories hold, as far as it was written to the catalog.
    pub async fn stored_bytes(&self) -> Result<u64> {
        self.read(|conn| {
            let sql = "SELECT COALESCE(SUM(own_bytes), 0) FROM namespaces WHERE deleted_at IS NULL";
            let bytes: i64 = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            Ok(u64::try_from(bytes).unwrap_or(0))
        })
        .await
    }

    /// What the live repositories of a namespace hold; 0 where there is no such namespace.
    pub async fn namespace_bytes(&self, namespace: String) -> Result<u64> {
        // Before the rows are read: what is written in between is then counted once, by its row's difference of 0.
        let noted = self.noted.all();
        self.read(move |conn| {
            let snapshot = conn.unchecked_transaction()?;
            let sql = "SELECT n, own_bytes FROM namespaces WHERE folded = ?1 AND deleted_at IS NULL";
            let mut find = snapshot.prepare_cached(sql)?;
            let row = find.query_row([namespace.to_ascii_lowercase()], |row| Ok((row.get(0)?, row.get(1)?)));
            let Some((n, mut bytes)): Option<(i64, i64)> = row.optional()? else { return Ok(0) };
            let sql = "SELECT own_bytes FROM repos WHERE id = ?1 AND namespace = ?2 AND deleted_at IS NULL";
            let mut of_repo = snapshot.prepare_cached(sql)?;
            for (id, now) in noted {
                let known: Option<i64> =
                    of_repo.query_row(params![id.to_string(), n], |row| row.get(0)).optional()?;
                if let Some(known) = known {
                    bytes += i64::try_from(now).unwrap_or(i64::MAX) - known;
                }
            }
            Ok(u64::try_from(bytes).unwrap_or(0))
        })
        .await
    }
}
