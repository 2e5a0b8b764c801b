//! A real `cairn serve` on a data folder of its own, which outlives the process: kill it, start it again.

use cairn_conformance::git::Git;
use cairn_conformance::host::{self, Format, Remote};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to end after it was asked to.
pub const STOP_SECONDS_MAX: u64 = 30;

/// The running server; dropping it kills it.
pub struct Server {
    child: Child,
    origin: String,
    data: TempDir,
    args: Vec<String>,
}

impl Server {
    /// Starts on an empty folder.
    pub fn start() -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        Self::start_on(data)
    }

    /// Starts on an empty folder with further arguments, which later starts get too.
    pub fn start_with(args: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        Self::start_on_with(data, args)
    }

    /// Starts on a folder that may hold something.
    pub fn start_on(data: TempDir) -> Self {
        Self::start_on_with(data, &[])
    }

    /// Starts on a folder that may hold something with further arguments, which later starts get too.
    pub fn start_on_with(data: TempDir, args: &[&str]) -> Self {
        let (child, origin) = host::start_cairn(data.path(), args).expect("cairn starts");
        Self { child, origin, data, args: args.iter().map(|arg| (*arg).to_owned()).collect() }
    }

    /// The scheme and authority that clients use.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Ends the process as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    /// Starts again on the same folder; the port, and so every URL, is another one.
    pub fn restart(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let (child, origin) = host::start_cairn(self.data.path(), &args).expect("cairn starts again");
        self.child = child;
        self.origin = origin;
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill(1) exists");
        assert!(sent.success(), "SIGTERM reaches the server");
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(STOP_SECONDS_MAX);
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server ends within {STOP_SECONDS_MAX} s");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Creates a repository.
    pub fn create(&self, name: &str) -> Remote {
        host::create_repository(&self.origin, name, Format::Sha1)
    }

    /// The same repository at the address of the current process.
    pub fn again(&self, remote: &Remote) -> Remote {
        let at = remote.url.find("/git/").expect("a git url");
        Remote { url: format!("{}{}", self.origin, &remote.url[at..]), token: remote.token.clone() }
    }

    /// A REST request below the artifacts base.
    pub fn rest(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        host::rest(&self.origin, method, path, body)
    }

    /// Git that carries the token of each remote.
    pub fn git(&self, home: &Path, remotes: &[&Remote]) -> Git {
        let mut git = Git::new(home);
        for remote in remotes {
            if let Some(token) = &remote.token {
                git.bearer(&remote.url, token);
            }
        }
        git
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs `cairn SUBCOMMAND … --data DATA` to its end; returns the status and what it printed.
pub fn cairn(args: &[&str], data: &Path) -> (ExitStatus, String) {
    let mut command = Command::new(host::cairn_binary());
    let out =
        command.args(args).arg("--data").arg(data).stdin(Stdio::null()).output().expect("cairn can be run");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status, text)
}

/// Asserts that `cairn fsck` finds nothing.
pub fn assert_sound(data: &Path) {
    let (status, text) = cairn(&["fsck"], data);
    assert!(status.success(), "cairn fsck: {status}\n{text}");
}

/// Asserts that a mirror clone works and that stock git finds nothing wrong in it.
pub fn assert_clones(git: &Git, dir: &Path, url: &str, name: &str) {
    let out = git.run(dir, &["clone", "--quiet", "--mirror", url, name]);
    assert!(out.ok(), "cloning {url}: {}", out.errors());
    let out = git.run(&dir.join(name), &["fsck", "--strict", "--no-dangling"]);
    assert!(out.ok(), "git fsck of {url}: {}", out.errors());
}

/// Small pseudo-random numbers from a seed (xorshift64).
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.below(256)).expect("below 256")).collect()
    }
}
