//! Drops what no ref of a repository named for long, at a moment at which nobody reads it.

use crate::error::Result;
use crate::limits::{DROP_RETRY_MS, STEADY_STEP_MS_MAX};
use crate::ops;
use crate::ops::dropping::{may_drop, plan};
use crate::ops::visible::STALE;
use crate::store::Files;
use crate::store::catalog::{Catalog, RepoRow};
use crate::store::repo::dropping::{Ages, Dropped};

/// What came of a try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was dropped.
    pub dropped: Dropped,
    /// In how many milliseconds there may be more; `None`: not before the next push.
    pub again_in_ms: Option<u64>,
    /// Whether somebody read or pushed, so that nothing could be dropped now.
    pub is_busy: bool,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// What nothing named for so many milliseconds may go.
    pub ms: u64,
    /// Nothing is dropped where it has fewer bytes.
    pub bytes: u64,
}

/// Drops what may be dropped of a repository. All of it, in one transaction, or nothing.
pub async fn pass(
    (files, catalog): (&Files, &Catalog),
    row: &RepoRow,
    keep: Keep,
    now_ms: i64,
) -> Result<Outcome> {
    let repo = files.repo(row.object_format, &row.pins).map_err(ops::OpError::from)?;
    let ages = Ages { steady_ms: catalog.steady(now_ms).await?, now_ms, keep_ms: keep.ms };
    let asked = repo.clone();
    let aged = ops::blocking(move || Ok(if may_drop(&asked)? { Some(asked.age(&ages)?) } else { None }));
    let Some(aged) = aged.await? else { return Ok(Outcome::default()) };
    let mut outcome = Outcome { again_in_ms: aged.next_ms, ..Outcome::default() };
    if aged.floor == 0 {
        return Ok(outcome);
    }
    let pinned = catalog.pinned_up_to(row.id).await?;
    if pinned > 0 && outcome.again_in_ms.is_none() {
        // Forks may be gone by then.
        outcome.again_in_ms = Some(keep.ms.max(STEADY_STEP_MS_MAX));
    }
    let quiet = repo.clone();
    if ops::blocking(move || Ok(quiet.hush()?)).await?.is_none() {
        // Not worth the walk.
        return Ok(Outcome { again_in_ms: Some(DROP_RETRY_MS), is_busy: true, ..outcome });
    }
    let planned = repo.clone();
    let plan = ops::blocking(move || plan(&planned, aged.floor, pinned)).await?;
    if plan.objects() == 0 || plan.bytes < keep.bytes {
        return Ok(outcome);
    }
    outcome.is_busy = true;
    let quiet = repo.clone();
    if let Some(hush) = ops::blocking(move || Ok(quiet.hush()?)).await? {
        // Asked again: a fork that rests on what was seen before has its row by now, since it reads until then.
        let pinned = catalog.pinned_up_to(row.id).await?;
        let done = ops::blocking(move || Ok(repo.publish_drop(plan, hush, pinned, &STALE)?)).await?;
        if let Some(dropped) = done {
            outcome.is_busy = false;
            outcome.dropped = dropped;
        }
    }
    if outcome.is_busy {
        outcome.again_in_ms = Some(DROP_RETRY_MS);
    }
    Ok(outcome)
}
