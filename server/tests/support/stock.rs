//! Stock git against a server that really listens, and REST answers as bytes.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower_service::Service;

use crate::server::{API_TOKEN, BASE, Server, stock_git};

/// A server, its address, and a folder for git.
pub struct Stock {
    pub server: Server,
    pub origin: String,
    pub folder: TempDir,
}

/// An answer as it is on the wire.
pub struct Raw {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Raw {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("JSON")
    }

    /// Status, code, message and pointer of an error.
    pub fn error(&self) -> (u16, u64, String, String) {
        let body = self.json();
        let error = &body["errors"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (message, pointer) = (text(&error["message"]), text(&error["source"]["pointer"]));
        (self.status, error["code"].as_u64().unwrap_or(0), message, pointer)
    }
}

impl Stock {
    pub async fn new() -> Self {
        let server = Server::new();
        let origin = server.listen().await;
        Self { server, origin, folder: tempfile::tempdir().expect("a folder") }
    }

    /// Makes `team/name` and a local repository with it as `origin`.
    pub async fn repo(&self, name: &str, format: &str) -> Local {
        let body = format!("{{\"name\":\"{name}\",\"object_format\":\"{format}\"}}");
        let made = self.server.post("/namespaces/team/repos", &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let local = Local { path: self.folder.path().join(name) };
        std::fs::create_dir(&local.path).expect("a folder");
        local.git(&["init", "-q", "-b", "main", "--object-format", format]);
        self.connect(&local, name, &made.text("token"));
        local
    }

    pub fn connect(&self, local: &Local, name: &str, token: &str) {
        let url = format!("{}/git/team/{name}.git", self.origin);
        local.git(&["config", "--replace-all", "remote.origin.url", &url]);
        let header = format!("Authorization: Bearer {token}");
        local.git(&["config", &format!("http.{url}.extraHeader"), &header]);
    }

    /// A push from the local repository; on a thread of its own, since git waits for us.
    pub async fn push(&self, local: &Local, refs: &[&str]) {
        let (local, refs) = (local.clone(), refs.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let run = move || {
            let mut args = vec!["push", "-q", "origin"];
            args.extend(refs.iter().map(String::as_str));
            local.git(&args)
        };
        tokio::task::spawn_blocking(run).await.expect("git pushes");
    }

    /// `path` is below `/namespaces/team/repos/`.
    pub async fn get(&self, path: &str) -> Raw {
        self.ask("GET", path, &[]).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Raw {
        let uri = format!("{BASE}/namespaces/team/repos/{path}");
        let mut request =
            Request::builder().method(method).uri(uri).header("authorization", format!("Bearer {API_TOKEN}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = self.server.edge.clone().call(request).await.expect("edges do not fail");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes().to_vec();
        Raw { status: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    /// The `result` of an answer that must be 200.
    pub async fn result(&self, path: &str) -> Value {
        let raw = self.get(path).await;
        assert_eq!(raw.status, 200, "{path}: {}", String::from_utf8_lossy(&raw.bytes));
        raw.json()["result"].clone()
    }
}

/// A local repository.
#[derive(Clone)]
pub struct Local {
    pub path: PathBuf,
}

/// A command with an environment of its own: no user or system settings, fixed people and dates.
pub fn git(dir: &Path, seconds: u32) -> Command {
    let date = format!("{seconds} +0100");
    let mut command = stock_git(dir, ("A U Thor", "a@example.com"), &date);
    command.args(["-c", "core.quotePath=false"]);
    command
}

impl Local {
    /// Standard output without the last line ending.
    pub fn git(&self, args: &[&str]) -> String {
        let out = self.bytes(args);
        String::from_utf8_lossy(&out).trim_end_matches('\n').to_owned()
    }

    pub fn bytes(&self, args: &[&str]) -> Vec<u8> {
        let out = git(&self.path, 1_700_000_000).args(args).output().expect("git runs");
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    /// Commits everything at a time and answers the id.
    pub fn commit(&self, message: &str, seconds: u32) -> String {
        self.git(&["add", "-A"]);
        let out = git(&self.path, seconds)
            .args(["commit", "-q", "--allow-empty", "-m", message])
            .output()
            .expect("git runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        self.git(&["rev-parse", "HEAD"])
    }

    /// Writes an object that `git add` would not make.
    pub fn object(&self, kind: &str, bytes: &[u8]) -> String {
        let file = self.path.join(".git/object");
        std::fs::write(&file, bytes).expect("a file");
        let file = file.to_str().expect("UTF-8");
        self.git(&["hash-object", "-t", kind, "-w", "--literally", file])
    }

    pub fn lines(&self, args: &[&str]) -> Vec<String> {
        self.git(args).lines().map(str::to_owned).collect()
    }
}
