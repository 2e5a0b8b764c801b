//! A server in process, on real SQLite in a temporary folder.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::pack::{IndexOptions, LinksOnly, NothingKnown, PackWriter, scan};
use cairn_server::app::App;
use cairn_server::boot;
use cairn_server::clock::Clock;
use cairn_server::config::{Config, ImportConfig};
use cairn_server::edge::Edge;
use cairn_server::listen::{self, Door};
use cairn_server::store::repo::{EntryKind, Expected, NewEntry, RefUpdate, Repo};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower_service::Service;

pub const API_TOKEN: &str = "api-token-of-the-tests";
pub const BASE: &str = "/client/v4/accounts/local/artifacts";

pub struct Server {
    pub app: App,
    pub edge: Edge,
    pub now: Arc<AtomicI64>,
    pub folder: TempDir,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn result(&self) -> &Value {
        &self.body["result"]
    }

    pub fn text(&self, field: &str) -> String {
        self.body["result"][field]
            .as_str()
            .unwrap_or_else(|| panic!("no text {field} in {}", self.body))
            .to_owned()
    }

    /// Status, code and pointer of an error.
    pub fn error(&self) -> (u16, u64, &str) {
        let error = &self.body["errors"][0];
        (self.status, error["code"].as_u64().unwrap_or(0), error["source"]["pointer"].as_str().unwrap_or(""))
    }
}

fn app(data: &Path, now: &Arc<AtomicI64>, imports: ImportConfig) -> App {
    let config = Config {
        data: data.to_owned(),
        account: "local".into(),
        public_url: "http://cairn.test".into(),
        imports,
        ..Config::default()
    };
    boot::open_at(config, API_TOKEN, Clock::Manual(Arc::clone(now))).expect("the folder opens")
}

impl Server {
    pub fn new() -> Self {
        Self::on(tempfile::tempdir().expect("a folder"))
    }

    pub fn on(folder: TempDir) -> Self {
        Self::importing(folder, ImportConfig::default())
    }

    pub fn importing(folder: TempDir, imports: ImportConfig) -> Self {
        let now = Arc::new(AtomicI64::new(1_700_000_000_000));
        let app = app(folder.path(), &now, imports);
        Self { edge: Edge::new(app.clone()), app, now, folder }
    }

    /// Appends `count` entries to a repository's log, each with a blob and a tag that names it.
    pub async fn append(&self, namespace: &str, name: &str, count: u64) {
        let repo = self.repository(namespace, name).await;
        for _ in 0..count {
            let seq = repo.snapshot(None).expect("a snapshot").seq();
            let mut writer = PackWriter::new(repo.algo());
            let blob = writer.add(Kind::Blob, format!("{name} {seq}").as_bytes()).expect("no collision");
            let bytes = writer.finish().expect("no collision");
            append_pack(&repo, bytes, &format!("refs/tags/{name}-{seq}"), blob);
        }
    }

    /// The log of a repository.
    pub async fn repository(&self, namespace: &str, name: &str) -> Repo {
        let row = self.app.catalog.resolve(namespace, name).await.expect("an answer").expect("a repository");
        self.app.files.repo(row.object_format, &row.pins).expect("a repository")
    }

    /// Starts again on the same folder, with other settings.
    pub fn again(self, change: impl FnOnce(Config) -> Config) -> Self {
        let Self { app, edge, folder, now } = self;
        let config = change(app.config.clone());
        drop((app, edge));
        let app =
            boot::open_at(config, API_TOKEN, Clock::Manual(Arc::clone(&now))).expect("the folder opens");
        Self { edge: Edge::new(app.clone()), app, now, folder }
    }

    pub fn restart(self) -> Self {
        let Self { app, edge, folder, .. } = self;
        drop((app, edge));
        Self::on(folder)
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.edge.clone().call(request).await.expect("edges do not fail");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        if let Some(length) = parts.headers.get("content-length") {
            assert_eq!(
                length.to_str().ok(),
                Some(bytes.len().to_string().as_str()),
                "hyper refuses a wrong length"
            );
        }
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// `path` is under the account's base unless it names a whole one.
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let whole = path.starts_with("/client") || path.starts_with("/v1") || path.starts_with("/healthz");
        let path = if whole { path.to_owned() } else { format!("{BASE}{path}") };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {API_TOKEN}"));
        self.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, body).await
    }

    /// Makes a repository and returns its token.
    pub async fn repo(&self, namespace: &str, name: &str) -> String {
        let made =
            self.post(&format!("/namespaces/{namespace}/repos"), &format!("{{\"name\":\"{name}\"}}")).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.text("token")
    }

    /// On an empty folder, with other settings than the usual ones.
    pub fn with(change: impl FnOnce(Config) -> Config) -> Self {
        Self::with_on(tempfile::tempdir().expect("a folder"), change)
    }

    /// The same on a folder of the caller's.
    pub fn with_on(folder: TempDir, change: impl FnOnce(Config) -> Config) -> Self {
        let now = Arc::new(AtomicI64::new(1_700_000_000_000));
        let config = Config {
            data: folder.path().to_owned(),
            account: "local".into(),
            public_url: "http://cairn.test".into(),
            ..Config::default()
        };
        let app = boot::open_at(change(config), API_TOKEN, Clock::Manual(Arc::clone(&now)));
        let app = app.expect("the folder opens");
        Self { edge: Edge::new(app.clone()), app, now, folder }
    }
}

/// Appends an entry with a pack, past all requests, that makes a new ref stand at `tip`.
pub fn append_pack(repo: &Repo, bytes: Vec<u8>, name: &str, tip: ObjectId) {
    let options = IndexOptions {
        algo: tip.algo(),
        cache_bytes: 1 << 20,
        object_bytes_max: 1 << 20,
        objects_max: u32::MAX,
        fsck: false,
    };
    let scanned = scan(&bytes, &options, &mut |_, _| {}).expect("a pack");
    let resolver = scanned.resolver(&bytes, &NothingKnown, &LinksOnly).expect("a pack");
    resolver.work().expect("resolves");
    let staged = repo.stage(&resolver.finish().expect("a pack"), &bytes, true).expect("staged");
    let (name, expected) = (name.as_bytes().to_vec(), Expected::Absent);
    let entry = NewEntry {
        kind: EntryKind::Push,
        actor: "tests".into(),
        time_ms: 0,
        nonce: [0; 16],
        staged: Some(staged),
        updates: vec![RefUpdate { name, expected, new: Some(tip), peeled: None }],
        atomic: false,
    };
    let before = repo.snapshot(None).expect("a snapshot").seq();
    assert_eq!(repo.commit_entry(entry).expect("committed").seq, Some(before + 1));
}

impl Server {
    /// Sends a body of any kind; `path` is under the account's base.
    pub async fn send_body(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{BASE}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("authorization", format!("Bearer {API_TOKEN}"));
        self.send(request.body(body).expect("a request")).await
    }

    /// A page that is no JSON.
    pub async fn page(&self, path: &str) -> String {
        let request = Request::builder().uri(path).header("authorization", format!("Bearer {API_TOKEN}"));
        let request = request.body(Body::empty()).expect("a request");
        let response = self.edge.clone().call(request).await.expect("edges do not fail");
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Listens on loopback, for stock git; answers the origin.
    pub async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let door = Door { listener, metrics: self.app.metrics.clone(), tls: None };
        tokio::spawn(listen::serve(door, self.edge.clone(), std::future::pending()));
        origin
    }
}

/// Stock git that sees nothing of the machine but `PATH`: no user or system settings, fixed people and dates, no upkeep.
pub fn stock_git(dir: &Path, (name, email): (&str, &str), date: &str) -> Command {
    let mut git = Command::new("git");
    git.current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    git.env("LC_ALL", "C").env("TZ", "UTC");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), name).env(format!("GIT_{who}_EMAIL"), email);
        git.env(format!("GIT_{who}_DATE"), date);
    }
    git.args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.fsync=none"])
        .stdin(Stdio::null());
    git
}

/// Stock git with an environment of its own. Answers what it printed; panics where it fails.
pub async fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = stock_git(dir, ("A", "a@x"), "1700000000 +0000");
    command.args(args);
    let said = format!("git {args:?}");
    let out =
        tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("git runs");
    assert!(out.status.success(), "{said}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}

impl Server {
    /// On a disk of the caller's, which stands for `folder`; what waits in `tmp` is in the real one.
    pub fn over(
        disk: Arc<dyn cairn_server::store::disk::Disk>,
        folder: TempDir,
        now: &Arc<AtomicI64>,
    ) -> Result<Self, boot::BootError> {
        Self::over_keeping(disk, folder, now, Config::default().keep_unreachable_ms)
    }

    /// The same that keeps what no ref names for so long.
    pub fn over_keeping(
        disk: Arc<dyn cairn_server::store::disk::Disk>,
        folder: TempDir,
        now: &Arc<AtomicI64>,
        keep_unreachable_ms: Option<u64>,
    ) -> Result<Self, boot::BootError> {
        let config = Config {
            keep_unreachable_ms,
            data: folder.path().to_owned(),
            account: "local".into(),
            public_url: "http://cairn.test".into(),
            ..Config::default()
        };
        let app = boot::open_on(disk, config, API_TOKEN, Clock::Manual(Arc::clone(now)))?;
        Ok(Self { edge: Edge::new(app.clone()), app, now: Arc::clone(now), folder })
    }
}

impl Server {
    /// Looks after the file of a repository, whatever is due.
    pub async fn maintain(&self, namespace: &str, name: &str) -> Answer {
        self.post(&format!("/namespaces/{namespace}/repos/{name}/maintenance"), "{}").await
    }

    /// The same, importing.
    pub fn importing_over(
        disk: Arc<dyn cairn_server::store::disk::Disk>,
        folder: TempDir,
        imports: ImportConfig,
    ) -> Result<Self, boot::BootError> {
        let now = Arc::new(AtomicI64::new(1_700_000_000_000));
        let config = Config {
            data: folder.path().to_owned(),
            account: "local".into(),
            public_url: "http://cairn.test".into(),
            imports,
            ..Config::default()
        };
        let app = boot::open_on(disk, config, API_TOKEN, Clock::Manual(Arc::clone(&now)))?;
        Ok(Self { edge: Edge::new(app.clone()), app, now, folder })
    }
}
