//! The Cairn under test: one process on loopback, its REST and its git remotes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::http::{Client, Payload, Response, discard};
use crate::pkt::check_report;
use crate::proc::CpuClock;
use crate::stock::Usage;

const API_TOKEN: &str = "bench-api-token";
const REPOS: &str = "/client/v4/accounts/local/artifacts/namespaces/bench/repos";
const FETCH: &str = "application/x-git-upload-pack-request";
const PUSH: &str = "application/x-git-receive-pack-request";
/// A server that has not ended this long after being asked to is killed.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);
/// The server counts as idle when it used less than `IDLE_CPU_MAX` in `IDLE_WINDOW`.
const IDLE_WINDOW: Duration = Duration::from_millis(200);
const IDLE_CPU_MAX: Duration = Duration::from_millis(3);
/// Background work is waited for no longer than this.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(120);

/// A running server; dropping it ends the process.
pub struct Server {
    child: Child,
    addr: SocketAddr,
    pub data: PathBuf,
    /// Options that it was started with.
    pub options: Vec<String>,
}

/// Where a repository is, and the token that opens it.
#[derive(Clone)]
pub struct Remote {
    pub name: String,
    path: String,
    token: String,
}

impl Server {
    /// Starts the binary on a data folder and waits for the line that says where it listens.
    pub fn start(binary: &Path, data: &Path) -> Result<Self> {
        Self::start_with(binary, data, &[])
    }

    /// The same with more options.
    pub fn start_with(binary: &Path, data: &Path, options: &[String]) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let log = File::options().create(true).append(true).open(data.with_extension("log"))?;
        let mut child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--api-token", API_TOKEN, "--data"])
            .arg(data)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("the server has no stdout")?);
        let mut line = String::new();
        let found = stdout.read_line(&mut line).map_err(Into::into).and_then(|_| address(&line));
        std::thread::spawn(move || discard(&mut stdout));
        match found {
            Ok(addr) => Ok(Self { child, addr, data: data.to_path_buf(), options: options.to_vec() }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> Client {
        Client::new(self.addr)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Asks the server to end, so that it closes its files, and waits for it.
    pub fn stop(&mut self) {
        // The standard library only knows SIGKILL.
        let asked =
            Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let began = Instant::now();
        while asked.is_ok() && began.elapsed() < STOP_WAIT_MAX {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until background work is over.
    pub fn settle(&self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < SETTLE_WAIT_MAX {
            let before = CpuClock::read(self.pid())?;
            std::thread::sleep(IDLE_WINDOW);
            if CpuClock::read(self.pid())?.since(&before) < IDLE_CPU_MAX {
                break;
            }
        }
        Ok(())
    }

    /// What the server spends on `runs` times `work`, including what it does after answering; wall time is ours.
    pub fn measure(&self, runs: u32, mut work: impl FnMut() -> Result<u64>) -> Result<Usage> {
        self.settle()?;
        let cpu = CpuClock::read(self.pid())?;
        let began = Instant::now();
        let mut bytes = 0;
        for _ in 0..runs {
            bytes += work()?;
        }
        let wall = began.elapsed();
        self.settle()?;
        let cpu = CpuClock::read(self.pid())?.since(&cpu);
        Ok(Usage { cpu, wall, bytes }.per(runs))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `127.0.0.1:port` out of `{"url": "http://127.0.0.1:port"}`.
fn address(line: &str) -> Result<SocketAddr> {
    let started: Value =
        serde_json::from_str(line).map_err(|_| format!("no JSON line at the start: {line:?}"))?;
    let url = started.get("url").and_then(Value::as_str).ok_or("the first line names no url")?;
    let rest = url.strip_prefix("http://").ok_or("the url is not http")?;
    Ok(rest.split('/').next().unwrap_or(rest).parse()?)
}

/// One REST call; answers the `result` of the envelope.
pub fn rest(client: &mut Client, method: &str, path: &str, body: Option<&str>, wanted: u16) -> Result<Value> {
    let payload = body.map_or(Payload::None, Payload::Json);
    let mut response = client.send(method, path, API_TOKEN, "", &payload)?.expect_status(wanted)?;
    let answer: Value = serde_json::from_slice(&response.body()?)?;
    Ok(answer.get("result").cloned().unwrap_or(Value::Null))
}

/// Creates an empty repository.
pub fn create(client: &mut Client, name: &str, default_branch: &str) -> Result<Remote> {
    let body = serde_json::json!({ "name": name, "default_branch": default_branch }).to_string();
    remote(name, &rest(client, "POST", REPOS, Some(&body), 201)?)
}

/// Forks `base` to `name`.
pub fn fork(client: &mut Client, base: &str, name: &str) -> Result<Remote> {
    let body = serde_json::json!({ "name": name }).to_string();
    remote(name, &rest(client, "POST", &format!("{REPOS}/{base}/fork"), Some(&body), 201)?)
}

/// Looks one repository up by name; answers the bytes of the answer.
pub fn look_up(client: &mut Client, name: &str) -> Result<u64> {
    client
        .send("GET", &format!("{REPOS}/{name}"), API_TOKEN, "", &Payload::None)?
        .expect_status(200)?
        .discard()
}

/// Lists one page of repositories.
pub fn list(client: &mut Client, query: &str) -> Result<u64> {
    client
        .send("GET", &format!("{REPOS}?{query}"), API_TOKEN, "", &Payload::None)?
        .expect_status(200)?
        .discard()
}

/// Reads one path below a repository; answers the bytes of the answer.
pub fn read(client: &mut Client, name: &str, path: &str) -> Result<u64> {
    client
        .send("GET", &format!("{REPOS}/{name}/{path}"), API_TOKEN, "", &Payload::None)?
        .expect_status(200)?
        .discard()
}

/// One REST call below a repository; answers the `result`.
pub fn post(client: &mut Client, name: &str, path: &str, body: &str, wanted: u16) -> Result<Value> {
    rest(client, "POST", &format!("{REPOS}/{name}/{path}"), Some(body), wanted)
}

fn remote(name: &str, result: &Value) -> Result<Remote> {
    let text =
        |key: &str| result.get(key).and_then(Value::as_str).ok_or_else(|| format!("the answer has no {key}"));
    let url = text("remote")?;
    // The public url may name another host; the path is what counts on loopback.
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest.split_at(at).1));
    let path = path.ok_or_else(|| format!("not a remote: {url}"))?.to_owned();
    Ok(Remote { name: name.to_owned(), path, token: text("token")?.to_owned() })
}

/// Sends one protocol v2 request; the answer's body is the caller's to read.
pub fn upload_pack<'a>(client: &'a mut Client, remote: &Remote, body: &[u8]) -> Result<Response<'a>> {
    let path = format!("{}/git-upload-pack", remote.path);
    client
        .send("POST", &path, &remote.token, "Git-Protocol: version=2\r\n", &Payload::Bytes(FETCH, body))?
        .expect_status(200)
}

/// Pushes commands and pack in one request and judges the report; answers the report's length.
pub fn push(client: &mut Client, remote: &Remote, payload: &Payload<'_>) -> Result<u64> {
    let path = format!("{}/git-receive-pack", remote.path);
    let report = client.send("POST", &path, &remote.token, "", payload)?.expect_status(200)?.body()?;
    check_report(&report)?;
    Ok(report.len() as u64)
}

/// A push body that lies in a file.
pub fn push_file(path: &Path) -> Payload<'_> {
    Payload::File(PUSH, path)
}

/// A push body in memory.
pub fn push_bytes(body: &[u8]) -> Payload<'_> {
    Payload::Bytes(PUSH, body)
}

/// The head of a push of `bytes` bytes, to be sent by hand.
pub fn push_head(remote: &Remote, bytes: usize) -> String {
    format!(
        "POST {}/git-receive-pack HTTP/1.1\r\nHost: cairn\r\nAuthorization: Bearer {}\r\n\
         Content-Type: {PUSH}\r\nContent-Length: {bytes}\r\n\r\n",
        remote.path, remote.token
    )
}

/// A number out of the server's metrics.
pub fn gauge(server: &Server, name: &str) -> Result<u64> {
    let mut client = server.client();
    let answer = client.send("GET", "/metrics", API_TOKEN, "", &Payload::None)?.expect_status(200)?.body()?;
    let text = String::from_utf8_lossy(&answer);
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    found.ok_or_else(|| format!("no {name} in the metrics").into())
}
