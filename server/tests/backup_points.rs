//! Every step of a backup, of a restore and of an export: the n-th call that changes the disk is the last one, or fails,
//! for each n until the work is done. Then power is lost, and what is left is judged: the source is as it was, nothing
//! unfinished passes for whole, and the next run succeeds.
//!
//! `CAIRN_EXHAUSTIVE=1` tries each n with each way to lose power; else the first and the last sixteen in turn, and ever
//! fewer between them.

#[path = "support/history.rs"]
mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_faults::fault::When;
use cairn_faults::{Fault, Harm, Loss, Random};
use cairn_server::app::App;
use cairn_server::boot;
use cairn_server::clock::Clock;
use cairn_server::config::Config;
use cairn_server::ops::export_files;
use cairn_server::store::catalog::{CatalogError, RepoRow};
use cairn_server::store::disk::Disk;
use cairn_server::store::repo::fsck;
use cairn_server::store::{backup, maintain};
use history::{Faulty, History, Op};

const LOSSES: [Loss; 3] = [Loss::Nothing, Loss::All, Loss::Torn];
/// Under it, each operation finds something to do.
const SEED: u64 = 1;

/// The refs of each repository, and the last entry of its log.
type Facts = BTreeMap<String, (u64, Vec<(String, String)>)>;

fn is_exhaustive() -> bool {
    std::env::var("CAIRN_EXHAUSTIVE").is_ok()
}

/// The calls to try of work that makes so many: the first and the last sixteen, ever fewer between them, and one past the
/// end.
fn tried(calls: u64) -> Vec<u64> {
    if is_exhaustive() {
        return (1..=calls + 1).collect();
    }
    let mut tried: BTreeSet<u64> = (1..=16).chain(calls.saturating_sub(15)..=calls + 1).collect();
    let mut n = 17;
    while n < calls {
        tried.insert(n);
        n += 1 + n / 4;
    }
    tried.into_iter().filter(|n| (1..=calls + 1).contains(n)).collect()
}

/// How power is lost after `n` calls.
fn losses(n: u64) -> impl Iterator<Item = Loss> {
    let skip = if is_exhaustive() { 0 } else { n as usize % LOSSES.len() };
    let take = if is_exhaustive() { LOSSES.len() } else { 1 };
    LOSSES.into_iter().cycle().skip(skip).take(take)
}

fn disk(history: &History) -> Faulty {
    Faulty(history.disk.clone())
}

/// A place on the disk, beside what the server has there.
fn place(history: &History, name: &str) -> PathBuf {
    history.server.app.config.data.join(name)
}

async fn facts(app: &App) -> Facts {
    let mut rows: Vec<RepoRow> = Vec::new();
    let each = |row: &RepoRow| {
        rows.push(row.clone());
        Ok::<_, CatalogError>(())
    };
    maintain::each_repo(&app.catalog, each).await.expect("the catalog is read");
    let mut facts = Facts::new();
    for row in rows {
        let snapshot = app.files.repo(row.object_format, &row.pins).and_then(|repo| repo.snapshot(None));
        let snapshot = snapshot.expect("it is read");
        let mut refs = Vec::new();
        let mut each = |row: cairn_server::store::repo::RefRow| {
            refs.push((String::from_utf8_lossy(&row.name).into_owned(), row.id.to_string()));
            true
        };
        snapshot.refs(b"", &mut each).expect("it is read");
        facts.insert(row.name.clone(), (snapshot.seq(), refs));
    }
    facts
}

/// What a server shows that starts on this folder; every object of it is read.
async fn opened(history: &History, name: &str) -> Facts {
    let config = Config { data: place(history, name), ..Config::default() };
    let now = Clock::Manual(Arc::clone(&history.server.now));
    let app = boot::open_on(Arc::new(disk(history)), config, "a token", now).expect("it opens");
    let check = |row: &RepoRow| Ok(fsck::fsck(&app.files, row.object_format, &row.pins));
    let report = maintain::fsck_all(&app.catalog, check).await.expect("the catalog is read");
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    facts(&app).await
}

async fn back_up(history: &History) -> Result<(), String> {
    let app = &history.server.app;
    let (from, to) = ((&app.catalog, app.config.data.as_path()), place(history, "backup"));
    let done = backup::backup(&disk(history), from, &to, app.clock.now_ms()).await;
    done.map(drop).map_err(|error| error.to_string())
}

/// Restores into a folder of this name, and says what is in it.
async fn restored(history: &History, name: &str) -> Result<Facts, String> {
    restore(history, name).map_err(|error| error.to_string())?;
    Ok(opened(history, name).await)
}

fn restore(history: &History, name: &str) -> Result<(), String> {
    let done = backup::restore(&disk(history), &place(history, "backup"), &place(history, name));
    done.map(drop).map_err(|error| error.to_string())
}

async fn export(history: &History, name: &str) -> Result<(), String> {
    let app = &history.server.app;
    let from = (&app.catalog, &app.files);
    let done = export_files::write_all(&disk(history), from, &place(history, name), app.clock.now_ms()).await;
    done.map(drop).map_err(|error| error.to_string())
}

/// Where a try starts, and what the last whole backup holds.
type Ready = (History, Option<Facts>);

/// Repositories that wait in memory and that are staged on the disk, and a fork.
async fn begun() -> Ready {
    let mut history = History::new(SEED);
    for op in [Op::Create, Op::Commit, Op::LargeCommit, Op::SetRef, Op::Fork] {
        assert!(history.act(op).await, "a healthy disk");
    }
    (history, None)
}

/// The same, backed up.
async fn backed_up() -> Ready {
    let (history, _) = begun().await;
    back_up(&history).await.expect("a healthy disk");
    let now = facts(&history.server.app).await;
    (history, Some(now))
}

/// The same, and then there are more commits, a repository more, and one less.
async fn gone_on() -> Ready {
    let (mut history, first) = backed_up().await;
    for op in [Op::Commit, Op::LargeCommit, Op::Create, Op::Commit, Op::DeleteRepo, Op::Commit] {
        assert!(history.act(op).await, "a healthy disk");
    }
    (history, first)
}

/// Dies at every step of `work`. `judge` hears of the last whole backup, and whether the work said that it was done.
async fn every_death(
    what: &str,
    ready: impl AsyncFn() -> Ready,
    work: impl AsyncFn(&History) -> Result<(), String>,
    judge: impl AsyncFn(&mut History, Option<&Facts>, bool),
) {
    let calls = calls(&ready, &work).await;
    let (mut crashes, mut missed) = (0, 0);
    for n in tried(calls) {
        for loss in losses(n) {
            let (mut history, first) = ready().await;
            history.harm(vec![Fault::new(None, When::Nth(n), Harm::Death)]);
            let done = work(&history).await;
            let was_hit = history.disk.harmed() > 0;
            assert!(done.is_ok() || was_hit, "{what} fails for no reason: {done:?}");
            missed += u64::from(!was_hit);
            history.random = Random::new(n);
            history.crash(loss);
            history.judge().await;
            judge(&mut history, first.as_ref(), done.is_ok()).await;
            crashes += 1;
        }
    }
    println!("{what}: {crashes} crashes at up to {calls} calls");
    assert!(missed > 0 && crashes > 10 * missed, "{what}: {missed} of {crashes} came too late");
}

/// How many calls the work makes that change the disk.
async fn calls(ready: &impl AsyncFn() -> Ready, work: &impl AsyncFn(&History) -> Result<(), String>) -> u64 {
    let (history, _) = ready().await;
    let before = history.disk.changes();
    work(&history).await.expect("a healthy disk");
    history.disk.changes() - before
}

/// Has every step of `work` fail once, in each of these ways; the process goes on.
async fn every_failure(
    what: &str,
    ready: impl AsyncFn() -> Ready,
    work: impl AsyncFn(&History) -> Result<(), String>,
    judge: impl AsyncFn(&mut History, Option<&Facts>, bool),
) {
    for harm in [Harm::Error, Harm::Full, Harm::Short] {
        let calls = calls(&ready, &work).await;
        let (mut count, mut failed) = (0, 0);
        for n in tried(calls) {
            let (mut history, first) = ready().await;
            history.harm(vec![Fault::new(None, When::Nth(n), harm)]);
            let done = work(&history).await;
            let was_hit = history.disk.harmed() > 0;
            assert!(done.is_ok() || was_hit, "{what} fails for no reason: {done:?}");
            history.harm(Vec::new());
            history.judge().await;
            judge(&mut history, first.as_ref(), done.is_ok()).await;
            count += 1;
            failed += u64::from(done.is_err());
        }
        println!("{what}: {count} times {harm:?} at up to {calls} calls, {failed} told");
        assert!(failed > 3, "{what} says that it failed");
    }
}

/// What is in the backup is the state before or that of now, and the next run makes it that of now.
async fn judge_backup(history: &mut History, first: Option<&Facts>, is_done: bool) {
    let now = facts(&history.server.app).await;
    match restored(history, "early").await {
        Ok(found) => assert!(found == now || !is_done && Some(&found) == first, "{found:#?}"),
        Err(why) => assert!(!is_done && first.is_none() && why.contains(" holds "), "{why}"),
    }
    back_up(history).await.expect("the next run succeeds");
    assert_eq!(restored(history, "late").await.as_ref(), Ok(&now));
    history.random = Random::new(SEED);
    history.crash(Loss::All);
    assert_eq!(restored(history, "again").await.as_ref(), Ok(&now), "it is durable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_a_first_backup() {
    every_death("a first backup", begun, back_up, judge_backup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_a_further_backup() {
    every_death("a further backup", gone_on, back_up, judge_backup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failure_at_every_step_of_a_first_backup() {
    every_failure("a first backup", begun, back_up, judge_backup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failure_at_every_step_of_a_further_backup() {
    every_failure("a further backup", gone_on, back_up, judge_backup).await;
}

/// What appears is whole, and where nothing did the next try succeeds.
async fn judge_restore(history: &mut History, first: Option<&Facts>, is_done: bool) {
    let is_there = disk(history).exists(&place(history, "made")).expect("a healthy disk");
    assert!(is_there || !is_done, "what was acknowledged is there");
    if !is_there {
        restore(history, "made").expect("the next try succeeds");
    }
    assert_eq!(Some(&opened(history, "made").await), first);
    assert_eq!(restored(history, "other").await.as_ref().ok(), first, "the backup is as it was");
    history.random = Random::new(SEED);
    history.crash(Loss::All);
    assert_eq!(Some(&opened(history, "made").await), first, "it is durable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_a_restore() {
    every_death("a restore", backed_up, async |history| restore(history, "made"), judge_restore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failure_at_every_step_of_a_restore() {
    every_failure("a restore", backed_up, async |history| restore(history, "made"), judge_restore).await;
}

/// The files of an export that have their names, by name.
fn exported(root: &Path, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.join(name)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            match path.extension().is_some_and(|ending| ending != "tmp") {
                true => {
                    let short = path.strip_prefix(root.join(name)).expect("below it").to_owned();
                    found.insert(short, std::fs::read(path).expect("a file"));
                }
                false if path.is_dir() => folders.push(path),
                false => {}
            }
        }
    }
    found
}

/// Each bundle that has its name is whole, and where there is a manifest all are there.
async fn judge_export(history: &mut History, _: Option<&Facts>, is_done: bool) {
    export(history, "other").await.expect("the next export succeeds");
    for is_durable in [false, true] {
        let real = tempfile::tempdir().expect("a folder");
        history.disk.copy_out(real.path()).expect("a copy");
        let (made, whole) = (exported(real.path(), "made"), exported(real.path(), "other"));
        assert!(whole.len() > 2 && whole.contains_key(Path::new("manifest.json")), "{:?}", whole.keys());
        assert!(made.iter().all(|(name, bytes)| whole.get(name) == Some(bytes)), "{:?}", made.keys());
        let has_manifest = made.contains_key(Path::new("manifest.json"));
        assert!(!has_manifest || made == whole, "{:?}", made.keys());
        assert!(has_manifest || !is_done, "what was acknowledged is there");
        if !is_durable {
            history.random = Random::new(SEED);
            history.crash(Loss::All);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_an_export() {
    every_death("an export", begun, async |history| export(history, "made").await, judge_export).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failure_at_every_step_of_an_export() {
    every_failure("an export", begun, async |history| export(history, "made").await, judge_export).await;
}
