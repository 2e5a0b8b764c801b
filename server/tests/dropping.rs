//! What no ref named for long is dropped while a repository is maintained, and nothing else: with stock git, over the API, by
//! the clock of the tests.

#[path = "support/server.rs"]
mod support;
#[path = "support/upkeep.rs"]
mod upkeep;

use std::path::Path;
use std::sync::atomic::Ordering;

use axum::body::Body;
use cairn_conformance::pack::pkt_lines;
use cairn_server::config::Config;
use cairn_server::jobs::maintenance::look;
use cairn_server::limits::{KEEP_UNREACHABLE_DAYS, MAINTAIN_QUIET_MS};
use cairn_server::store::maintain;
use http_body_util::BodyExt;
use serde_json::json;
use support::{Server, git};
use upkeep::{assert_sound, clone_begun, pass};

const DAY_MS: u64 = 86_400_000;

/// Days on each of which the server looks at what is due.
async fn days(server: &Server, count: u64) {
    for _ in 0..count {
        pass(server, DAY_MS);
        assert_eq!(look(&server.app).await.failed, 0);
    }
}

async fn floor(server: &Server, name: &str) -> u64 {
    server.repository("t", name).await.floor().expect("a file")
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(|_| next()).collect()
}

/// A server, a repository `x`, and a clone of it that pushed a commit of `keep.txt`.
async fn begun(server: &Server, folder: &Path) -> String {
    server.repo("t", "x").await;
    let year = json!({ "repo": "x", "ttl": 31_536_000 }).to_string();
    let token = server.post("/namespaces/t/tokens", &year).await.text("plaintext");
    let origin = server.listen().await;
    let remote =
        origin.replace("http://", &format!("http://x:{}@", token.split('?').next().expect("a token")));
    git(folder, &["init", "-q", "-b", "main", "w"]).await;
    let work = folder.join("w");
    git(&work, &["remote", "add", "origin", &format!("{remote}/git/t/x.git")]).await;
    commit(&work, "keep.txt", b"kept\n").await;
    git(&work, &["push", "-q", "origin", "main"]).await;
    format!("{remote}/git/t/x.git")
}

async fn commit(work: &Path, file: &str, bytes: &[u8]) -> String {
    std::fs::write(work.join(file), bytes).expect("the folder is ours");
    git(work, &["add", "-A"]).await;
    git(work, &["commit", "-q", "-m", file]).await;
    git(work, &["rev-parse", "HEAD"]).await
}

/// Whether stock git gets a commit by its id.
async fn fetches(folder: &Path, remote: &str, id: &str) -> bool {
    let empty = folder.join(format!("f{}", std::fs::read_dir(folder).expect("a folder").count()));
    std::fs::create_dir(&empty).expect("the folder is ours");
    git(&empty, &["init", "-q"]).await;
    let mut command = std::process::Command::new("git");
    command.args(["fetch", "-q", remote, id]).current_dir(&empty).env_clear();
    command.env("PATH", std::env::var_os("PATH").expect("a path")).env("HOME", &empty);
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    let out =
        tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("git runs");
    out.status.success()
}

async fn clones(folder: &Path, remote: &str, work: &Path) {
    let copy = folder.join(format!("c{}", std::fs::read_dir(folder).expect("a folder").count()));
    git(folder, &["clone", "-q", remote, copy.to_str().expect("UTF-8")]).await;
    git(&copy, &["fsck", "--full", "--strict"]).await;
    let tip = git(work, &["rev-parse", "origin/main"]).await;
    assert_eq!(git(&copy, &["rev-parse", "HEAD"]).await, tip);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_forced_away_goes_after_its_time_and_can_be_pushed_again() {
    let server = Server::new();
    let folder = tempfile::tempdir().expect("a folder");
    let remote = begun(&server, folder.path()).await;
    let work = folder.path().join("w");
    let first = git(&work, &["rev-parse", "HEAD"]).await;
    let old = commit(&work, "big.bin", &noise(6 << 20, 1)).await;
    git(&work, &["push", "-q", "origin", "main"]).await;
    git(&work, &["reset", "-q", "--hard", &first]).await;
    let new = commit(&work, "small.txt", b"small\n").await;
    git(&work, &["push", "-q", "--force", "origin", "main"]).await;
    pass(&server, MAINTAIN_QUIET_MS);
    assert_eq!(look(&server.app).await.repos, 1);
    let x = server.repository("t", "x").await;
    let before = x.file_bytes().expect("a file");
    days(&server, KEEP_UNREACHABLE_DAYS - 1).await;
    assert_eq!(
        (floor(&server, "x").await, x.file_bytes().expect("a file")),
        (0, before),
        "not before its time"
    );
    days(&server, 2).await;
    assert_eq!(floor(&server, "x").await, 3);
    assert!(before > 6 << 20 && x.file_bytes().expect("a file") < 1 << 20, "the file gave it back");
    assert_sound(&server, "x").await;
    clones(folder.path(), &remote, &work).await;
    assert!(!fetches(folder.path(), &remote, &old).await && fetches(folder.path(), &remote, &new).await);
    let oid = json!({ "oid": old, "force": true }).to_string();
    let refused = server.ask("PUT", "/namespaces/t/repos/x/refs/heads/old", &oid).await;
    assert_eq!(refused.error(), (400, 10_100, "/oid"), "{}", refused.body);
    // Stock git sends all of it once more.
    git(&work, &["push", "-q", "origin", &format!("{old}:refs/heads/old")]).await;
    assert!(fetches(folder.path(), &remote, &old).await);
    assert_sound(&server, "x").await;
    clones(folder.path(), &remote, &work).await;
    let text = server.app.metrics.text(cairn_server::metrics::Now::default());
    assert!(text.contains("cairn_maintenance_dropped_objects_total 3\n"), "{text}");
    let server = server.restart();
    assert_sound(&server, "x").await;
    assert_eq!(floor(&server, "x").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn older_moments_are_refused_with_the_floor_and_younger_ones_read_on() {
    let server = Server::with(|config| Config { keep_unreachable_ms: Some(0), ..config });
    let folder = tempfile::tempdir().expect("a folder");
    let remote = begun(&server, folder.path()).await;
    let work = folder.path().join("w");
    let first = git(&work, &["rev-parse", "HEAD"]).await;
    let old = commit(&work, "secret.txt", b"secret\n").await;
    git(&work, &["push", "-q", "origin", "main"]).await;
    git(&work, &["reset", "-q", "--hard", &first]).await;
    commit(&work, "other.txt", b"other\n").await;
    git(&work, &["push", "-q", "--force", "origin", "main"]).await;
    assert_eq!(server.get("/namespaces/t/repos/x/file?ref=main&path=secret.txt&at=2").await.status, 200);
    let done = server.maintain("t", "x").await;
    assert_eq!(done.result()["dropped_objects"], json!(3), "{}", done.body);
    for path in ["file?ref=main&path=secret.txt&at=2", "refs?at=2", "log?at=2"] {
        let refused = server.get(&format!("/namespaces/t/repos/x/{path}")).await;
        assert_eq!((refused.status, refused.error().1), (410, 10_202), "{path}: {}", refused.body);
        assert_eq!(refused.body["errors"][0]["meta"], json!({ "seq": 2, "floor": 3 }), "{}", refused.body);
    }
    assert_eq!(
        server.get("/namespaces/t/repos/x/file?ref=main&path=keep.txt&at=1").await.status,
        200,
        "whole"
    );
    assert_eq!(server.get("/namespaces/t/repos/x/file?ref=main&path=other.txt&at=3").await.status, 200);
    assert_eq!(server.get(&format!("/namespaces/t/repos/x/commit/{old}")).await.status, 404);
    let fork = async |at: &str, name: &str| {
        let body = json!({ "name": name, "at": at }).to_string();
        server.post("/namespaces/t/repos/x/fork", &body).await
    };
    let refused = fork("2", "f2").await;
    assert_eq!((refused.status, refused.error().1), (410, 10_202), "{}", refused.body);
    assert_eq!(fork("1", "f1").await.status, 201);
    assert_eq!(fork("3", "f3").await.status, 201);
    assert_eq!(fork(&old, "f4").await.status, 400, "no ref shows it");
    // What happened is still told.
    let activity = server.get("/namespaces/t/repos/x/activity").await;
    assert_eq!(activity.status, 200, "{}", activity.body);
    for name in ["x", "f1", "f3"] {
        assert_sound(&server, name).await;
    }
    clones(folder.path(), &remote, &work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_makes_nothing_old() {
    let server = Server::new();
    let folder = tempfile::tempdir().expect("a folder");
    begun(&server, folder.path()).await;
    let work = folder.path().join("w");
    git(&work, &["commit", "-q", "--amend", "-m", "again"]).await;
    git(&work, &["push", "-q", "--force", "origin", "main"]).await;
    let dropped = async || server.maintain("t", "x").await.result()["dropped_objects"].clone();
    assert_eq!(dropped().await, json!(0));
    pass(&server, 3_650 * DAY_MS);
    assert_eq!(dropped().await, json!(0), "ten years in a moment");
    server.now.fetch_sub(i64::try_from(3_650 * DAY_MS).expect("a time"), Ordering::SeqCst);
    assert_eq!(dropped().await, json!(0));
    days(&server, KEEP_UNREACHABLE_DAYS - 2).await;
    assert_eq!(dropped().await, json!(0));
    days(&server, 3).await;
    assert_eq!(dropped().await, json!(1), "the commit; its tree and file are named");
    assert_sound(&server, "x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fork_stands_on_stays_until_the_fork_is_gone() {
    let server = Server::with(|config| Config { keep_unreachable_ms: Some(0), ..config });
    let folder = tempfile::tempdir().expect("a folder");
    begun(&server, folder.path()).await;
    let work = folder.path().join("w");
    let first = git(&work, &["rev-parse", "HEAD"]).await;
    let old = commit(&work, "old.txt", &noise(100_000, 3)).await;
    git(&work, &["push", "-q", "origin", "main"]).await;
    git(&work, &["reset", "-q", "--hard", &first]).await;
    commit(&work, "new.txt", b"new\n").await;
    git(&work, &["push", "-q", "--force", "origin", "main"]).await;
    // Two forks behind the one that forced: what the base shows no more, one is pushed again, and so stores nothing of.
    for (name, base) in [("f", "x"), ("g", "f")] {
        let made = server
            .post(&format!("/namespaces/t/repos/{base}/fork"), &json!({ "name": name }).to_string())
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        if name == "f" {
            let token = made.text("token");
            let bare = token.split('?').next().expect("a token").to_owned();
            let origin = server.listen().await.replace("http://", &format!("http://x:{bare}@"));
            git(&work, &["push", "-q", &format!("{origin}/git/t/f.git"), &format!("{old}:refs/heads/back")])
                .await;
        }
    }
    assert_eq!(server.maintain("t", "x").await.result()["dropped_objects"], json!(0));
    for name in ["x", "f", "g"] {
        assert_sound(&server, name).await;
    }
    assert_eq!(server.get("/namespaces/t/repos/f/file?ref=back&path=old.txt").await.status, 200);
    for name in ["f", "g"] {
        assert_eq!(server.ask("DELETE", &format!("/namespaces/t/repos/{name}"), "").await.status, 202);
        let dropped = server.maintain("t", "x").await.result()["dropped_objects"].clone();
        assert_eq!(dropped, json!(0), "{name} may be read yet, or another stands on it");
    }
    maintain::sweep_files(&server.app.catalog, |id| {
        server.app.files.delete(id).map(drop).map_err(Into::into)
    })
    .await
    .expect("swept");
    assert_eq!(server.maintain("t", "x").await.result()["dropped_objects"], json!(3));
    assert_sound(&server, "x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_under_way_ends_whole_and_holds_up_what_it_reads() {
    let server = Server::with(|config| Config { keep_unreachable_ms: Some(0), ..config });
    let folder = tempfile::tempdir().expect("a folder");
    let token = server.repo("t", "x").await;
    let make = async |content: Vec<u8>, parent: &str| {
        let content: String = content.iter().map(|byte| char::from(b'0' + byte % 64)).collect();
        let body =
            json!({ "branch": "main", "message": "m", "changes": [{ "path": "f", "content": content }] });
        let made = server.post("/namespaces/t/repos/x/commits", &body.to_string()).await;
        assert_eq!(made.status, 201, "{} {parent}", made.body);
        made.text("hash")
    };
    let first = make(noise(1_000, 1), "").await;
    let tip = make(noise(2_000_000, 2), &first).await;
    let mut slow = clone_begun(&server, &token, &tip).await;
    let mut answer = Vec::new();
    let mut frame = async |slow: &mut Body| match slow.frame().await {
        Some(frame) => {
            answer.extend_from_slice(&frame.expect("a frame").into_data().expect("data"));
            true
        }
        None => false,
    };
    assert!(frame(&mut slow).await);
    let oid = json!({ "oid": first, "force": true }).to_string();
    assert_eq!(server.ask("PUT", "/namespaces/t/repos/x/refs/heads/main", &oid).await.status, 200);
    let done = server.maintain("t", "x").await;
    assert_eq!(done.result()["dropped_objects"], json!(0), "{}", done.body);
    while frame(&mut slow).await {}
    drop(slow);
    let lines = pkt_lines(&answer);
    let pack: Vec<u8> =
        lines.iter().filter_map(|line| line.strip_prefix(b"\x01")).flatten().copied().collect();
    let empty = folder.path().join("e");
    std::fs::create_dir(&empty).expect("the folder is ours");
    git(&empty, &["init", "-q"]).await;
    std::fs::write(empty.join("p.pack"), pack).expect("the folder is ours");
    git(&empty, &["index-pack", "--strict", "p.pack"]).await;
    assert_eq!(server.maintain("t", "x").await.result()["dropped_objects"], json!(3));
    assert_sound(&server, "x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everything_is_kept_nothing_is_dropped_and_clean_logs_are_passed_over() {
    let server = Server::with(|config| Config { keep_unreachable_ms: None, ..config });
    let folder = tempfile::tempdir().expect("a folder");
    begun(&server, folder.path()).await;
    let work = folder.path().join("w");
    git(&work, &["commit", "-q", "--amend", "-m", "again"]).await;
    git(&work, &["push", "-q", "--force", "origin", "main"]).await;
    days(&server, 2 * KEEP_UNREACHABLE_DAYS).await;
    server.maintain("t", "x").await;
    assert_eq!(floor(&server, "x").await, 0);
    // A log that only ever grew is not looked at again for its age.
    let server = Server::new();
    begun(&server, &folder.path().join("w")).await;
    pass(&server, MAINTAIN_QUIET_MS);
    assert_eq!(look(&server.app).await.repos, 1);
    for _ in 0..2 * KEEP_UNREACHABLE_DAYS {
        pass(&server, DAY_MS);
        assert_eq!(look(&server.app).await.repos, 0);
    }
}

/// One number after another, for places in lists.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        let bytes = noise(8, self.0);
        self.0 += 1;
        usize::from(bytes[3]) % sides
    }
}

/// Commits to `x`, moves its branches to any commit that there ever was, and forks it at any entry; answers the forks.
async fn busy(server: Server, seed: u64) -> Vec<String> {
    let (mut dice, mut commits, mut forks): (_, Vec<String>, _) =
        (Dice(seed * 1_000), Vec::new(), Vec::new());
    for nth in 0..120 {
        let branch = format!("b{}", dice.roll(3));
        match dice.roll(8) {
            0..4 => {
                let content = format!("{} of {seed}", dice.roll(12));
                let body = json!({ "branch": branch, "allow_empty": true, "message": format!("{seed} {nth}"),
                    "changes": [{ "path": format!("f{}", dice.roll(3)), "content": content }] });
                let made = server.post("/namespaces/t/repos/x/commits", &body.to_string()).await;
                assert!(matches!(made.status, 201 | 404 | 409), "{}", made.body);
                commits.extend((made.status == 201).then(|| made.text("hash")));
            }
            4..6 if !commits.is_empty() => {
                let oid = json!({ "oid": commits[dice.roll(commits.len())], "force": true }).to_string();
                let path = format!("/namespaces/t/repos/x/refs/heads/{branch}");
                let moved = server.ask("PUT", &path, &oid).await;
                // It may be dropped by now, or another may move the branch at the same time.
                assert!(matches!(moved.status, 200 | 400 | 409), "{}", moved.body);
            }
            6 => {
                let name = format!("f{seed}-{nth}");
                let last = server.repository("t", "x").await.snapshot(None).expect("a snapshot").seq();
                let at = (dice.roll(2) == 0)
                    .then(|| usize::try_from(last).expect("few").saturating_sub(dice.roll(6)));
                let body = json!({ "name": name, "at": at.map(|at| at.to_string()) }).to_string();
                let made = server.post("/namespaces/t/repos/x/fork", &body).await;
                assert!(matches!(made.status, 201 | 410), "{}", made.body);
                forks.extend((made.status == 201).then_some(name));
            }
            _ => {
                if let Some(gone) = forks.pop() {
                    let path = format!("/namespaces/t/repos/{gone}");
                    assert_eq!(server.ask("DELETE", &path, "").await.status, 202);
                }
            }
        }
    }
    forks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_forced_moves_and_forks_go_on_while_things_are_dropped_and_all_that_is_shown_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = tempfile::tempdir().expect("a folder");
    let keep = |config| Config { keep_unreachable_ms: Some(0), ..config };
    let server = Server::with_on(data, keep);
    server.repo("t", "x").await;
    // Each with a door of its own to the same server.
    let handle = || Server {
        app: server.app.clone(),
        edge: server.edge.clone(),
        now: server.now.clone(),
        folder: tempfile::tempdir().expect("a folder"),
    };
    let work: Vec<_> = (1..=3).map(|seed| tokio::spawn(busy(handle(), seed))).collect();
    let mut dropped = 0;
    while !work.iter().all(tokio::task::JoinHandle::is_finished) {
        let done = server.maintain("t", "x").await;
        assert_eq!(done.status, 200, "{}", done.body);
        dropped += done.result()["dropped_objects"].as_u64().expect("a number");
        pass(&server, 1_000);
    }
    let mut names = vec!["x".to_owned()];
    for forks in work {
        names.extend(forks.await.expect("it ends"));
    }
    for name in &names[1..] {
        if server.maintain("t", "x").await.result()["dropped_objects"] != json!(0) {
            dropped += 1;
        }
        assert_sound(&server, name).await;
    }
    let origin = server.listen().await;
    for name in names {
        let token = json!({ "repo": name, "ttl": 31_536_000 }).to_string();
        let token = server.post("/namespaces/t/tokens", &token).await.text("plaintext");
        let bare = token.split('?').next().expect("a token").to_owned();
        let remote = format!("{}/git/t/{name}.git", origin.replace("http://", &format!("http://x:{bare}@")));
        git(folder.path(), &["clone", "-q", "--mirror", &remote, &name]).await;
        git(&folder.path().join(&name), &["fsck", "--full", "--strict"]).await;
        assert_sound(&server, &name).await;
    }
    println!("{dropped} dropped");
}
