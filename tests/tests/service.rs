//! What stands around a server: a service manager, health checks, a proxy, the collector of its log.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cairn_conformance::host::cairn_binary;
use cairn_conformance::http;
use cairn_tests::Server;
use cairn_tests::small_disk::SmallDisk;
use serde_json::Value;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// A server that was started by hand; its log is a file.
struct Started {
    child: Child,
    origin: String,
    dir: TempDir,
}

impl Started {
    fn new(args: &[&str], variables: &[(&str, &Path)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(cairn_binary());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data", "data"])
            .args(args)
            .current_dir(dir.path());
        command.env_clear().env("CAIRN_LOG", "debug").envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(fs::File::create(dir.path().join("log")).unwrap()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let hello: Value = serde_json::from_str(&line).unwrap();
        Self { child, origin: hello["url"].as_str().unwrap().to_owned(), dir }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// The line of the log that tells of a request for a path.
    fn line_of(&self, path: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains("answered") && line.contains(path)) {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline, "{path} is not in {log}");
            std::thread::yield_now();
        }
    }

    fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_service_manager_is_told_of_the_start_once_requests_are_answered_and_of_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut server = Started::new(&[], &[("NOTIFY_SOCKET", &path)]);
    let mut told = [0; 64];
    let mut next = || {
        let count = manager.recv(&mut told).unwrap();
        String::from_utf8_lossy(&told[..count]).trim().to_owned()
    };
    assert_eq!(next(), "READY=1");
    assert_eq!(http::request("GET", &format!("{}/readyz", server.origin), &[], b"").unwrap().status, 200);
    server.terminate();
    assert_eq!(next(), "STOPPING=1");
}

#[test]
fn only_a_trusted_proxy_names_the_client_and_the_log_has_no_colours_in_a_file() {
    for (trusted, want) in [("127.0.0.1", "192.0.2.7"), ("192.0.2.1", "127.0.0.1")] {
        let server = Started::new(&["--trusted-proxy", trusted], &[]);
        let forwarded = [("X-Forwarded-For", "10.9.8.7, 192.0.2.7")];
        let url = format!("{}/healthz", server.origin);
        assert_eq!(http::request("GET", &url, &forwarded, b"").unwrap().status, 200);
        let line = server.line_of("/healthz");
        assert!(line.contains(&format!("peer=\"{want}\"")), "trusted {trusted}: {line}");
        assert!(!server.log().contains('\u{1b}'), "{line}");
    }
}

/// `cairn ready` as a health check within the same container asks.
fn ready(server: &Server) -> Output {
    let listen: SocketAddr = server.origin().strip_prefix("http://").unwrap().parse().unwrap();
    let mut command = Command::new(cairn_binary());
    command.arg("ready").env_clear().env("CAIRN_LISTEN", listen.to_string()).output().unwrap()
}

#[test]
fn a_disk_that_takes_no_files_makes_the_server_unready_and_leaves_it_healthy() {
    let data = tempfile::tempdir().unwrap();
    let Some(small) = SmallDisk::mount(data.path(), 8) else {
        println!("left out: this process may not mount a small disk");
        return;
    };
    let mut server = Server::start_on(data);
    let ask = |server: &Server, path: &str| {
        http::request("GET", &format!("{}{path}", server.origin()), &[], b"").unwrap()
    };
    assert_eq!(ask(&server, "/readyz").status, 200);
    assert!(ready(&server).status.success());
    let ballast = server.data().join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[1; 4_096]).is_ok() {}
    let answer = ask(&server, "/readyz");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["errors"][0]["code"]), (503, &Value::from(10404)), "{body}");
    assert_eq!(ask(&server, "/healthz").status, 200);
    let out = ready(&server);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(1) && said.contains("10404"), "{said}");
    drop(file);
    fs::remove_file(&ballast).unwrap();
    assert_eq!(ask(&server, "/readyz").status, 200);
    assert!(ready(&server).status.success());
    server.terminate();
    assert!(server.wait().success());
    drop(small);
}
