//! Stock git on loopback with one history, and what tests ask of it.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_conformance::fixture::{Script, lines};
use cairn_conformance::git::Git;
use cairn_conformance::host::{Format, Host, StockHost};
use cairn_protocol::object::{HashAlgo, ObjectId};
use cairn_remote::{FetchWish, Fetched, Options, Remote, RemoteError};
use tempfile::TempDir;

pub struct Stock {
    pub host: StockHost,
    pub url: String,
    pub format: Format,
    pub git: Git,
    pub dir: TempDir,
}

/// The path of the repository below an origin.
pub const PATH: &str = "/git/t/r.git";

impl Stock {
    /// A repository with six commits on main, a side branch and two kinds of tags.
    pub fn start(format: Format) -> Self {
        let host = StockHost::start().unwrap();
        let url = host.create("r", format).url;
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(dir.path());
        let stock = Self { host, url, format, git, dir };
        let mut script = Script::default();
        script
            .commit("main", &[], &[("README", "first\n"), ("src/a", &lines(1, 3000))])
            .commit("main", &[], &[("src/b", &lines(3, 50))])
            .tag("v1", "refs/heads/main")
            .commit("main", &[], &[("src/a", &lines(2, 3000))])
            .commit("side", &["refs/heads/main"], &[("side/one", "1\n")])
            .commit("main", &[], &[("README", "second\n"), ("src/c", "c\n")])
            .commit("main", &[], &[("README", "third\n")])
            .reset("refs/tags/light", "refs/heads/side")
            .reset("refs/notes/x", "refs/heads/side");
        let out = stock.git.feed(&stock.path(), &["fast-import", "--quiet"], script.bytes());
        assert!(out.ok(), "{}", out.errors());
        stock
    }

    pub fn path(&self) -> PathBuf {
        self.host.path("r")
    }

    pub fn origin(&self) -> String {
        self.host.origin()
    }

    pub fn config(&self, key: &str, value: &str) {
        self.ok(&self.path(), &["config", key, value]);
    }

    pub fn ok(&self, dir: &Path, args: &[&str]) -> String {
        let out = self.git.run(dir, args);
        assert!(out.ok(), "git {args:?}: {}", out.errors());
        out.text()
    }

    pub fn id(&self, name: &str) -> ObjectId {
        let hex = self.ok(&self.path(), &["rev-parse", name]);
        self.algo_id(&hex)
    }

    pub fn algo_id(&self, hex: &str) -> ObjectId {
        let algo = HashAlgo::from_name(self.format.name()).unwrap();
        ObjectId::from_hex(algo, hex.as_bytes()).unwrap()
    }

    /// Puts a pack into a repository of its own and gives its objects, sorted.
    pub fn objects(&self, pack: &[u8]) -> Vec<String> {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap();
        let format = format!("--object-format={}", self.format.name());
        self.ok(dir.path(), &["init", "--quiet", "--bare", &format, "."]);
        let out = self.git.feed(dir.path(), &["index-pack", "--stdin"], pack);
        assert!(out.ok(), "index-pack: {}", out.errors());
        let listed = self.ok(dir.path(), &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
        let mut ids: Vec<_> = listed.lines().map(str::to_owned).collect();
        ids.sort_unstable();
        ids
    }

    /// What `git rev-list --objects` gives for these arguments in the repository, sorted.
    pub fn listed(&self, args: &[&str]) -> Vec<String> {
        let all: Vec<_> =
            ["rev-list", "--objects", "--no-object-names"].iter().chain(args).copied().collect();
        let mut ids: Vec<_> = self.ok(&self.path(), &all).lines().map(str::to_owned).collect();
        ids.sort_unstable();
        ids
    }
}

pub fn options() -> Options {
    let (connect_timeout, read_timeout) = (Duration::from_secs(20), Duration::from_secs(50));
    Options { connect_timeout, read_timeout, ..Options::default() }
}

pub fn open(url: &str) -> Remote {
    Remote::open(url, options()).unwrap()
}

/// Fetches into memory.
pub fn fetch(remote: &mut Remote, wish: &FetchWish) -> Result<(Vec<u8>, Fetched), RemoteError> {
    let mut pack = Vec::new();
    let mut take = |bytes: &[u8]| {
        pack.extend_from_slice(bytes);
        Ok(())
    };
    let fetched = remote.fetch(wish, &mut take, &mut |_| ())?;
    Ok((pack, fetched))
}
