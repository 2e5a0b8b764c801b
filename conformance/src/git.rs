//! Runs stock git with an environment of its own: no user or system settings, fixed people and dates.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The longest that one git command may take.
pub const GIT_SECONDS_MAX: u64 = 180;

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Out {
    /// Exit code; -1 when a signal ended it, -2 when it overran its time.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Out {
    /// True for exit code 0.
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// Standard output as text without the last line ending.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }

    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Settings for every git command of one case.
#[derive(Clone, Debug)]
pub struct Git {
    home: PathBuf,
    config: Vec<(String, String)>,
}

impl Git {
    /// Commands that have `home` as their home directory.
    pub fn new(home: &Path) -> Self {
        let config = [
            ("init.defaultBranch", "main"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("core.fsync", "none"),
            ("advice.detachedHead", "false"),
            ("pack.threads", "1"),
            ("core.compression", "1"),
        ];
        let config = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { home: home.to_owned(), config }
    }

    /// Adds a setting.
    pub fn set(&mut self, key: &str, value: &str) {
        self.config.push((key.to_owned(), value.to_owned()));
    }

    /// Sends `token` as a bearer to `url` and what lies below it.
    pub fn bearer(&mut self, url: &str, token: &str) {
        self.set(&format!("http.{url}.extraHeader"), &format!("Authorization: Bearer {token}"));
    }

    /// A command ready to be spawned, for callers that mean to fault it.
    pub fn command<S: AsRef<OsStr>>(&self, dir: &Path, args: &[S]) -> Command {
        let mut command = Command::new("git");
        command.args(args).current_dir(dir).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.home).env("LC_ALL", "C").env("TZ", "UTC");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_CEILING_DIRECTORIES", &self.home);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "A U Thor");
            command.env(format!("GIT_{role}_EMAIL"), "author@example.com");
            command.env(format!("GIT_{role}_DATE"), "1700000000 +0000");
        }
        command.env("GIT_CONFIG_COUNT", self.config.len().to_string());
        for (at, (key, value)) in self.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{at}"), key).env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        command
    }

    /// Runs git in `dir`.
    pub fn run<S: AsRef<OsStr>>(&self, dir: &Path, args: &[S]) -> Out {
        self.feed(dir, args, b"")
    }

    /// Runs git in `dir` with `input` on its standard input.
    pub fn feed<S: AsRef<OsStr>>(&self, dir: &Path, args: &[S], input: &[u8]) -> Out {
        run_command(self.command(dir, args), input)
    }
}

/// Runs a command to its end or to `GIT_SECONDS_MAX`, whichever is first.
pub fn run_command(mut command: Command, input: &[u8]) -> Out {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git can be started");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    thread::spawn(move || stdin.write_all(&input).ok());
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    collect(stdout, sender.clone(), false);
    collect(stderr, sender, true);
    let mut out = Out { code: -2, stdout: Vec::new(), stderr: Vec::new() };
    for _ in 0..2 {
        match receiver.recv_timeout(Duration::from_secs(GIT_SECONDS_MAX)) {
            Ok((true, bytes)) => out.stderr = bytes,
            Ok((false, bytes)) => out.stdout = bytes,
            Err(_) => {
                child.kill().ok();
                child.wait().ok();
                return out;
            }
        }
    }
    out.code = child.wait().expect("the child was started here").code().unwrap_or(-1);
    out
}

fn collect(mut from: impl Read + Send + 'static, to: mpsc::Sender<(bool, Vec<u8>)>, is_stderr: bool) {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).ok();
        to.send((is_stderr, bytes)).ok();
    });
}
