//! Stock git against the server in process, over a real socket.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::support::{Server, stock_git};

/// A server that listens, and a folder for clones. Needs a runtime of several threads: git blocks the test's own.
pub struct Live {
    pub server: Server,
    origin: String,
    work: TempDir,
}

impl Live {
    pub async fn new() -> Self {
        let server = Server::new();
        let origin = server.listen().await;
        Self { server, origin, work: tempfile::tempdir().expect("a folder") }
    }

    /// A path for a clone.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// The remote of a repository.
    pub fn url(&self, namespace: &str, name: &str) -> String {
        format!("{}/git/{namespace}/{name}.git", self.origin)
    }

    /// An empty repository with `main` checked out, its files and a first commit to be made.
    pub fn init(&self, name: &str) -> PathBuf {
        let dir = self.dir(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        git(&dir, &["init", "-q", "-b", "main", "."]);
        dir
    }

    /// Git that carries a token; its standard output.
    pub fn git(&self, at: &Path, token: &str, args: &[&str]) -> String {
        good(&self.try_git(at, token, args), args)
    }

    /// The same, whatever the outcome.
    pub fn try_git(&self, at: &Path, token: &str, args: &[&str]) -> Output {
        let header = format!("http.extraHeader=Authorization: Bearer {token}");
        let all: Vec<&str> = ["-c", &header].into_iter().chain(args.iter().copied()).collect();
        command(at, &all).output().expect("git runs")
    }

    /// A mirror of a repository, checked with `fsck --strict`.
    pub fn mirror(&self, token: &str, (namespace, name): (&str, &str), to: &str) -> PathBuf {
        let dir = self.dir(to);
        let path = dir.to_str().expect("UTF-8").to_owned();
        let url = self.url(namespace, name);
        self.git(self.work.path(), token, &["clone", "-q", "--mirror", &url, &path]);
        git(&dir, &["fsck", "--strict", "--no-dangling"]);
        dir
    }
}

/// A git that sees nothing of the machine but `PATH`.
pub fn command(at: &Path, args: &[&str]) -> Command {
    let mut git = stock_git(at, ("A U Thor", "a@example.org"), "1700000000 +0000");
    git.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    git
}

/// Git that must do what it is told; its standard output.
pub fn git(at: &Path, args: &[&str]) -> String {
    good(&command(at, args).output().expect("git runs"), args)
}

fn good(output: &Output, args: &[&str]) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {said}\n{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Writes a file, making its folders.
pub fn write(at: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = at.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    std::fs::write(path, text).expect("written");
}

/// Commits all that is in the working tree; the commit's hash.
pub fn commit(at: &Path, message: &str) -> String {
    git(at, &["add", "-A"]);
    git(at, &["commit", "-q", "--allow-empty", "-m", message]);
    git(at, &["rev-parse", "HEAD"])
}

/// All refs and all objects that they reach.
pub fn facts(at: &Path) -> (String, String) {
    let refs = git(at, &["for-each-ref", "--format=%(refname) %(objectname)"]);
    let mut objects: Vec<String> = git(at, &["rev-list", "--objects", "--all", "--no-object-names"])
        .lines()
        .map(str::to_owned)
        .collect();
    objects.sort();
    (refs, objects.join("\n"))
}
