//! A repository behind a front that does to requests what a test says, and the real binary that mounts it.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cairn_conformance::fixture::Script;
use cairn_conformance::front::{Asked, Deed, Front};
use cairn_conformance::git::Git;
use cairn_conformance::host::{CairnHost, Format, Host, StockHost};
use serde_json::Value;
use tempfile::TempDir;

pub const DEADLINE: Duration = Duration::from_secs(60);

/// The host behind the front.
pub enum Behind {
    Stock(StockHost),
    Cairn(CairnHost),
}

pub struct World {
    pub behind: Behind,
    pub front: Front,
    pub git: Git,
    pub dir: TempDir,
    /// Below the front's origin.
    pub path: String,
    pub token: Option<String>,
}

/// A rule that holds the first fetch until the sender is dropped.
pub fn held() -> (Sender<()>, impl Fn(&Asked) -> Deed + Send + Sync) {
    held_from(0)
}

/// The same after so many fetches.
pub fn held_from(first: usize) -> (Sender<()>, impl Fn(&Asked) -> Deed + Send + Sync) {
    let seen = AtomicUsize::new(0);
    let (open, wait): (_, Receiver<()>) = channel();
    let wait = Mutex::new(wait);
    let rule = move |asked: &Asked| {
        if asked.is_command("fetch") && seen.fetch_add(1, Ordering::SeqCst) >= first {
            // Ends with an error once the sender is gone.
            let _ = wait.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        Deed::Pass
    };
    (open, rule)
}

impl World {
    /// Stock git with one repository that was made by `script`.
    pub fn stock(script: &Script, rule: impl Fn(&Asked) -> Deed + Send + Sync + 'static) -> Self {
        let host = StockHost::start().unwrap();
        host.create("r", Format::Sha1);
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(dir.path());
        let out = git.feed(&host.path("r"), &["fast-import", "--quiet"], script.bytes());
        assert!(out.ok(), "{}", out.errors());
        let front = Front::plain(&host.origin(), rule);
        Self { behind: Behind::Stock(host), front, git, dir, path: "/git/t/r.git".to_owned(), token: None }
    }

    /// Cairn with one empty repository.
    pub fn cairn() -> Self {
        let host = CairnHost::start().unwrap();
        let remote = host.create("r", Format::Sha1);
        let dir = tempfile::tempdir().unwrap();
        let front = Front::plain(&host.origin(), |_| Deed::Pass);
        let path = remote.url[remote.url.find("/git/").unwrap()..].to_owned();
        let mut git = Git::new(dir.path());
        git.bearer(&remote.url, remote.token.as_ref().unwrap());
        Self { behind: Behind::Cairn(host), front, git, dir, path, token: remote.token }
    }

    /// Past the front.
    pub fn direct(&self) -> String {
        let origin = match &self.behind {
            Behind::Stock(host) => host.origin(),
            Behind::Cairn(host) => host.origin(),
        };
        format!("{origin}{}", self.path)
    }

    /// Where the repository lies on the disk of a stock host.
    pub fn bare(&self) -> PathBuf {
        match &self.behind {
            Behind::Stock(host) => host.path("r"),
            Behind::Cairn(_) => panic!("only stock git has one"),
        }
    }

    /// What is mounted. The front keeps credentials to itself, so Cairn is asked without it.
    pub fn url(&self) -> String {
        match self.behind {
            Behind::Stock(_) => format!("{}{}", self.front.origin(), self.path),
            Behind::Cairn(_) => self.direct(),
        }
    }

    pub fn mountpoint(&self) -> PathBuf {
        self.dir.path().join("m")
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("c")
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("CAIRN_FS_CACHE", self.cache());
        command.env("XDG_RUNTIME_DIR", self.dir.path().join("run"));
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", self.dir.path().join("gitconfig"));
        command.stdin(Stdio::null());
        command
    }

    pub fn driver_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_cairn-fs"));
        command.args(args);
        if let Some(token) = &self.token {
            command.env("CAIRN_TOKEN", token);
        }
        command
    }

    pub fn driver(&self, args: &[&str]) -> Output {
        self.driver_command(args).output().unwrap()
    }

    pub fn done(&self, args: &[&str]) {
        let out = self.driver(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    pub fn try_mount(&self, more: &[&str]) -> Output {
        let (url, dir) = (self.url(), self.mountpoint());
        self.driver(&[&["mount", &url, dir.to_str().unwrap()], more].concat())
    }

    pub fn mount(&self, more: &[&str]) {
        let out = self.try_mount(more);
        assert!(out.status.success(), "{more:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// What a mount that is refused says.
    pub fn refused(&self, more: &[&str]) -> String {
        let out = self.try_mount(more);
        assert!(!out.status.success(), "{more:?} is mounted");
        String::from_utf8(out.stderr).unwrap()
    }

    pub fn unmount(&self) {
        self.done(&["unmount", self.mountpoint().to_str().unwrap()]);
    }

    pub fn status(&self) -> Option<Value> {
        let out = self.driver(&["status", "--json", self.mountpoint().to_str().unwrap()]);
        out.status.success().then(|| serde_json::from_slice(&out.stdout).unwrap())
    }

    pub fn wait(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !self.status().is_some_and(|status| is_so(&status)) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.status());
            thread::yield_now();
        }
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.mountpoint().join(path)).unwrap()
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.git.run(&self.mountpoint(), args);
        assert!(out.ok(), "git {args:?}: {}", out.errors());
        out.text()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A failed test leaves a mount, which would keep its folder from being removed.
        self.driver(&["unmount", self.mountpoint().to_str().unwrap()]);
    }
}
