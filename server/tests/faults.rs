//! A disk that fails and goes on: nothing is acknowledged that may be lost, and the server takes up its work again.

#[path = "support/history.rs"]
mod history;

use std::time::Duration;

use cairn_faults::fault::When;
use cairn_faults::{Call, Fault, Harm, Loss};
use history::{History, Op};

/// Calls in which a fault is tried at each place.
const PLACES: u64 = 40;

async fn begun(with: &[Op]) -> History {
    let mut history = History::new(7);
    for op in with {
        assert!(history.act(*op).await, "a healthy disk");
    }
    history
}

const TWO_COMMITS: &[Op] = &[Op::Create, Op::Commit, Op::Commit];

/// One fault at each place of an operation; the work goes on with the same server, and then power is lost.
async fn one_fault_and_on(call: Call, harm: Harm, with: &[Op], op: Op) {
    let mut hit = 0;
    for n in 1..=PLACES {
        let mut history = begun(with).await;
        history.harm(vec![Fault::new(Some(call), When::Nth(n), harm)]);
        history.act(op).await;
        let was_hit = history.disk.harmed() > 0;
        history.harm(Vec::new());
        // Twice: the first may find a connection that has to be given up.
        history.act(Op::Commit).await;
        assert!(history.act(Op::Commit).await, "{call:?} {n}: the server takes up its work again");
        history.crash(Loss::All);
        history.judge().await;
        hit += u64::from(was_hit);
        if !was_hit {
            break;
        }
    }
    assert!(hit > 0, "something must fail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failed_sync_is_not_forgotten() {
    one_fault_and_on(Call::Sync, Harm::Error, TWO_COMMITS, Op::Commit).await;
}

/// What was staged before the sync that failed is not synced by it, nor by any later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failed_sync_behind_staged_bytes_is_not_forgotten() {
    one_fault_and_on(Call::Sync, Harm::Error, TWO_COMMITS, Op::LargeCommit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failed_or_half_write_is_not_built_upon() {
    one_fault_and_on(Call::Write, Harm::Error, TWO_COMMITS, Op::Commit).await;
    one_fault_and_on(Call::Write, Harm::Short, TWO_COMMITS, Op::Commit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failed_read_fails_one_request() {
    one_fault_and_on(Call::Read, Harm::Error, TWO_COMMITS, Op::Commit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failed_folder_sync_fails_the_creation_of_a_file() {
    one_fault_and_on(Call::SyncFolder, Harm::Error, &[Op::Create], Op::Commit).await;
}

/// A drop of which it is not known whether it was done is settled before anybody reads: nobody builds upon what is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failed_sync_or_write_while_something_is_dropped_leaves_it_done_or_not() {
    for (call, harm) in [(Call::Sync, Harm::Error), (Call::Write, Harm::Error), (Call::Write, Harm::Short)] {
        let mut hit = 0;
        for n in 1..=PLACES {
            let mut history = History::keeping(7, Some(0));
            for op in [&[Op::Create][..], &[Op::Commit; 6], &[Op::SetRef; 3], &[Op::DeleteRef; 2]].concat() {
                assert!(history.act(op).await, "a healthy disk");
            }
            history.harm(vec![Fault::new(Some(call), When::Nth(n), harm)]);
            history.act(Op::Maintain).await;
            let was_hit = history.disk.harmed() > 0;
            history.harm(Vec::new());
            history.judge().await;
            history.act(Op::SetRef).await;
            history.act(Op::Commit).await;
            assert!(history.act(Op::Commit).await, "{call:?} {n}: the server takes up its work again");
            history.crash(Loss::All);
            history.judge().await;
            hit += u64::from(was_hit);
            if !was_hit {
                break;
            }
        }
        assert!(hit > 0, "something must fail");
    }
}

/// What is named while it is not known whether it was dropped is named for good, or refused: both by one answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_sees_what_a_drop_in_doubt_may_have_taken() {
    let (mut hit, mut refused) = (0, 0);
    for n in 1..=PLACES {
        let mut history = History::keeping(7, Some(0));
        for op in [&[Op::Create][..], &[Op::Commit; 6], &[Op::SetRef; 3], &[Op::DeleteRef; 2]].concat() {
            assert!(history.act(op).await, "a healthy disk");
        }
        let name = history.truth.repos.keys().next().cloned().expect("a repository");
        let ids: Vec<String> = history.truth.files.keys().cloned().collect();
        history.harm(vec![Fault::new(Some(Call::Sync), When::Nth(n), Harm::Error)]);
        history.act(Op::Maintain).await;
        let was_hit = history.disk.harmed() > 0;
        history.harm(Vec::new());
        let repo = format!("/namespaces/t/repos/{name}");
        let mut named = Vec::new();
        for (nth, id) in ids.iter().enumerate() {
            let oid = serde_json::json!({ "oid": id, "force": true }).to_string();
            let put = history.server.ask("PUT", &format!("{repo}/refs/heads/again-{nth}"), &oid).await;
            assert!(matches!(put.status, 200 | 400), "{n}: {}", put.body);
            named.extend((put.status == 200).then_some(id));
        }
        refused += ids.len() - named.len();
        history.crash(Loss::All);
        for id in named {
            let read = history.server.get(&format!("{repo}/commit/{id}")).await;
            assert_eq!(read.status, 200, "{n}: {}", read.body);
        }
        let app = &history.server.app;
        let check = |row: &cairn_server::store::catalog::RepoRow| {
            Ok(cairn_server::store::repo::fsck::fsck(&app.files, row.object_format, &row.pins))
        };
        let report = cairn_server::store::maintain::fsck_all(&app.catalog, check).await.expect("it is read");
        assert!(report.findings.is_empty(), "{n}: {:#?}", report.findings);
        hit += u64::from(was_hit);
        if !was_hit {
            break;
        }
    }
    assert!(hit > 0 && refused > 0, "{hit} syncs failed, {refused} commits were gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_slow_disk_and_a_busy_one_are_waited_for() {
    let mut history = begun(TWO_COMMITS).await;
    let slow = Harm::Slow(Duration::from_millis(1));
    history.harm(vec![
        Fault::new(Some(Call::Sync), When::From(1), slow),
        Fault::new(Some(Call::Lock), When::Nth(5), Harm::Busy),
    ]);
    for op in [Op::Commit, Op::Create, Op::Fork, Op::LargeCommit] {
        assert!(history.act(op).await, "{op:?}");
    }
    assert!(history.disk.harmed() > 4, "something must be slow");
    history.crash(Loss::All);
    history.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_disk_stops_writes_with_its_own_code_and_lets_reads_go_on() {
    let history = begun(TWO_COMMITS).await;
    history.harm(vec![
        Fault::new(Some(Call::Write), When::From(1), Harm::Full),
        Fault::new(Some(Call::Name), When::From(1), Harm::Full),
    ]);
    let name = history.truth.usable().next().expect("one").clone();
    let path = format!("/namespaces/t/repos/{name}");
    let body = r#"{"message":"m","allow_empty":true,"changes":[]}"#;
    let body =
        body.replace("\"changes\":[]", "\"changes\":[{\"path\":\"x\",\"content\":\"y\"}],\"branch\":\"b9\"");
    let refs = history.server.get(&format!("{path}/refs")).await;
    let hash = refs.body["result"][0]["hash"].as_str().expect("a ref").to_owned();
    let body = body.replace("\"branch\"", &format!("\"start_point\":\"{hash}\",\"branch\""));
    for _ in 0..2 {
        let full = history.server.post(&format!("{path}/commits"), &body).await;
        assert_eq!(full.error(), (507, 10405, ""), "{}", full.body);
        let full = history.server.post("/namespaces/t/repos", r#"{"name":"more"}"#).await;
        assert_eq!(full.error(), (507, 10405, ""), "{}", full.body);
        assert_eq!(history.server.get(&format!("{path}/refs")).await.body, refs.body);
    }
    history.harm(Vec::new());
    assert_eq!(history.server.post("/namespaces/t/repos", r#"{"name":"more"}"#).await.status, 201);
    let made = history.server.post(&format!("{path}/commits"), &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
}

/// The commit whose flush failed lies whole behind the visible end of the log, where a crash would find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_request_that_changes_nothing_is_not_undone_by_a_commit_that_failed_before() {
    let mut failed = 0;
    for loss in [Loss::Nothing, Loss::All] {
        for n in 1..=PLACES {
            let mut history = begun(TWO_COMMITS).await;
            let name = history.truth.usable().next().expect("one").clone();
            let refs = format!("/namespaces/t/repos/{name}/refs");
            let tips = |answer: &history::Answer| answer.result().as_array().expect("a list").clone();
            let before = history.server.get(&refs).await;
            history.harm(vec![Fault::new(Some(Call::Sync), When::Nth(n), Harm::Error)]);
            let answered = history.act(Op::Commit).await;
            let was_hit = history.disk.harmed() > 0;
            history.harm(Vec::new());
            if !was_hit {
                break;
            }
            failed += u64::from(!answered);
            let shown = history.server.get(&refs).await;
            for tip in tips(&shown).iter().filter(|tip| tip["name"] != "HEAD") {
                let path = format!("/namespaces/t/repos/{name}/{}", tip["name"].as_str().expect("a name"));
                let body = serde_json::json!({ "oid": tip["hash"] }).to_string();
                let put = history.server.ask("PUT", &path, &body).await;
                assert_eq!(put.status, 200, "{}", put.body);
            }
            let settled = history.server.get(&refs).await;
            history.crash(loss);
            assert_eq!(
                history.server.get(&refs).await.body,
                settled.body,
                "{loss:?} {n}: before {}",
                before.body
            );
        }
    }
    assert!(failed > 0, "some commit must fail");
}

const ALL: [Op; 9] = [
    Op::Create,
    Op::Commit,
    Op::LargeCommit,
    Op::KeyedCommit,
    Op::SetRef,
    Op::DeleteRef,
    Op::Fork,
    Op::ForkAt,
    Op::DeleteRepo,
];

/// Another process may hold any lock for a moment: a backup, a check.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_lock_that_is_busy_is_waited_for_wherever_it_is_taken() {
    for op in ALL {
        let mut hit = 0;
        for n in 1..=PLACES {
            let mut history = begun(&[Op::Create, Op::Commit, Op::Commit, Op::SetRef, Op::Fork]).await;
            // No file is open after it: opening takes most locks.
            history.crash(Loss::Nothing);
            history.harm(vec![Fault::new(Some(Call::Lock), When::Nth(n), Harm::Busy)]);
            assert!(history.act(op).await, "{op:?} {n}");
            let was_hit = history.disk.harmed() > 0;
            history.harm(Vec::new());
            history.crash(Loss::All);
            history.judge().await;
            hit += u64::from(was_hit);
            if !was_hit {
                break;
            }
        }
        assert!(hit > 0, "{op:?}: some lock must be busy");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_disk_on_which_every_kind_of_call_is_slow_is_waited_for() {
    let calls = [
        Call::Read,
        Call::Write,
        Call::Truncate,
        Call::Sync,
        Call::Open,
        Call::Lock,
        Call::Name,
        Call::SyncFolder,
    ];
    let mut met = 0;
    for call in calls {
        let mut history = begun(TWO_COMMITS).await;
        history.crash(Loss::Nothing);
        let slow = Harm::Slow(Duration::from_micros(300));
        history.harm(vec![Fault::new(Some(call), When::From(1), slow)]);
        for op in ALL {
            assert!(history.act(op).await, "{call:?}: {op:?}");
        }
        met += u64::from(history.disk.harmed() > 0);
        history.crash(Loss::All);
        history.judge().await;
    }
    assert!(met >= 6, "most kinds of calls are met");
}

/// Writers of one repository that all wait for one slow flush.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_a_slow_disk_are_all_done_and_none_twice() {
    const WRITERS: usize = 6;
    let mut history = begun(&[Op::Create, Op::Commit]).await;
    let name = history.truth.usable().next().expect("one").clone();
    let path = format!("/namespaces/t/repos/{name}");
    let refs = history.server.get(&format!("{path}/refs")).await;
    let first = refs
        .result()
        .as_array()
        .expect("a list")
        .iter()
        .find(|tip| tip["name"] != "HEAD")
        .expect("a tip")
        .clone();
    let full = first["name"].as_str().expect("a name").to_owned();
    let branch = full.strip_prefix("refs/heads/").expect("a branch");
    history.harm(vec![
        Fault::new(Some(Call::Sync), When::From(1), Harm::Slow(Duration::from_millis(20))),
        Fault::new(Some(Call::Lock), When::OneIn(5, cairn_faults::Random::new(1)), Harm::Busy),
    ]);
    let commit = async |n: usize| {
        let changes = serde_json::json!([{ "path": format!("w{n}"), "content": "x" }]);
        let body = serde_json::json!({ "message": format!("w{n}"), "branch": branch, "changes": changes });
        let made = history.server.post(&format!("{path}/commits"), &body.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.text("hash")
    };
    let (a, b, c, d, e, f) = tokio::join!(commit(0), commit(1), commit(2), commit(3), commit(4), commit(5));
    let mut made = vec![a, b, c, d, e, f];
    history.harm(Vec::new());
    history.crash(Loss::All);
    let tip = history.server.get(&format!("{path}/refs")).await;
    let tip = tip
        .result()
        .as_array()
        .expect("a list")
        .iter()
        .find(|tip| tip["name"] == full.as_str())
        .expect("it")
        .clone();
    let mut at = tip["hash"].as_str().expect("a hash").to_owned();
    let mut seen = Vec::new();
    while Some(at.as_str()) != first["hash"].as_str() {
        let commit = history.server.get(&format!("{path}/commit/{at}")).await;
        let parent = commit.body["result"]["parents"][0].as_str().expect("a parent").to_owned();
        seen.push(std::mem::replace(&mut at, parent));
        assert!(seen.len() <= WRITERS, "no commit is there twice: {seen:?}");
    }
    made.sort();
    seen.sort();
    assert_eq!(seen, made);
}
