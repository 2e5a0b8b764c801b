//! The real binary, a real mount, stock git as the remote, and stock git in the mount.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cairn_conformance::fixture::{Script, lines};
use cairn_conformance::front::{Deed, Front};
use cairn_conformance::git::Git;
use cairn_conformance::host::{Format, Host, StockHost};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

struct World {
    host: StockHost,
    front: Front,
    git: Git,
    dir: TempDir,
}

impl World {
    fn start(format: Format) -> Self {
        let host = StockHost::start().unwrap();
        host.create("r", format);
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(dir.path());
        let front = Front::plain(&host.origin(), |_| Deed::Pass);
        let mut script = Script::default();
        script
            .commit("main", &[], &[("README", "first\n"), (".gitignore", "*.o\n"), ("src/a", &lines(1, 900))])
            .commit("main", &[], &[("README", "second\n"), ("src/deep/b", "b\n")])
            .commit("side", &["refs/heads/main"], &[("side/one", "1\n")]);
        let out = git.feed(&host.path("r"), &["fast-import", "--quiet"], script.bytes());
        assert!(out.ok(), "{}", out.errors());
        Self { host, front, git, dir }
    }

    fn url(&self) -> String {
        format!("{}/git/t/r.git", self.front.origin())
    }

    fn mountpoint(&self) -> PathBuf {
        self.dir.path().join("m")
    }

    fn driver(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn-fs"));
        command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("CAIRN_FS_CACHE", self.dir.path().join("c"));
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn done(&self, args: &[&str]) {
        let out = self.driver(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn mount(&self) {
        self.done(&["mount", &self.url(), self.mountpoint().to_str().unwrap()]);
    }

    fn unmount(&self) {
        self.done(&["unmount", self.mountpoint().to_str().unwrap()]);
    }

    fn status(&self) -> Option<serde_json::Value> {
        let out = self.driver(&["status", "--json", self.mountpoint().to_str().unwrap()]);
        out.status.success().then(|| serde_json::from_slice(&out.stdout).unwrap())
    }

    fn wait(&self, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !self.status().is_some_and(|status| is_so(&status)) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.status());
            thread::yield_now();
        }
    }

    /// Nothing is to come any more, and all branches are here.
    fn settle(&self) {
        let is_empty = |status: &serde_json::Value, name: &str| status["hydration"][name].as_u64() == Some(0);
        let fetched = |status: &serde_json::Value| status["hydration"]["fetched_blobs"].as_u64() >= Some(4);
        self.wait("the background ends", |s| {
            is_empty(s, "waiting") && is_empty(s, "background") && fetched(s)
        });
        let deadline = Instant::now() + DEADLINE;
        while !self.git.run(&self.mountpoint(), &["rev-parse", "--verify", "origin/side"]).ok() {
            assert!(Instant::now() < deadline, "the history did not come");
            thread::yield_now();
        }
    }

    fn ok(&self, args: &[&str]) -> String {
        let out = self.git.run(&self.mountpoint(), args);
        assert!(out.ok(), "git {args:?}: {}", out.errors());
        out.text()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.mountpoint().join(path)).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A failed test leaves a mount, which would keep its folder from being removed.
        self.driver(&["unmount", self.mountpoint().to_str().unwrap()]);
    }
}

#[test]
fn a_mount_is_clean_takes_changes_pushes_them_and_outlives_its_daemon() {
    for format in [Format::Sha1, Format::Sha256] {
        let world = World::start(format);
        world.mount();
        world.settle();
        let before = world.front.asked().len();
        assert_eq!(world.ok(&["status", "--porcelain"]), "", "{format:?}");
        assert_eq!(world.ok(&["log", "--format=%s"]).lines().count(), 2);
        assert_eq!(world.read("src/a"), lines(1, 900));
        assert_eq!(world.read("README"), "second\n");
        assert_eq!(world.front.asked().len(), before, "neither status, log nor reading asks the remote");

        fs::write(world.mountpoint().join("README"), "third\n").unwrap();
        assert_eq!(world.ok(&["status", "--porcelain"]), " M README");
        world.ok(&["commit", "--quiet", "--all", "--message", "edit"]);
        world.ok(&["push", "--quiet", "origin", "main"]);
        let pushed = world.git.run(&world.host.path("r"), &["show", "main:README"]).text();
        assert_eq!(pushed, "third");
        world.ok(&["checkout", "--quiet", "side"]);
        assert_eq!(world.read("side/one"), "1\n");
        world.ok(&["checkout", "--quiet", "main"]);
        world.unmount();
        assert!(!world.mountpoint().join("README").exists());

        world.mount();
        assert_eq!(world.read("README"), "third\n");
        assert_eq!(world.ok(&["status", "--porcelain"]), "");
        fs::write(world.mountpoint().join("new"), "n\n").unwrap();
        let killed = world.status().unwrap()["pid"].clone();
        assert!(Command::new("kill").args(["-9", &killed.to_string()]).status().unwrap().success());
        world.wait("another daemon serves", |status| status["pid"] != killed);
        assert_eq!(world.read("new"), "n\n");
        assert_eq!(world.ok(&["status", "--porcelain"]), "?? new");
        world.unmount();
    }
}

#[test]
fn another_commit_than_the_required_one_is_refused_and_nothing_is_mounted() {
    let world = World::start(Format::Sha1);
    let dir = world.mountpoint();
    let other = "1".repeat(40);
    let out = world.driver(&["mount", &world.url(), dir.to_str().unwrap(), "--require-commit", &other]);
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("is required"));
    assert!(world.status().is_none());
}

/// The process that started another.
fn parent_of(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("PPid:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_mount_whose_processes_were_all_killed_is_replaced_by_the_next_with_all_changes() {
    let world = World::start(Format::Sha1);
    world.mount();
    fs::write(world.mountpoint().join("new"), "n\n").unwrap();
    let daemon = world.status().unwrap()["pid"].as_u64().unwrap();
    // The supervisor first: it would start another.
    for pid in [parent_of(daemon), daemon] {
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    }
    let deadline = Instant::now() + DEADLINE;
    while fs::symlink_metadata(world.mountpoint()).is_ok() {
        assert!(Instant::now() < deadline, "the dead mount still answers");
        thread::yield_now();
    }
    world.mount();
    assert_eq!(world.read("new"), "n\n");
    assert_eq!(world.read("README"), "second\n");
}

#[test]
fn without_the_right_to_mount_a_namespace_of_its_own_gives_a_command_the_tree() {
    let world = World::start(Format::Sha1);
    let dir = world.mountpoint();
    // The line that docs/mount.md gives.
    let line =
        r#""$0" mount "$1" "$2" && cat "$2/README" && git -C "$2" status --porcelain; "$0" unmount "$2""#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--", "sh", "-ec", line]);
    command.args([env!("CARGO_BIN_EXE_cairn-fs"), &world.url(), dir.to_str().unwrap()]);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", world.dir.path()).env("CAIRN_FS_CACHE", world.dir.path().join("c"));
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let out = command.stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8_lossy(&out.stdout), "second\n");
    assert!(!dir.join("README").exists(), "nobody else sees it");
}
