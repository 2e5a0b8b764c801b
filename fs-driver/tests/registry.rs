//! Commands find mounts by their folders alone, and tell of mounts that do not serve.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cairn_conformance::fixture::Script;
use cairn_conformance::git::Git;
use cairn_conformance::host::{Format, Host, StockHost};
use serde_json::Value;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

struct World {
    host: StockHost,
    dir: TempDir,
}

impl World {
    fn start() -> Self {
        let host = StockHost::start().unwrap();
        host.create("r", Format::Sha1);
        let dir = tempfile::tempdir().unwrap();
        let mut script = Script::default();
        script.commit("main", &[], &[("README", "first\n"), ("a/b", "b\n")]);
        let out = Git::new(dir.path()).feed(&host.path("r"), &["fast-import", "--quiet"], script.bytes());
        assert!(out.ok(), "{}", out.errors());
        Self { host, dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn driver(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn-fs"));
        command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("XDG_RUNTIME_DIR", self.dir.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn done(&self, args: &[&str]) -> String {
        let out = self.driver(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    fn status(&self, dir: &str) -> Value {
        serde_json::from_str(&self.done(&["status", "--json", dir])).unwrap()
    }

    fn wait(&self, dir: &str, state: &str) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.status(dir);
            if status["state"] == state {
                return status;
            }
            assert!(status["state"] == "preparing" && Instant::now() < deadline, "{state}: {status}");
            thread::yield_now();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for name in ["one", "two"] {
            self.driver(&["unmount", &self.path(name)]);
        }
    }
}

#[test]
fn two_mounts_with_different_caches_are_found_by_their_folders() {
    let world = World::start();
    let url = format!("{}/git/t/r.git", world.host.origin());
    let (one, two) = (world.path("one"), world.path("two"));
    world.done(&["mount", &url, &one, "--cache", &world.path("c1")]);
    world.done(&["mount", &url, &two, "--cache", &world.path("c2")]);
    let again = world.driver(&["mount", &url, &one, "--cache", &world.path("c2")]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is mounted already"), "{again:?}");

    let all: Value = serde_json::from_str(&world.done(&["status", "--json"])).unwrap();
    let mut dirs: Vec<_> = all.as_array().unwrap().iter().map(|s| s["dir"].as_str().unwrap()).collect();
    dirs.sort_unstable();
    assert_eq!(dirs, [&one, &two]);

    world.done(&["pause", &one]);
    assert_eq!(world.status(&one)["hydration"]["is_paused"], true);
    assert_eq!(world.status(&two)["hydration"]["is_paused"], false, "the other one goes on");
    world.done(&["resume", &one]);
    assert_eq!(world.status(&one)["hydration"]["is_paused"], false);
    assert!(world.done(&["prefetch", &two, "a"]).contains("files on their way"));

    world.done(&["unmount", &one]);
    assert!(!Path::new(&one).join("README").exists());
    assert_eq!(world.status(&two)["state"], "ready", "the other one stays");
    world.done(&["unmount", &two]);
    assert!(!world.driver(&["status", &two]).status.success());
}

#[test]
fn an_async_mount_comes_by_itself_and_one_that_failed_says_why() {
    let world = World::start();
    let (one, two) = (world.path("one"), world.path("two"));
    let url = format!("{}/git/t/r.git", world.host.origin());
    world.done(&["mount", "--async", &url, &one]);
    let ready = world.wait(&one, "ready");
    assert_eq!(ready["commit"].as_str().unwrap().len(), 40);
    assert_eq!(std::fs::read_to_string(Path::new(&one).join("README")).unwrap(), "first\n");

    world.done(&["mount", "--async", &url, &two, "--ref", "none-such"]);
    let failed = world.wait(&two, "failed");
    let why = failed["hydration"]["last_error"].as_str().unwrap();
    assert!(why.contains("there is no ref none-such"), "{why}");
    assert_eq!(std::fs::read_dir(&two).unwrap().count(), 0, "the folder is a plain one");
    world.done(&["unmount", &two]);
    assert!(!world.driver(&["status", &two]).status.success(), "a failure that was seen is forgotten");
}
