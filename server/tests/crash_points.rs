//! Every step of every operation: the n-th call that changes the disk is the last one, for each n until the operation is
//! done. Then power is lost in one of three ways, and what is left is judged.
//!
//! `CAIRN_EXHAUSTIVE=1` tries each n with each of the three; else the first sixteen in turn, and then ever fewer.

#[path = "support/history.rs"]
mod history;

use cairn_faults::fault::When;
use cairn_faults::{Fault, Harm, Loss, Random};
use cairn_server::store::RepoId;
use cairn_server::store::repo::Repo;
use history::{History, Op};
use rusqlite::{Connection, OpenFlags};

const LOSSES: [Loss; 3] = [Loss::Nothing, Loss::All, Loss::Torn];
/// Under it, each operation finds something to do.
const SEED: u64 = 1;
/// Calls that an operation takes at most.
const CALLS_MAX: u64 = 20_000;

fn death_at(n: u64) -> Vec<Fault> {
    vec![Fault::new(None, When::Nth(n), Harm::Death)]
}

fn is_exhaustive() -> bool {
    std::env::var("CAIRN_EXHAUSTIVE").is_ok()
}

/// How far to go on after `n`.
fn next(n: u64) -> u64 {
    if is_exhaustive() || n < 16 { n + 1 } else { n + 1 + n / 4 }
}

/// How power is lost after `n` calls.
fn losses(n: u64) -> impl Iterator<Item = Loss> {
    let skip = if is_exhaustive() { 0 } else { n as usize % LOSSES.len() };
    let take = if is_exhaustive() { LOSSES.len() } else { 1 };
    LOSSES.into_iter().cycle().skip(skip).take(take)
}

/// A server with a repository of two commits and two branches, and a fork of it.
async fn begun(seed: u64) -> History {
    let mut history = History::new(seed);
    for op in [Op::Create, Op::Commit, Op::Commit, Op::SetRef, Op::Fork] {
        assert!(history.act(op).await, "a healthy disk");
    }
    history
}

/// `ready` is where each try starts; `work` answers whether all went well.
async fn every_step(what: &str, ready: impl AsyncFn() -> History, work: impl AsyncFn(&mut History) -> bool) {
    let (mut n, mut tried) = (1, 0);
    loop {
        assert!(n < CALLS_MAX, "the work ends");
        let mut is_done = true;
        for loss in losses(n) {
            let mut history = ready().await;
            history.harm(death_at(n));
            let went_well = work(&mut history).await;
            let was_hit = history.disk.harmed() > 0;
            assert!(went_well || was_hit, "{what} fails for no reason");
            is_done &= !was_hit;
            history.random = Random::new(n);
            history.crash(loss);
            history.judge().await;
            // What is left must be good to go on with.
            assert!(history.act(Op::Create).await && history.act(Op::Commit).await, "step {n} of {what}");
            history.crash(Loss::All);
            history.judge().await;
            tried += 1;
        }
        if is_done {
            break;
        }
        n = next(n);
    }
    println!("{what}: {tried} crashes at up to {n} calls");
    assert!(n > 3, "{what} writes something");
}

async fn every_step_of(op: Op) {
    let ready = async || begun(SEED).await;
    every_step(&format!("{op:?}"), ready, async |history| history.act(op).await).await;
}

macro_rules! steps {
    ($($name:ident $op:ident;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
        async fn $name() {
            every_step_of(Op::$op).await;
        })+
    };
}

steps! {
    a_crash_at_every_step_of_a_creation Create;
    a_crash_at_every_step_of_a_commit Commit;
    a_crash_at_every_step_of_a_keyed_commit KeyedCommit;
    a_crash_at_every_step_of_a_staged_commit LargeCommit;
    a_crash_at_every_step_of_a_moved_ref SetRef;
    a_crash_at_every_step_of_a_deleted_ref DeleteRef;
    a_crash_at_every_step_of_a_fork Fork;
    a_crash_at_every_step_of_a_fork_of_the_past ForkAt;
    a_crash_at_every_step_of_a_deletion DeleteRepo;
}

/// The first start makes the catalog and takes every step of its layout: each migration.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_the_first_start() {
    let mut n = 1;
    loop {
        let mut was_hit = false;
        for loss in losses(n) {
            let mut history = History::unborn(SEED, death_at(n));
            was_hit |= history.disk.harmed() > 0;
            history.crash(loss);
            assert!(history.act(Op::Create).await && history.act(Op::Commit).await, "step {n}");
            history.crash(Loss::All);
            history.judge().await;
        }
        if !was_hit {
            break;
        }
        n = next(n);
    }
    assert!(n > 10, "a first start writes something");
}

/// Starting after a crash writes, too: logs are taken up, what was staged is swept away.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_a_start_after_a_crash() {
    let mut n = 1;
    loop {
        let mut was_hit = false;
        for loss in losses(n) {
            let mut history = begun(SEED).await;
            // In the middle of staging.
            history.harm(death_at(150));
            history.act(Op::LargeCommit).await;
            if history.crash_into(loss, death_at(n)) {
                // The file of a repository is opened, and swept, when it is first asked for.
                history.act(Op::Commit).await;
            }
            was_hit |= history.disk.harmed() > 0;
            history.crash(loss);
            history.judge().await;
        }
        if !was_hit {
            break;
        }
        n = next(n);
    }
    assert!(n > 3, "a start writes something");
}

/// The repository that a history made first.
async fn first(history: &History) -> Option<(RepoId, Repo)> {
    let name = history.truth.repos.keys().next()?;
    let row = history.server.app.catalog.resolve("t", name).await.ok()??;
    Some((row.id, history.server.app.files.repo(row.object_format, &row.pins).ok()?))
}

/// A repository of many small packs, and a fork that sees some of them.
async fn with_packs() -> History {
    let mut history = History::new(SEED);
    for op in
        [&[Op::Create][..], &[Op::Commit; 4], &[Op::LargeCommit; 2], &[Op::Commit; 2], &[Op::Fork]].concat()
    {
        assert!(history.act(op).await, "a healthy disk");
    }
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_rolling_packs() {
    let work = async |history: &mut History| {
        let Some((_, repo)) = first(history).await else { return false };
        repo.roll(2).is_ok_and(|rolled| rolled.packs_in > 2)
    };
    every_step("rolling", with_packs, work).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_giving_space_back() {
    let ready = async || {
        let history = with_packs().await;
        let (_, repo) = first(&history).await.expect("a repository");
        assert!(repo.roll(2).expect("a healthy disk").packs_in > 2);
        history
    };
    let work = async |history: &mut History| {
        let Some((_, repo)) = first(history).await else { return false };
        repo.compact(u64::MAX).is_ok_and(|is_done| is_done)
    };
    every_step("giving space back", ready, work).await;
}

/// A repository with commits that no ref names any more, and what maintenance does of it: all is dropped at once, or nothing,
/// and the packs are rolled without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_dropping_what_no_ref_names() {
    let ready = async || {
        let mut history = History::keeping(SEED, Some(0));
        for op in
            [&[Op::Create][..], &[Op::Commit; 6], &[Op::LargeCommit], &[Op::SetRef; 3], &[Op::DeleteRef; 2]]
                .concat()
        {
            assert!(history.act(op).await, "a healthy disk");
        }
        history
    };
    let dropped = async |history: &mut History| {
        let name = history.truth.repos.keys().next().cloned().unwrap_or_default();
        let done = history.server.maintain("t", &name).await;
        (done.status == 200).then(|| done.result()["dropped_objects"].as_u64().unwrap_or(0))
    };
    assert!(
        dropped(&mut ready().await).await.is_some_and(|objects| objects > 3),
        "there is something to drop"
    );
    every_step("dropping", ready, async |history| dropped(history).await.is_some()).await;
}

/// So many objects that the pack they are rolled into has an index of its own, and the rows of their ids go.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_rolling_packs_into_one_with_an_index() {
    let ready = async || {
        let mut history = History::new(SEED);
        for op in [Op::Create, Op::Commit, Op::WideCommit, Op::Commit, Op::Commit, Op::Commit] {
            assert!(history.act(op).await, "a healthy disk");
        }
        history
    };
    let work = async |history: &mut History| {
        let Some((_, repo)) = first(history).await else { return false };
        repo.roll(2).is_ok_and(|rolled| rolled.packs_in == 5)
    };
    let mut history = ready().await;
    assert!(work(&mut history).await);
    let (id, _) = first(&history).await.expect("a repository");
    // No file is open after it.
    history.crash(Loss::Nothing);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let path = history.server.app.files.path(id);
    let conn = Connection::open_with_flags_and_vfs(path, flags, cairn_faults::VFS).expect("opens");
    let rows = conn.query_row("SELECT count(*) FROM object", [], |row| row.get::<_, i64>(0));
    assert_eq!(rows.expect("a count"), 0, "the ids are in an index");
    drop((conn, history));
    every_step("rolling into an index", ready, work).await;
}

/// The steps of a file's layout are taken when it is first opened by a program that knows more of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_taking_over_an_older_file() {
    let ready = async || {
        let mut history = History::new(SEED);
        for op in [Op::Create, Op::Commit, Op::Commit] {
            assert!(history.act(op).await, "a healthy disk");
        }
        // No file is open after it.
        history.crash(Loss::Nothing);
        let (id, _) = first(&history).await.expect("a repository");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let path = history.server.app.files.path(id);
        let conn = Connection::open_with_flags_and_vfs(path, flags, cairn_faults::VFS).expect("opens");
        let undo = "DROP INDEX ref_change_seq; ALTER TABLE pack DROP COLUMN cuts; PRAGMA user_version = 0;
            PRAGMA wal_checkpoint(TRUNCATE);";
        conn.execute_batch(undo).expect("an older file");
        history
    };
    every_step("taking over an older file", ready, async |history| history.act(Op::Commit).await).await;
}
