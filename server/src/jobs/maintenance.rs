//! Maintenance beside requests: packs of many pushes become few, and files give back what is free.
//!
//! By size: a repository that got many small packs is rolled in tiers while pushes go on. By age: one without a push for a
//! while is rolled as a whole, and its file is rewritten where much of it is free. One repository at a time, in steps that
//! hold a bounded number of bytes and one short transaction each, with a rest between them. Nothing is lost where the
//! process ends in between: a step is there or not, and what it left over is swept when the file is opened next.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::dropping::{self, Keep};
use super::retry::Retries;
use crate::app::App;
use crate::error::{Error, Result};
use crate::limits::{
    COMPACT_FILE_BYTES_MAX, COMPACT_FREE_SHARE, DROP_BYTES_MIN, DROP_FAILED_RETRY_MS, DROP_ROLL_SHARE,
    MAINTAIN_AGAIN_MS_MIN, MAINTAIN_BATCH_REPOS, MAINTAIN_LATER_MAX, MAINTAIN_LOOK_MS, MAINTAIN_REST_MS_MAX,
};
use crate::ops;
use crate::store::RepoId;
use crate::store::catalog::{CatalogError, Maintained, RepoRow};
use crate::store::repo::dropping::Dropped;
use crate::store::repo::limits::ROLL_TIER_PACKS;
use crate::store::repo::{Repo, Rolled, Want};

/// The maintenance of this process. Clones share it.
#[derive(Clone)]
pub struct Maintenance(Arc<Inner>);

struct Inner {
    /// Taken for one repository at a time.
    turn: Semaphore,
    /// Repositories that keep what was rolled away for clones under way. Leaf lock.
    later: Mutex<BTreeSet<RepoId>>,
    retries: Retries,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self(Arc::new(Inner {
            turn: Semaphore::new(1),
            later: Mutex::default(),
            retries: Retries::default(),
        }))
    }
}

impl Maintenance {
    fn later(&self) -> std::sync::MutexGuard<'_, BTreeSet<RepoId>> {
        self.0.later.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the maintenance of one repository goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Runs of many small packs, while pushes go on.
    Tiers,
    /// All small packs; the file where it is not too large to be rewritten while pushes wait.
    Whole,
    /// All of it, at once: somebody asked for it.
    Asked,
}

/// What was done for one repository.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Packs that went in and out.
    pub rolled: Rolled,
    /// Bytes of the file before.
    pub file_bytes_before: u64,
    /// Bytes of the file since.
    pub file_bytes_after: u64,
    /// What was dropped since no ref named it for long.
    pub dropped: Dropped,
    /// In how many milliseconds there may be more to drop; `None`: not before the next push.
    pub again_in_ms: Option<u64>,
    /// Whether something that was rolled away is kept for readers under way, and goes later.
    pub is_waiting: bool,
}

/// What one look did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Repositories that were looked after.
    pub repos: u64,
    /// Those among them where it failed.
    pub failed: u64,
}

/// Looks after repositories until it is dropped. Returns at once where maintenance is off.
pub async fn run(app: App) {
    let Some(quiet_ms) = app.config.maintenance_quiet_ms else { return };
    let pause = Duration::from_millis(MAINTAIN_LOOK_MS.min(quiet_ms / 2).max(1));
    loop {
        sleep(pause).await;
        let looked = look(&app).await;
        if looked.repos > 0 {
            tracing::info!(repos = looked.repos, failed = looked.failed, "maintained");
        }
    }
}

/// Looks after everything that is due now.
pub async fn look(app: &App) -> Looked {
    let mut looked = Looked::default();
    let mut named: Vec<(RepoId, Reach)> =
        app.files.take_due().into_iter().map(|id| (id, Reach::Tiers)).collect();
    let later = std::mem::take(&mut *app.maintenance.later());
    named.extend(later.into_iter().map(|id| (id, Reach::Whole)));
    let retries = app.maintenance.0.retries.due(app.clock.now_ms());
    named.extend(retries.into_iter().map(|id| (id, Reach::Whole)));
    let mut done = Vec::new();
    for (id, reach) in named {
        match app.catalog.repo_by_id(id).await {
            Ok(Some(row)) => {
                let cared = cared(app, &row, reach).await;
                looked.count(&cared);
                // A failure was noted when it was seen first; a tier says nothing of what comes of age.
                if reach != Reach::Tiers && cared.is_some() {
                    done.push(noted(&row, cared.as_ref(), app.clock.now_ms()));
                }
            }
            // Deleted meanwhile.
            Ok(None) => app.maintenance.0.retries.settled(id),
            Err(error) => tracing::error!(%error, "maintenance cannot read the catalog"),
        }
    }
    if let Err(error) = app.catalog.maintained(done).await {
        tracing::error!(%error, "what was maintained was not noted");
    }
    if app.config.keep_unreachable_ms.is_some()
        && let Err(error) = app.catalog.steady(app.clock.now_ms()).await
    {
        tracing::error!(%error, "maintenance cannot tell the time");
    }
    while let Some(()) = quiet(app, &mut looked).await {}
    looked
}

impl Looked {
    fn count(&mut self, done: &Option<Done>) {
        self.repos += 1;
        self.failed += u64::from(done.is_none());
    }
}

/// What the catalog is to know of a look at a repository: up to which push, and when something comes of age.
fn noted(row: &RepoRow, done: Option<&Done>, now_ms: i64) -> Maintained {
    let again_in_ms = done.and_then(|done| done.again_in_ms).map(|ms| ms.max(MAINTAIN_AGAIN_MS_MIN));
    Maintained {
        id: row.id,
        last_push_at_ms: row.last_push_at_ms.unwrap_or_default(),
        again_at_ms: again_in_ms.map(|ms| now_ms.saturating_add_unsigned(ms)),
    }
}

/// Looks after some of the quiet repositories; `None` where there are no more.
async fn quiet(app: &App, looked: &mut Looked) -> Option<()> {
    let quiet_ms = i64::try_from(app.config.maintenance_quiet_ms?).unwrap_or(i64::MAX);
    let now_ms = app.clock.now_ms();
    let rows = due(app, now_ms.saturating_sub(quiet_ms), now_ms).await;
    let rows =
        rows.inspect_err(|error| tracing::error!(%error, "maintenance cannot read the catalog")).ok()?;
    let is_last = rows.len() < MAINTAIN_BATCH_REPOS as usize;
    let mut done = Vec::new();
    for row in rows.iter().filter(|row| !row.importing) {
        let cared = cared(app, row, Reach::Whole).await;
        looked.count(&cared);
        // Where it failed, too: when that is tried again is not for the catalog to say.
        done.push(noted(row, cared.as_ref(), now_ms));
    }
    let is_idle = done.is_empty();
    if let Err(error) = app.catalog.maintained(done).await {
        tracing::error!(%error, "what was maintained was not noted");
        return None;
    }
    (!is_last && !is_idle).then_some(())
}

/// Repositories without a push since `since_ms` that were pushed to since they were maintained, then those of which something
/// comes of age.
async fn due(app: &App, since_ms: i64, now_ms: i64) -> std::result::Result<Vec<RepoRow>, CatalogError> {
    let mut rows = app.catalog.to_maintain(since_ms, MAINTAIN_BATCH_REPOS).await?;
    let room = MAINTAIN_BATCH_REPOS.saturating_sub(rows.len() as u32);
    if app.config.keep_unreachable_ms.is_some() && room > 0 {
        let known: BTreeSet<RepoId> = rows.iter().map(|row| row.id).collect();
        let again = app.catalog.to_look_again(now_ms, room).await?;
        rows.extend(again.into_iter().filter(|row| !known.contains(&row.id)));
    }
    Ok(rows)
}

/// What was done; `None` where it failed, which is told to the log.
async fn cared(app: &App, row: &RepoRow, reach: Reach) -> Option<Done> {
    match one(app, row, reach).await {
        Ok(done) => {
            app.maintenance.0.retries.settled(row.id);
            Some(done)
        }
        Err(error) => {
            app.maintenance.0.retries.failed(row.id, app.clock.now_ms());
            tracing::error!(%error, repo = %row.id, "maintenance of a repository failed");
            None
        }
    }
}

/// Looks after one repository.
pub async fn one(app: &App, row: &RepoRow, reach: Reach) -> Result<Done> {
    let _turn = app.maintenance.0.turn.acquire().await.map_err(Error::internal)?;
    let done = steps(app, row, reach).await;
    app.metrics.maintained(done.as_ref().ok());
    if done.as_ref().is_ok_and(|done| done.is_waiting) {
        let mut later = app.maintenance.later();
        if later.len() < MAINTAIN_LATER_MAX {
            later.insert(row.id);
        }
    }
    done
}

async fn steps(app: &App, row: &RepoRow, reach: Reach) -> Result<Done> {
    let repo = app.files.repo(row.object_format, &row.pins).map_err(ops::OpError::from)?;
    let want = if reach == Reach::Tiers { Want::Tiers(ROLL_TIER_PACKS) } else { Want::Runs(2) };
    let mut done = Done { file_bytes_before: bytes(&repo).await?, ..Done::default() };
    if reach != Reach::Tiers {
        drop_unreachable(app, row, reach, &mut done).await;
    }
    let share = if reach == Reach::Asked { u64::MAX } else { DROP_ROLL_SHARE };
    let mut wants = vec![want];
    wants.extend((reach != Reach::Tiers).then_some(Want::Dropped(share)));
    while let Some(want) = wants.first().copied() {
        let (start, repo) = (Instant::now(), repo.clone());
        let Some(step) = ops::blocking(move || Ok(repo.roll_step(want)?)).await? else {
            wants.remove(0);
            continue;
        };
        done.rolled.add(step);
        if reach != Reach::Asked {
            sleep(start.elapsed().min(Duration::from_millis(MAINTAIN_REST_MS_MAX))).await;
        }
    }
    let (repo_again, quota) = (repo.clone(), app.quotas.of(row));
    let is_free = ops::blocking(move || {
        let is_free = repo_again.delete_retired()?;
        let file_bytes = repo_again.file_bytes()?;
        let is_small = file_bytes <= COMPACT_FILE_BYTES_MAX;
        if is_free && (reach == Reach::Asked || reach == Reach::Whole && is_small) {
            repo_again.compact(COMPACT_FREE_SHARE)?;
        }
        quota.note(&repo_again);
        Ok(is_free)
    });
    done.is_waiting = !is_free.await?;
    done.file_bytes_after = bytes(&repo).await?;
    Ok(done)
}

/// Drops what may be dropped. Where that fails, everything is as it was, and the rest of the maintenance goes on.
async fn drop_unreachable(app: &App, row: &RepoRow, reach: Reach, done: &mut Done) {
    let Some(ms) = app.config.keep_unreachable_ms else { return };
    let keep = Keep { ms, bytes: if reach == Reach::Asked { 0 } else { DROP_BYTES_MIN } };
    let outcome = dropping::pass((&app.files, &app.catalog), row, keep, app.clock.now_ms()).await;
    match outcome {
        Ok(outcome) => {
            done.dropped = outcome.dropped;
            done.again_in_ms = outcome.again_in_ms;
            if outcome.dropped.objects > 0 {
                let Dropped { objects, bytes } = outcome.dropped;
                tracing::info!(repo = %row.id, objects, bytes, "dropped what no ref named");
            }
        }
        Err(error) => {
            done.again_in_ms = Some(DROP_FAILED_RETRY_MS);
            tracing::error!(%error, cause = error.cause, repo = %row.id, "nothing of a repository was dropped");
        }
    }
}

async fn bytes(repo: &Repo) -> Result<u64> {
    let repo = repo.clone();
    ops::blocking(move || Ok(repo.file_bytes()?)).await
}
