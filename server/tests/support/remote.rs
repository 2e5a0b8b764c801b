//! A remote with some history to import from: stock git on loopback, behind TLS.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::PathBuf;

use cairn_conformance::fixture::{Script, lines};
use cairn_conformance::front::{Asked, Authority, Deed, Front};
use cairn_conformance::git::Git;
use cairn_conformance::host::{Format, Host, StockHost};
use cairn_server::config::ImportConfig;
use tempfile::TempDir;

/// Where the repository is below an origin.
pub const PATH: &str = "/git/t/r.git";

pub struct Remote {
    pub stock: StockHost,
    authority: Authority,
    ca_file: PathBuf,
    _dir: TempDir,
}

impl Remote {
    pub fn new() -> Self {
        let stock = StockHost::start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        stock.create("r", Format::Sha1);
        let mut script = Script::default();
        script
            .commit("main", &[], &[("README", "first\n"), ("a", &lines(1, 3000))])
            .commit("main", &[], &[("b", &lines(3, 900))])
            .tag("v1", "refs/heads/main")
            .commit("side", &["refs/heads/main"], &[("side", "1\n")]);
        let git = Git::new(dir.path());
        let out = git.feed(&stock.path("r"), &["fast-import", "--quiet"], script.bytes());
        assert!(out.ok(), "{}", out.errors());
        let authority = Authority::new();
        let ca_file = authority.write_to(dir.path());
        Self { stock, authority, ca_file, _dir: dir }
    }

    /// A front that does this with each request.
    pub fn front(&self, rule: impl Fn(&Asked) -> Deed + Send + Sync + 'static) -> Front {
        Front::tls(&self.stock.origin(), &self.authority, rule)
    }

    /// What a server needs to import from its fronts.
    pub fn imports(&self, allow_private: bool) -> ImportConfig {
        ImportConfig { allow_private, ca_file: Some(self.ca_file.clone()) }
    }
}
