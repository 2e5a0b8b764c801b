//! One budget of memory for all requests: at a tiny one everything ends well, one after another; beyond the waits callers
//! are told so; and nothing of it is lost.

#[path = "support/server.rs"]
mod support;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use cairn_server::budget::{Share, Wait};
use cairn_server::config::{Config, Memory};
use http_body_util::BodyExt;
use support::{API_TOKEN, BASE, Server, git};
use tower_service::Service;

const PATIENT_MS: u64 = 600_000;

/// A budget of one unit: whatever is large runs alone.
fn server(wait_ms: u64, upload_wait_ms: u64, waiting_max: usize) -> Server {
    let memory = Memory { budget_bytes: 1, wait_ms, upload_wait_ms, waiting_max };
    Server::with(|config| Config { memory, ..config })
}

/// Takes all of the budget.
async fn hold(server: &Server) -> Share {
    server.app.memory.take(u64::MAX, Wait::Request).await.expect("nobody else has any")
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Bytes that do not compress.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..count.div_ceil(8)).flat_map(|_| next()).take(count).collect()
}

const LARGE_BYTES: usize = 3 << 20;

/// A local repository whose second commit changes a few bytes of a large file; the remote's URL is its `origin`.
async fn local(origin: &str, folder: &Path, name: &str, token: &str) -> PathBuf {
    let dir = folder.join(name);
    std::fs::create_dir(&dir).expect("a folder");
    git(&dir, &["init", "-q", "-b", "main"]).await;
    git(&dir, &["remote", "add", "origin", &url(origin, name)]).await;
    git(&dir, &["config", "http.extraHeader", &format!("Authorization: Bearer {token}")]).await;
    let mut data = noise(name.len() as u64 + u64::from(name.as_bytes()[0]), LARGE_BYTES);
    for text in ["one", "two"] {
        data[1_000..1_003].copy_from_slice(text.as_bytes());
        std::fs::write(dir.join("large"), &data).expect("written");
        git(&dir, &["add", "."]).await;
        git(&dir, &["commit", "-q", "-m", text]).await;
    }
    dir
}

fn url(origin: &str, name: &str) -> String {
    format!("{origin}/git/a/{name}.git")
}

/// The argument after `-c` with which git outside of a repository carries a token.
fn carrying(token: &str) -> String {
    format!("http.extraHeader=Authorization: Bearer {token}")
}

/// A repository on the server, whose tip holds the large file as a delta of the one before; the local one, and a token.
async fn pushed(server: &Server, origin: &str, folder: &Path, name: &str) -> (PathBuf, String) {
    let token = server.repo("a", name).await;
    let dir = local(origin, folder, name, &token).await;
    git(&dir, &["push", "-q", "origin", "main~1:refs/heads/main"]).await;
    git(&dir, &["push", "-q", "origin", "main"]).await;
    (dir, token)
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).env_clear().env("PATH", std::env::var_os("PATH").expect("a path"));
    command.env("HOME", dir).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    command
}

/// What git says where it fails.
async fn refused(dir: &Path, args: &[&str]) -> String {
    let mut command = command(dir, args);
    let out: Output =
        tokio::task::spawn_blocking(move || command.output()).await.expect("ends").expect("runs");
    assert!(!out.status.success(), "git is refused");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

async fn raw(server: &Server, path: &str) -> (u16, Option<String>, Vec<u8>) {
    let request = Request::builder().uri(format!("{BASE}{path}"));
    let request = request.header("authorization", format!("Bearer {API_TOKEN}"));
    let answer = server.edge.clone().call(request.body(Body::empty()).expect("a request")).await;
    let (head, body) = answer.expect("edges do not fail").into_parts();
    let retry = head.headers.get("retry-after").map(|value| value.to_str().expect("text").to_owned());
    (head.status.as_u16(), retry, body.collect().await.expect("a body").to_bytes().to_vec())
}

fn is_given_back(server: &Server) {
    assert_eq!((server.app.memory.taken_bytes(), server.app.memory.waiting()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_pushes_and_reads_at_once_all_end_well() {
    let server = server(PATIENT_MS, PATIENT_MS, 99);
    let (origin, folder) = (server.listen().await, tempfile::tempdir().expect("a folder"));
    let (old, _) = pushed(&server, &origin, folder.path(), "old").await;
    let mut pushes = Vec::new();
    for name in ["b", "c", "d", "e"] {
        let token = server.repo("a", name).await;
        let dir = local(&origin, folder.path(), name, &token).await;
        let url = url(&origin, name);
        pushes.push(tokio::spawn(async move {
            git(&dir, &["push", "-q", "origin", "main"]).await;
            git(&dir, &["fetch", "-q", "--depth", "1", "origin", "main"]).await;
            let clone = format!("{}-clone", dir.display());
            git(&dir, &["-c", &carrying(&token), "clone", "-q", &url, &clone]).await;
            git(Path::new(&clone), &["fsck", "--strict"]).await;
        }));
    }
    let want = std::fs::read(old.join("large")).expect("the file");
    let reads = async {
        for _ in 0..4 {
            let (file, archive) = tokio::join!(
                raw(&server, "/namespaces/a/repos/old/file?path=large"),
                raw(&server, "/namespaces/a/repos/old/archive/main.tar"),
            );
            assert_eq!((file.0, file.2 == want), (200, true));
            assert_eq!((archive.0, archive.2.len() > LARGE_BYTES), (200, true));
        }
    };
    reads.await;
    for push in pushes {
        push.await.expect("it ends well");
    }
    assert_eq!(server.app.memory.refused(), 0);
    is_given_back(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_wait_rest_answers_503_with_retry_after() {
    let server = server(20, PATIENT_MS, 99);
    let (origin, folder) = (server.listen().await, tempfile::tempdir().expect("a folder"));
    pushed(&server, &origin, folder.path(), "old").await;
    let held = hold(&server).await;
    let (status, retry, body) = raw(&server, "/namespaces/a/repos/old/file?path=large").await;
    assert_eq!((status, retry.as_deref()), (503, Some("10")));
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["errors"][0]["code"], 10_404);
    let text = body["errors"][0]["message"].as_str().expect("a message");
    assert!(text.contains("memory is in use"), "{text}");

    let content = "x".repeat(2 << 20);
    let commit = serde_json::json!({ "message": "m", "changes": [{ "path": "f", "content": content }] });
    let path = "/namespaces/a/repos/old/commits";
    assert_eq!(server.post(path, &commit.to_string()).await.error(), (503, 10_404, ""));
    assert_eq!(raw(&server, "/namespaces/a/repos/old/refs").await.0, 200, "small things need no share");
    drop(held);
    assert_eq!(raw(&server, "/namespaces/a/repos/old/file?path=large").await.0, 200);
    assert_eq!(server.post(path, &commit.to_string()).await.status, 201);
    assert_eq!(server.app.memory.refused(), 2);
    is_given_back(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_wait_a_push_is_told_why() {
    let server = server(20, 20, 99);
    let (origin, folder) = (server.listen().await, tempfile::tempdir().expect("a folder"));
    let (_, carried) = pushed(&server, &origin, folder.path(), "old").await;
    let token = server.repo("a", "new").await;
    let new = local(&origin, folder.path(), "new", &token).await;
    let held = hold(&server).await;
    let said = refused(&new, &["push", "origin", "main"]).await;
    assert!(said.contains("remote unpack failed: the server's memory is in use"), "{said}");
    assert!(git(&new, &["ls-remote", "origin"]).await.is_empty(), "nothing of it is there");
    // The tip's file is a delta of one that such a clone does not get.
    let (carried, url) = (carrying(&carried), url(&origin, "old"));
    let clone = ["-c", &carried, "clone", "-q", "--depth", "1", &url, "clone"];
    let said = refused(folder.path(), &clone).await;
    assert!(said.contains("the server's memory is in use by other requests: try again in 10 s"), "{said}");
    drop(held);
    git(&new, &["push", "-q", "origin", "main"]).await;
    git(folder.path(), &clone).await;
    is_given_back(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once() {
    let server = server(PATIENT_MS, PATIENT_MS, 1);
    let (origin, folder) = (server.listen().await, tempfile::tempdir().expect("a folder"));
    let (old, token) = pushed(&server, &origin, folder.path(), "old").await;
    let held = hold(&server).await;
    let waiter = tokio::spawn({
        let memory = server.app.memory.clone();
        async move { memory.take(1, Wait::Upload).await.map(drop) }
    });
    until("it waits", || server.app.memory.waiting() == 1).await;
    let (status, retry, _) = raw(&server, "/namespaces/a/repos/old/file?path=large").await;
    assert_eq!((status, retry.as_deref()), (503, Some("10")));
    let said = refused(&old, &["ls-remote", "origin"]).await;
    assert!(said.contains("the server's memory is in use by other requests: try again in 10 s"), "{said}");
    let request = Request::post("/git/a/old.git/git-receive-pack")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/x-git-receive-pack-request");
    let answer = server.send(request.body(Body::from("0000")).expect("a request")).await;
    assert_eq!((answer.status, answer.headers["retry-after"].as_bytes()), (503, b"10".as_slice()));
    drop(held);
    waiter.await.expect("it ends").expect("it got its share");
    git(&old, &["ls-remote", "origin"]).await;
    is_given_back(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_the_queue() {
    let server = server(PATIENT_MS, PATIENT_MS, 99);
    let (origin, folder) = (server.listen().await, tempfile::tempdir().expect("a folder"));
    let (old, _) = pushed(&server, &origin, folder.path(), "old").await;
    let token = server.repo("a", "new").await;
    let new = local(&origin, folder.path(), "new", &token).await;
    let held = hold(&server).await;
    let mut push = command(&new, &["push", "-q", "origin", "main"]);
    let mut push = push.stderr(Stdio::null()).process_group(0).spawn().expect("git runs");
    until("the push waits", || server.app.memory.waiting() == 1).await;
    // Those that it started, too: one of them speaks HTTP.
    let group = format!("-{}", push.id());
    let killed = Command::new("kill").args(["-KILL", "--", &group]).status().expect("kill(1) exists");
    assert!(killed.success());
    push.wait().expect("it ends");
    until("the push is gone", || server.app.memory.waiting() == 0).await;
    let (edge, path) = (server.edge.clone(), format!("{BASE}/namespaces/a/repos/old/file?path=large"));
    let read = tokio::spawn(async move {
        let request = Request::get(path).header("authorization", format!("Bearer {API_TOKEN}"));
        edge.clone().call(request.body(Body::empty()).expect("a request")).await.map(drop)
    });
    until("the read waits", || server.app.memory.waiting() == 1).await;
    read.abort();
    until("the read is gone", || server.app.memory.waiting() == 0).await;
    drop(held);
    assert!(git(&old, &["ls-remote", "origin"]).await.contains("refs/heads/main"));
    assert!(
        git(&new, &["ls-remote", "origin"]).await.is_empty(),
        "a push that nobody waited for was not begun"
    );
    is_given_back(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_more_commands_than_memory_takes_waits_on_disk() {
    let server = server(PATIENT_MS, PATIENT_MS, 99);
    let (origin, folder) = (server.listen().await, tempfile::tempdir().expect("a folder"));
    let token = server.repo("a", "many").await;
    let dir = local(&origin, folder.path(), "many", &token).await;
    let tip = git(&dir, &["rev-parse", "main"]).await;
    let folders = vec!["long-name-".repeat(24); 4].join("/");
    let name = |number: u32| format!("refs/heads/{folders}/{number}");
    let packed: String = (0..2_000).map(|number| format!("{tip} {}\n", name(number))).collect();
    std::fs::write(dir.join(".git/packed-refs"), format!("# pack-refs with: peeled fully-peeled \n{packed}"))
        .expect("written");
    // By its URL, so that git keeps no copy of each.
    git(&dir, &["push", "-q", &url(&origin, "many"), "refs/heads/*:refs/heads/*"]).await;
    let there = git(&dir, &["ls-remote", "origin"]).await;
    assert_eq!(there.lines().filter(|line| line.contains("long-name-")).count(), 2_000);
    is_given_back(&server);
}
