//! Maintenance by `cairn maintain` on the folder of a stopped server, by a server that is asked, and by one that does it by
//! itself: the same repository to git, less on the disk, whatever kills it.

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

/// `cairn maintain` on a folder, with or without the token of its server.
fn maintain(args: &[&str], data: &Path, token: Option<&str>) -> (bool, String) {
    let mut command = Command::new(host::cairn_binary());
    command
        .arg("maintain")
        .args(args)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .env_remove("CAIRN_API_TOKEN");
    command.envs(token.map(|token| ("CAIRN_API_TOKEN", token)));
    let out = command.output().unwrap();
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (out.status.success(), text.concat())
}

#[test]
fn a_running_server_is_asked_by_the_command_line() {
    let server = Server::start_with(&["--maintenance", "off"]);
    let remote = server.create("small");
    let mut chain = Chain::new("refs/heads/main", 7, 2_000);
    for _ in 0..20 {
        let step = chain.next_step();
        assert!(chain.push(&remote, &step));
    }
    let (ok, text) = maintain(&["--all"], server.data(), None);
    assert!(!ok && text.contains("maintains it by itself") && text.contains("CAIRN_API_TOKEN"), "{text}");
    let (ok, text) = maintain(&["--all", "--json"], server.data(), Some(host::API_TOKEN));
    assert!(ok, "{text}");
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(
        (&line["packs_in"], &line["packs_out"], &line["waiting"]),
        (&20.into(), &1.into(), &false.into())
    );
    assert!(line["file_bytes_after"].as_u64() < line["file_bytes_before"].as_u64(), "{line}");
    assert_eq!(
        maintain(&["--all"], server.data(), Some(host::API_TOKEN)),
        (true, String::new()),
        "nothing is left"
    );
    let dir = tempfile::tempdir().unwrap();
    assert_clones(&server.git(dir.path(), &[&remote]), dir.path(), &remote.url, "after");
    assert_sound(server.data());
}

/// What a counter of `/metrics` says.
fn counter(server: &Server, name: &str) -> u64 {
    let url = format!("{}/metrics", server.origin());
    let mut curl = Command::new("curl");
    curl.args(["-s", "-H", &format!("Authorization: Bearer {}", host::API_TOKEN), &url]);
    let text = String::from_utf8(curl.output().unwrap().stdout).unwrap();
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or_else(|| panic!("{name} is not in {text}"))
}

#[test]
fn a_server_maintains_by_itself_while_it_is_pushed_to_cloned_and_killed() {
    let mut server = Server::start_with(&["--maintenance", "1"]);
    let dir = tempfile::tempdir().unwrap();
    let remote = server.create("busy");
    let mut chain = Chain::new("refs/heads/main", 7, 2_000);
    for life in 0..3 {
        let remote = server.again(&remote);
        let git = server.git(dir.path(), &[&remote]);
        let deadline = Instant::now() + Duration::from_secs(60);
        // Until packs were rolled beside the pushes of this life.
        let mut pushes = 0;
        while pushes < 70 || counter(&server, "cairn_maintenance_packs_out_total") == 0 {
            let step = chain.next_step();
            assert!(chain.push(&remote, &step), "push {pushes} of life {life}");
            pushes += 1;
            assert!(Instant::now() < deadline, "packs are rolled within a minute");
        }
        assert_clones(&git, dir.path(), &remote.url, &format!("clone-{life}"));
        assert_eq!(counter(&server, "cairn_maintenance_errors_total"), 0);
        assert_sound(server.data());
        if life < 2 {
            server.kill();
            server.restart();
        }
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while counter(&server, "cairn_maintenance_given_back_bytes_total") == 0 {
        assert!(Instant::now() < deadline, "a quiet repository gives space back within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
    let remote = server.again(&remote);
    let git = server.git(dir.path(), &[&remote]);
    assert_clones(&git, dir.path(), &remote.url, "quiet");
    let out = git.run(&dir.path().join("quiet"), &["rev-parse", "refs/heads/main"]);
    assert_eq!(out.text().trim(), chain.tip());
    assert_sound(server.data());
}
