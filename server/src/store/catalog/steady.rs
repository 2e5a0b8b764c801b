//! A clock that only counts time in which the data was looked after: it cannot jump.

use rusqlite::{OptionalExtension, params};

use super::{Catalog, Result};
use crate::limits::{STEADY_NOTE_MS, STEADY_STEP_MS_MAX};

impl Catalog {
    /// Milliseconds of the steady clock. Between two calls it passes as fast as `now_ms`, but never back, and at most by
    /// [`STEADY_STEP_MS_MAX`]: what goes beyond may be a clock that was set, or time in which nobody looked.
    pub async fn steady(&self, now_ms: i64) -> Result<u64> {
        let found = self.read(|conn| {
            let mut find = conn.prepare_cached("SELECT seen_ms, steady_ms FROM steady WHERE n = 1")?;
            Ok(find.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
        });
        let found: Option<(i64, i64)> = found.await?;
        let (seen_ms, steady_ms) = found.unwrap_or((now_ms, 0));
        let passed = u64::try_from(now_ms.saturating_sub(seen_ms)).unwrap_or(0).min(STEADY_STEP_MS_MAX);
        let steady = u64::try_from(steady_ms).unwrap_or(0).saturating_add(passed);
        if found.is_none() || now_ms < seen_ms || passed >= STEADY_NOTE_MS {
            let noted = i64::try_from(steady).unwrap_or(i64::MAX);
            self.write(move |conn| {
                let mut note = conn.prepare_cached(
                    "INSERT OR REPLACE INTO steady (n, seen_ms, steady_ms) VALUES (1, ?1, ?2)",
                )?;
                note.execute(params![now_ms, noted])?;
                Ok(())
            })
            .await?;
        }
        Ok(steady)
    }
}
