//! The two hosts that are asked the same questions: stock git and Cairn.

use crate::cgi::CgiHost;
use crate::git::Git;
use crate::http;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// How long a Cairn may take to say where it listens.
pub const START_SECONDS_MAX: u64 = 30;
/// The API token that every Cairn under test is started with.
pub const API_TOKEN: &str = "conformance-api-token";

/// The hash of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Format {
    /// As git spells it in `--object-format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}

/// Where a client finds a repository.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The git URL, without credentials.
    pub url: String,
    /// A token for pushing and fetching, where the host asks for one.
    pub token: Option<String>,
}

impl Remote {
    /// The `Authorization` header, if any.
    pub fn authorization(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {token}"))
    }

    /// The URL with the token as the password, for clients that send no headers of ours.
    pub fn url_with_password(&self) -> String {
        match &self.token {
            None => self.url.clone(),
            Some(token) => {
                let secret = token.split('?').next().unwrap_or_default();
                self.url.replacen("http://", &format!("http://x:{secret}@"), 1)
            }
        }
    }
}

/// Something that hosts repositories over smart HTTP.
pub trait Host: Send + Sync {
    /// Creates an empty repository whose HEAD names `refs/heads/main`.
    fn create(&self, name: &str, format: Format) -> Remote;
    /// The scheme and authority of every remote.
    fn origin(&self) -> String;
}

/// Stock `git http-backend`.
pub struct StockHost {
    cgi: CgiHost,
    root: TempDir,
    git: Git,
    hook: Option<String>,
}

impl StockHost {
    /// Starts one with an empty root.
    pub fn start() -> io::Result<Self> {
        let root = tempfile::tempdir()?;
        let cgi = CgiHost::start(root.path())?;
        let git = Git::new(root.path());
        Ok(Self { cgi, root, git, hook: None })
    }

    /// The same, with a `post-receive` hook in every repository: how a canary makes a host that damages
    /// what it was given.
    pub fn start_with_hook(script: &str) -> io::Result<Self> {
        Ok(Self { hook: Some(format!("#!/bin/sh\n{script}\n")), ..Self::start()? })
    }

    /// The directory of a repository.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("t").join(format!("{name}.git"))
    }
}

/// Repositories with this prefix offer ref-in-want on stock git too. The others do not: its upload-pack (2.47)
/// sends wanted-refs before shallow-info, against gitprotocol-v2, and its own clients then refuse every
/// shallow clone ("expected 'packfile', received 'shallow-info'").
pub const REF_IN_WANT: &str = "ref-in-want";

/// What Cairn offers by default, spelled as stock git's settings.
const STOCK_SETTINGS: &str = "[http]\n\treceivepack = true\n\
    [core]\n\tcompression = 0\n\tfsync = none\n\
    [uploadpack]\n\tallowFilter = true\n\tallowReachableSHA1InWant = true\n\tallowSidebandAll = true\n\
    [receive]\n\tadvertisePushOptions = true\n\tfsckObjects = true\n\tautogc = false\n\
    [transfer]\n\tadvertiseObjectInfo = true\n";

impl Host for StockHost {
    fn create(&self, name: &str, format: Format) -> Remote {
        let path = self.path(name);
        let format = format!("--object-format={}", format.name());
        let place = path.to_string_lossy().into_owned();
        let args = ["init", "--quiet", "--bare", "--initial-branch=main", &format, &place];
        let made = self.git.run(self.root.path(), &args);
        assert!(made.ok(), "git init: {}", made.errors());
        let mut config = std::fs::read_to_string(path.join("config")).expect("git init wrote a config");
        config.push_str(STOCK_SETTINGS);
        if name.starts_with(REF_IN_WANT) {
            config.push_str("[uploadpack]\n\tallowRefInWant = true\n");
        }
        std::fs::write(path.join("config"), config).expect("the repository is ours to write");
        if let Some(script) = &self.hook {
            install_hook(&path, script);
        }
        Remote { url: format!("{}/git/t/{name}.git", self.cgi.origin()), token: None }
    }

    fn origin(&self) -> String {
        self.cgi.origin()
    }
}

fn install_hook(repository: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let hooks = repository.join("hooks");
    let file = hooks.join("post-receive");
    std::fs::create_dir_all(&hooks).expect("the repository is ours to write");
    std::fs::write(&file, script).expect("the repository is ours to write");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("the hook is ours");
}

/// A real `cairn serve`, killed when dropped.
pub struct CairnHost {
    child: Child,
    origin: String,
    data: TempDir,
}

impl CairnHost {
    /// Starts the binary on a data directory of its own.
    pub fn start() -> io::Result<Self> {
        let data = tempfile::tempdir()?;
        let (child, origin) = start_cairn(data.path(), &[])?;
        Ok(Self { child, origin, data })
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }
}

impl Drop for CairnHost {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Host for CairnHost {
    fn create(&self, name: &str, format: Format) -> Remote {
        create_repository(&self.origin, name, format)
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}

/// Where the `cairn` binary is: `CAIRN_BIN`, or beside the test executable.
pub fn cairn_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CAIRN_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.parent().expect("a program lies in a folder");
    // Tests run from target/PROFILE/deps, programs from target/PROFILE.
    let folder = if folder.ends_with("deps") { folder.parent().expect("a profile") } else { folder };
    folder.join("cairn")
}

/// Starts `cairn serve` on `data` and a free port; returns the child and its origin.
pub fn start_cairn(data: &Path, more: &[&str]) -> io::Result<(Child, String)> {
    let binary = cairn_binary();
    let mut command = Command::new(&binary);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--api-token", API_TOKEN, "--data"])
        .arg(data)
        .args(more);
    let stderr = if std::env::var_os("CAIRN_LOG").is_some() { Stdio::inherit() } else { Stdio::null() };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    let mut child = command
        .spawn()
        .map_err(|error| io::Error::other(format!("{}: {error}; build it first", binary.display())))?;
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        stdout.read_line(&mut line).ok();
        sender.send(line).ok();
        // A full pipe would stop the server.
        io::copy(&mut stdout.by_ref(), &mut io::sink()).ok();
    });
    let line = receiver.recv_timeout(Duration::from_secs(START_SECONDS_MAX)).unwrap_or_default();
    let hello: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
    match hello.get("url").and_then(|url| url.as_str()) {
        Some(url) => Ok((child, url.trim_end_matches('/').to_owned())),
        None => {
            child.kill().ok();
            child.wait().ok();
            Err(io::Error::other(format!("cairn serve said {line:?} instead of its url")))
        }
    }
}

/// Sends a REST request below the artifacts base; returns the status and the JSON.
pub fn rest(origin: &str, method: &str, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
    let url = format!("{origin}/client/v4/accounts/local/artifacts{path}");
    let authorization = format!("Bearer {API_TOKEN}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = http::request(method, &url, &headers, &body).expect("the server answers REST");
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// Creates a repository in namespace `t` of a Cairn.
pub fn create_repository(origin: &str, name: &str, format: Format) -> Remote {
    let body = serde_json::json!({ "name": name, "object_format": format.name() });
    let (status, answer) = rest(origin, "POST", "/namespaces/t/repos", &body);
    assert_eq!(status, 201, "creating {name}: {answer}");
    remote_of(&answer)
}

/// Reads `remote` and `token` from the answer of create or fork.
pub fn remote_of(answer: &serde_json::Value) -> Remote {
    let field = |name: &str| answer.pointer(&format!("/result/{name}")).and_then(|v| v.as_str());
    let url = field("remote").expect("a created repository has a remote").to_owned();
    Remote { url, token: field("token").map(str::to_owned) }
}
