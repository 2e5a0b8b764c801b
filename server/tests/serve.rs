//! The real binary: first line, token file, lock, command line beside it, signals, restart.

#[path = "support/process.rs"]
mod process;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use process::{address, serving};
use serde_json::Value;

struct Running {
    child: Child,
    address: String,
    first: Value,
}

fn cairn(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.env_clear().env("CAIRN_DATA", data);
    command
}

fn start(data: &Path) -> Running {
    let mut command = cairn(data);
    let (child, first) = serving(command.args(["serve", "--listen", "127.0.0.1:0"]).stderr(Stdio::null()));
    Running { child, address: address(&first), first }
}

impl Running {
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    fn stop(mut self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill runs").success());
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0), "{signal}");
    }
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_server_runs_restarts_and_shares_its_folder_with_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = start(&data);
    assert_eq!(server.first["account"], "local");
    let token_file = data.join("api-token");
    assert_eq!(std::fs::metadata(&token_file).expect("kept").permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&token_file).expect("a token");
    assert_eq!(token.trim().len(), 64);

    let second = cairn(&data).args(["serve", "--listen", "127.0.0.1:0"]).output().expect("it runs");
    assert!(!second.status.success(), "one server a folder");

    let made = json(&cairn(&data).args(["repo", "create", "team/x", "--json"]).output().expect("it runs"));
    let remote = made["remote"].as_str().expect("a remote");
    assert_eq!(remote, format!("http://{}/git/team/x.git", server.address), "the server's URL is known");
    json(&cairn(&data).args(["repo", "fork", "team/x", "team/y", "--json"]).output().expect("it runs"));
    json(
        &cairn(&data).args(["token", "issue", "team/y", "--ttl", "60", "--json"]).output().expect("it runs"),
    );
    json(&cairn(&data).args(["repo", "delete", "team/x", "--json"]).output().expect("it runs"));
    assert!(!cairn(&data).args(["repo", "get", "team/x"]).output().expect("it runs").status.success());
    let report = json(&cairn(&data).args(["fsck", "--json"]).output().expect("it runs"));
    assert_eq!(report["repo_count"], 1);

    let request = format!(
        "GET /v1/api/namespaces/team/repos/y HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Key: {}\r\n\r\n",
        token.trim()
    );
    let before = server.ask(&request);
    assert!(before.starts_with("HTTP/1.1 200 ") && before.contains("artifacts:team/x"), "{before}");
    let missing = server.ask("GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(missing.starts_with("HTTP/1.1 404 ") && missing.contains("10200"), "{missing}");
    server.stop("-TERM");

    let server = start(&data);
    assert!(server.ask(&request).starts_with("HTTP/1.1 200 "), "the token and the fork are still there");
    server.stop("-INT");
}
