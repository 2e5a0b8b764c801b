//! Stock git as the remote, the real binary with a real mount, and a native clone beside it.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cairn_conformance::front::{Deed, Front};
use cairn_conformance::git::{Git, Out, run_command};
use cairn_conformance::host::{Format, Host, StockHost};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// Two equal repositories on a host: one is mounted, the other cloned.
pub struct World {
    pub host: StockHost,
    pub front: Front,
    pub git: Git,
    pub dir: TempDir,
}

impl World {
    /// A world whose repositories are made by a shell script that runs in a new work tree on `main`.
    pub fn start(script: &str) -> Self {
        let host = StockHost::start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(dir.path());
        let front = Front::plain(&host.origin(), |_| Deed::Pass);
        let world = Self { host, front, git, dir };
        let seed = world.dir.path().join("seed");
        fs::create_dir(&seed).unwrap();
        let out = world.shell(&seed, "git init -q");
        assert!(out.ok(), "{}", out.errors());
        let out = world.shell(&seed, &format!("set -e\n{script}"));
        assert!(out.ok(), "{}", out.errors());
        for name in ["mounted", "cloned"] {
            world.host.create(name, Format::Sha1);
            let place = world.host.path(name);
            // Not by a push: hosts refuse what some tests are about.
            let out = world.git.run(&place, &["fetch", "-q", seed.to_str().unwrap(), "+refs/*:refs/*"]);
            assert!(out.ok(), "{}", out.errors());
        }
        world
    }

    pub fn url(&self, name: &str) -> String {
        format!("{}/git/t/{name}.git", self.front.origin())
    }

    /// Runs a shell script in `dir`. `$OUT` is a folder of its own for what is outside of the tree, `$REMOTE` the path of
    /// its remote.
    pub fn shell(&self, dir: &Path, script: &str) -> Out {
        let name = dir.file_name().unwrap().to_str().unwrap();
        let out = self.dir.path().join(format!("out-{name}"));
        fs::create_dir_all(&out).unwrap();
        let like = self.git.command(dir, &["version"]);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask 022\n{script}")]).current_dir(dir).env_clear();
        command.envs(like.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.env("OUT", out).env("REMOTE", self.host.path(name));
        run_command(command, b"")
    }

    pub fn mountpoint(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    pub fn clone_dir(&self) -> PathBuf {
        self.dir.path().join("cloned")
    }

    pub fn driver(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn-fs"));
        command.args(args).env_clear();
        let like = self.git.command(self.dir.path(), &["version"]);
        command.envs(like.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.env("CAIRN_FS_CACHE", self.dir.path().join("c"));
        command.stdin(Stdio::null()).output().unwrap()
    }

    pub fn done(&self, args: &[&str]) {
        let out = self.driver(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    pub fn mount(&self, more: &[&str]) {
        let (url, dir) = (self.url("mounted"), self.mountpoint());
        self.done(&[&["mount", &url, dir.to_str().unwrap()], more].concat());
    }

    pub fn unmount(&self) {
        self.done(&["unmount", self.mountpoint().to_str().unwrap()]);
    }

    pub fn clone_natively(&self) {
        let out = self.git.run(self.dir.path(), &["clone", "-q", &self.url("cloned"), "cloned"]);
        assert!(out.ok(), "{}", out.errors());
    }

    pub fn status(&self) -> serde_json::Value {
        let out = self.driver(&["status", "--json", self.mountpoint().to_str().unwrap()]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Whether the mount is served, and by another process than `pid`.
    pub fn is_served_by_another_than(&self, pid: &serde_json::Value) -> bool {
        let out = self.driver(&["status", "--json", self.mountpoint().to_str().unwrap()]);
        let found = serde_json::from_slice::<serde_json::Value>(&out.stdout);
        out.status.success() && found.is_ok_and(|status| status["pid"] != *pid)
    }

    /// Waits until all branches and tags are in the mount.
    pub fn await_history(&self) {
        let remote = self.host.path("mounted");
        let here = self.mountpoint();
        let branches = |dir: &Path, folder: &str| {
            let out = self.git.run(dir, &["for-each-ref", "--format=%(objectname)", folder]);
            out.text().lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
        };
        let deadline = Instant::now() + DEADLINE;
        let is_here = || {
            branches(&remote, "refs/heads").is_subset(&branches(&here, "refs/remotes"))
                && branches(&remote, "refs/tags").is_subset(&branches(&here, "refs/tags"))
                && !here.join(".git/shallow").exists()
        };
        while !is_here() {
            assert!(Instant::now() < deadline, "the history did not come");
            thread::yield_now();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A failed test leaves a mount, which would keep its folder from being removed.
        self.driver(&["unmount", self.mountpoint().to_str().unwrap()]);
    }
}
