//! Answers that are given again. A row is named by a hash, and its answer is sealed by whoever stores it.

use rusqlite::{OptionalExtension, params};

use super::{Catalog, Result};
use crate::limits::{IDEMPOTENCY_KEPT_MS, IDEMPOTENCY_ROWS_MAX, IDEMPOTENCY_SWEEP_ROWS};

/// A kept answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Tells requests of one key apart.
    pub fingerprint: [u8; 32],
    /// What the answer was sealed with, beside secrets of the request.
    pub salt: [u8; 16],
    /// The sealed answer; `None` where it was too large to keep.
    pub answer: Option<Vec<u8>>,
}

impl Catalog {
    /// The answer kept under `id`, unless it is too old.
    pub async fn kept_answer(&self, id: [u8; 32], now_ms: i64) -> Result<Option<KeptAnswer>> {
        self.read(move |conn| {
            let mut select = conn.prepare_cached(
                "SELECT fingerprint, salt, answer FROM idempotency WHERE id = ?1 AND created_at > ?2",
            )?;
            let row = select.query_row(params![id, now_ms - IDEMPOTENCY_KEPT_MS], |row| {
                Ok(KeptAnswer { fingerprint: row.get(0)?, salt: row.get(1)?, answer: row.get(2)? })
            });
            Ok(row.optional()?)
        })
        .await
    }

    /// Keeps an answer, and sweeps some that are too old; of a caller with too many, the oldest goes.
    pub async fn keep_answer(
        &self,
        id: [u8; 32],
        caller: [u8; 32],
        kept: KeptAnswer,
        now_ms: i64,
    ) -> Result<()> {
        self.write(move |conn| {
            conn.prepare_cached(
                "DELETE FROM idempotency WHERE n IN
                 (SELECT n FROM idempotency WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2)",
            )?
            .execute(params![now_ms - IDEMPOTENCY_KEPT_MS, IDEMPOTENCY_SWEEP_ROWS])?;
            let last: Option<i64> = conn
                .prepare_cached("SELECT MAX(ordinal) FROM idempotency WHERE caller = ?1")?
                .query_row([caller], |row| row.get(0))?;
            let ordinal = last.unwrap_or(0) + 1;
            conn.prepare_cached("DELETE FROM idempotency WHERE caller = ?1 AND ordinal <= ?2")?
                .execute(params![caller, ordinal - IDEMPOTENCY_ROWS_MAX])?;
            conn.prepare_cached("DELETE FROM idempotency WHERE id = ?1")?.execute([id])?;
            conn.prepare_cached(
                "INSERT INTO idempotency (id, caller, ordinal, created_at, fingerprint, salt, answer)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                id,
                caller,
                ordinal,
                now_ms,
                kept.fingerprint,
                kept.salt,
                kept.answer
            ])?;
            Ok(())
        })
        .await
    }
}
