//! `cairn maintain` on the folder of a stopped server: the same repository to git, less on the disk, whatever kills it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cairn_conformance::host;
use cairn_tests::Server;
use cairn_tests::chain::Chain;
use cairn_tests::server::{assert_clones, assert_sound, cairn};

/// Pushes of the repository, each a pack of its own.
const PUSHES: usize = 60;

/// All files below a folder whose name ends so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

fn bytes(data: &Path, ending: &str) -> u64 {
    files(&data.join("repos"), ending)
        .iter()
        .map(|path| fs::metadata(path).map_or(0, |found| found.len()))
        .sum()
}

/// Starts `cairn maintain --all` and kills it when the log of its file has so many bytes, or lets it end.
fn maintain_and_kill_at(data: &Path, wal_bytes: u64) -> bool {
    let mut child = Command::new(host::cairn_binary())
        .args(["maintain", "--all", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if bytes(data, ".sqlite-wal") >= wal_bytes {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        assert!(Instant::now() < deadline, "maintain ends or writes within a minute");
        std::thread::yield_now();
    }
}

#[test]
fn maintain_keeps_what_git_sees_and_survives_kills() {
    let mut server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let remote = server.create("small");
    let mut chain = Chain::new("refs/heads/main", 7, 2_000);
    for _ in 0..PUSHES {
        let step = chain.next_step();
        assert!(chain.push(&remote, &step));
    }
    let objects = |server: &Server, name: &str| {
        let remote = server.again(&remote);
        let git = server.git(dir.path(), &[&remote]);
        assert_clones(&git, dir.path(), &remote.url, name);
        let out = git.run(&dir.path().join(name), &["rev-list", "--objects", "--all"]);
        assert!(out.ok(), "{}", out.errors());
        out.text()
    };
    let before = objects(&server, "before");
    let (status, text) = cairn(&["maintain", "--all"], server.data());
    assert!(!status.success() && text.contains("another server"), "beside a running server: {text}");
    server.terminate();
    server.wait();
    let file_bytes = bytes(server.data(), ".sqlite");
    let kills = [1, 20_000, 60_000, 120_000].map(|wal_bytes| {
        let is_killed = maintain_and_kill_at(server.data(), wal_bytes);
        assert_sound(server.data());
        is_killed
    });
    assert!(kills.contains(&true), "some kill must come before the end");
    let (status, text) = cairn(&["maintain", "--all"], server.data());
    assert!(status.success(), "{text}");
    assert_sound(server.data());
    assert!(bytes(server.data(), ".sqlite") < file_bytes, "space goes back to the file system: {text}");
    server.restart();
    assert_eq!(objects(&server, "after"), before);
    let remote = server.again(&remote);
    let step = chain.next_step();
    assert!(chain.push(&remote, &step), "pushes go on");
    objects(&server, "later");
    assert_sound(server.data());
}

#[test]
fn maintain_of_a_repository_that_is_not_there_says_so() {
    let mut server = Server::start();
    server.terminate();
    server.wait();
    let (status, text) = cairn(&["maintain", "nobody/nothing"], server.data());
    assert!(!status.success() && text.contains("no repository of this name"), "{text}");
}
