//! Histories: random work against the real server in process, on a disk that fails; then a crash, and a judgement of what
//! is left against what was acknowledged.
#![allow(dead_code, reason = "each test binary uses its own part")]

#[path = "faulty.rs"]
mod faulty;
#[path = "server.rs"]
mod server;
#[path = "history/truth.rs"]
mod truth;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use cairn_faults::{Disk, Fault, Loss, Random};
use cairn_server::store::{maintain, repo::fsck};
pub use faulty::Faulty;
use serde_json::{Value, json};
pub use server::{Answer, Server};
pub use truth::{Repo, Tip, Truth};

const REPOS: &str = "/namespaces/t/repos";
/// Bytes of a file whose pack is staged on the disk, not in memory.
const LARGE_BYTES: usize = 1_500_000;
/// Files of a commit that almost fills a pack whose ids are rows: rolled with a few others it gets an index of its own.
const WIDE_FILES: usize = 990;
/// Branches of a repository.
const BRANCHES: u64 = 4;

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create,
    Commit,
    LargeCommit,
    WideCommit,
    KeyedCommit,
    SetRef,
    DeleteRef,
    Fork,
    ForkAt,
    DeleteRepo,
    Maintain,
}

/// A server's life after life on one disk, and what it acknowledged.
pub struct History {
    pub server: Server,
    pub disk: Disk,
    pub random: Random,
    pub truth: Truth,
    made: u64,
    now: Arc<AtomicI64>,
    keep_ms: Option<u64>,
}

fn open(
    disk: &Disk,
    folder: tempfile::TempDir,
    now: &Arc<AtomicI64>,
    keep_ms: Option<u64>,
) -> Result<Server, String> {
    let server = Server::over_keeping(Arc::new(Faulty(disk.clone())), folder, now, keep_ms);
    server.map_err(|error| error.to_string())
}

impl History {
    pub fn new(seed: u64) -> Self {
        Self::keeping(seed, cairn_server::config::Config::default().keep_unreachable_ms)
    }

    /// One in which what no ref names is dropped after so long.
    pub fn keeping(seed: u64, keep_ms: Option<u64>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (disk, now) = (Disk::mount(folder.path()), Arc::new(AtomicI64::new(1_700_000_000_000)));
        let server = open(&disk, folder, &now, keep_ms).expect("a healthy disk");
        Self { server, disk, random: Random::new(seed), truth: Truth::default(), made: 0, now, keep_ms }
    }

    /// Without a server yet: its first start meets these faults.
    pub fn unborn(seed: u64, faults: Vec<Fault>) -> Self {
        let mut history = Self::new(seed);
        let folder = tempfile::tempdir().expect("a folder");
        history.disk.unmount();
        history.disk = Disk::mount(folder.path());
        history.disk.harm(faults);
        // Where it does not open, what is asked of the server before it hits a disk that is gone.
        if let Ok(server) = open(&history.disk, folder, &history.now, history.keep_ms) {
            history.server = server;
        }
        history
    }

    /// An operation that the truth allows.
    pub fn pick(&mut self) -> Op {
        if self.truth.usable().count() == 0 {
            return Op::Create;
        }
        match self.random.below(24) {
            0..2 => Op::Create,
            2..11 => Op::Commit,
            11 => Op::LargeCommit,
            12..15 => Op::KeyedCommit,
            15..18 => Op::SetRef,
            18..20 => Op::DeleteRef,
            20..22 => Op::Fork,
            22 => Op::ForkAt,
            _ => Op::DeleteRepo,
        }
    }

    /// Does it; answers whether it was acknowledged or refused for a good reason, and not failed.
    pub async fn act(&mut self, op: Op) -> bool {
        self.now.fetch_add(1_000, Ordering::Relaxed);
        self.made += 1;
        let at = self.random.number() as usize;
        let names: Vec<String> = self.truth.usable().cloned().collect();
        let name = names.get(at % names.len().max(1)).cloned().unwrap_or_default();
        match op {
            Op::Create => self.create().await,
            Op::Commit => self.commit(&name, (40, 0), false).await,
            Op::LargeCommit => self.commit(&name, (LARGE_BYTES, 0), false).await,
            Op::WideCommit => self.commit(&name, (40, WIDE_FILES), false).await,
            Op::KeyedCommit => self.commit(&name, (40, 0), true).await,
            Op::SetRef => self.set_ref(&name).await,
            Op::DeleteRef => self.delete_ref(&name).await,
            Op::Fork => self.fork(&name, None).await,
            Op::ForkAt => {
                let last = self.last_seq(&name).await;
                let Some(last) = last else { return false };
                let seq = self.random.below(last + 1);
                self.fork(&name, Some(seq)).await
            }
            Op::DeleteRepo => self.delete(&name).await,
            Op::Maintain => self.server.maintain("t", &name).await.status < 500,
        }
    }

    async fn create(&mut self) -> bool {
        let name = format!("r{}", self.made);
        let made = self.server.post(REPOS, &json!({ "name": name }).to_string()).await;
        self.truth.made(&name, Repo::default(), verdict(&made));
        made.status < 500
    }

    /// A commit of a file of so many bytes, and of so many small ones.
    async fn commit(&mut self, name: &str, (bytes, more): (usize, usize), keyed: bool) -> bool {
        let branch = format!("b{}", self.random.below(BRANCHES));
        let full = format!("refs/heads/{branch}");
        let message = format!("m{}", self.made);
        let content = self.content(bytes);
        let mut body = json!({ "message": message, "branch": branch,
            "changes": [{ "path": format!("f{}", self.random.below(3)), "content": content }] });
        if let Some(changes) = body["changes"].as_array_mut() {
            let file = |n: usize| json!({ "path": format!("w{n}"), "content": format!("{n} of {message}") });
            changes.extend((0..more).map(file));
        }
        let now = self.truth.repos[name].only(&full);
        let follows = match &now {
            // Where it is not known what is there, whatever is is followed.
            None => None,
            Some(Tip::At(id)) => {
                body["expected_head"] = json!(id);
                Some(Some(id.clone()))
            }
            Some(_) => {
                body["expected_head"] = Value::Null;
                Some(None)
            }
        };
        let path = format!("{REPOS}/{name}/commits");
        let key = format!("k{}", self.made);
        let headers: &[(&str, &str)] = if keyed { &[("idempotency-key", &key)] } else { &[] };
        let text = body.to_string();
        let harmed = self.disk.harmed();
        let made = self.server.send_body("POST", &path, headers, Body::from(text.clone())).await;
        // An answer that could not be kept is given all the same.
        let is_kept = keyed && self.disk.harmed() == harmed;
        let file = body["changes"][0]["path"].as_str().expect("a path").to_owned();
        let tip = match verdict(&made) {
            Some(true) => Tip::At(made.text("hash")),
            _ => Tip::Commit { message, parent: follows },
        };
        if let Tip::At(id) = &tip {
            self.truth.files.insert(id.clone(), (file, content));
            if is_kept {
                self.truth.keyed.push((key, path, text, made.body.clone()));
            }
        }
        self.moved(name, &full, tip, &made).await;
        made.status < 500
    }

    /// Moves a ref to any commit that the repository has, forward or not.
    async fn set_ref(&mut self, name: &str) -> bool {
        let tips = self.truth.repos[name].sure_ids();
        if tips.is_empty() {
            return true;
        }
        let id = tips[self.random.number() as usize % tips.len()].clone();
        let full = format!("refs/heads/b{}", self.random.below(BRANCHES));
        let path = format!("{REPOS}/{name}/{full}");
        let done = self.server.ask("PUT", &path, &json!({ "oid": id, "force": true }).to_string()).await;
        self.moved(name, &full, Tip::At(id), &done).await;
        done.status < 500
    }

    async fn delete_ref(&mut self, name: &str) -> bool {
        let full = format!("refs/heads/b{}", self.random.below(BRANCHES));
        let mut done = self.server.ask("DELETE", &format!("{REPOS}/{name}/{full}"), "").await;
        if done.status == 404 {
            // As good as done: it must stay so.
            done.status = 204;
        }
        self.moved(name, &full, Tip::Absent, &done).await;
        done.status < 500
    }

    async fn fork(&mut self, base: &str, at: Option<u64>) -> bool {
        let name = format!("r{}", self.made);
        let mut body = json!({ "name": name });
        if let Some(at) = at {
            body["at"] = json!(at);
        }
        let query = at.map(|at| format!("?at={at}")).unwrap_or_default();
        let Some(refs) = self.refs(base, &query).await else { return false };
        let made = self.server.post(&format!("{REPOS}/{base}/fork"), &body.to_string()).await;
        self.truth.made(&name, Repo::of(refs), verdict(&made));
        made.status < 500
    }

    async fn delete(&mut self, name: &str) -> bool {
        let done = self.server.ask("DELETE", &format!("{REPOS}/{name}"), "").await;
        self.truth.deleted(name, verdict(&done));
        done.status < 500
    }

    /// Notes what became of one ref; what was in doubt about the others is settled with it, whether it wrote an entry or
    /// found nothing to do.
    async fn moved(&mut self, name: &str, full: &str, tip: Tip, answer: &Answer) {
        match verdict(answer) {
            Some(true) => {
                let repo = self.truth.repos.get_mut(name).expect("a known one");
                repo.set(full, tip);
                if repo.is_doubtful() {
                    self.settle(name, "after an answer").await;
                }
            }
            Some(false) => {}
            None => self.truth.repos.get_mut(name).expect("a known one").doubt(full, tip),
        }
    }

    fn content(&mut self, bytes: usize) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let random = &mut self.random;
        (0..bytes).map(|_| char::from(LETTERS[random.below(64) as usize])).collect()
    }

    async fn last_seq(&self, name: &str) -> Option<u64> {
        let row = self.server.app.catalog.resolve("t", name).await.ok()??;
        let repo = self.server.app.files.repo(row.object_format, &row.pins).ok()?;
        repo.snapshot(None).ok().map(|snapshot| snapshot.seq())
    }

    /// The refs that a repository shows; `None` where the disk failed.
    async fn refs(&self, name: &str, query: &str) -> Option<Vec<(String, String)>> {
        let answer = self.server.get(&format!("{REPOS}/{name}/refs{query}")).await;
        // A moment of which something was dropped is refused.
        if answer.status >= 500 || answer.status == 410 && self.keep_ms == Some(0) {
            return None;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        let refs = answer.result().as_array().expect("a list");
        let text = |row: &Value, field: &str| row[field].as_str().expect("a text").to_owned();
        let refs = refs.iter().map(|row| (text(row, "name"), text(row, "hash")));
        Some(refs.filter(|(name, _)| name != "HEAD").collect())
    }

    /// Compares what a repository shows with the truth, and takes what it shows for the truth where that leaves a choice.
    async fn settle(&mut self, name: &str, when: &str) {
        let Some(shown) = self.refs(name, "").await else { return };
        let mut facts = Vec::new();
        for (full, id) in &shown {
            let answer = self.server.get(&format!("{REPOS}/{name}/commit/{id}")).await;
            if answer.status >= 500 {
                return;
            }
            assert_eq!(answer.status, 200, "{name}: {id}: {}", answer.body);
            let (message, parents) = (&answer.body["result"]["message"], &answer.body["result"]["parents"]);
            let parent = parents[0].as_str().map(str::to_owned);
            facts.push((full.clone(), id.clone(), message.as_str().unwrap_or("").to_owned(), parent));
        }
        let repo = self.truth.repos.get_mut(name).expect("a known one");
        if let Err(why) = repo.settle(&facts) {
            panic!("{when}: {name}: {why}\nshown {shown:?}");
        }
    }

    /// Crashes and starts again.
    pub fn crash(&mut self, loss: Loss) {
        let folder = tempfile::tempdir().expect("a folder");
        self.disk.die();
        self.disk = self.disk.crash(loss, &mut self.random, folder.path());
        let server = open(&self.disk, folder, &self.now, self.keep_ms);
        self.server = server.unwrap_or_else(|why| panic!("opens after a crash: {why}"));
    }

    /// Crashes and starts again on a disk that fails from the first call; answers whether the server opened.
    pub fn crash_into(&mut self, loss: Loss, faults: Vec<Fault>) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        self.disk.die();
        self.disk = self.disk.crash(loss, &mut self.random, folder.path());
        self.disk.harm(faults);
        match open(&self.disk, folder, &self.now, self.keep_ms) {
            Ok(server) => {
                self.server = server;
                true
            }
            Err(_) => false,
        }
    }

    /// Judges what is left.
    pub async fn judge(&mut self) {
        let names: Vec<String> = self.truth.repos.keys().cloned().collect();
        for name in names {
            let answer = self.server.get(&format!("{REPOS}/{name}")).await;
            assert!(matches!(answer.status, 200 | 404), "{name}: {}", answer.body);
            if let Err(why) = self.truth.seen(&name, answer.status == 200) {
                panic!("{name}: {why}");
            }
            if answer.status == 200 {
                self.settle(&name, "after a crash").await;
                self.read_all(&name).await;
            }
        }
        for (key, path, body, was) in std::mem::take(&mut self.truth.keyed) {
            let headers = [("idempotency-key", key.as_str())];
            let again = self.server.send_body("POST", &path, &headers, Body::from(body)).await;
            assert_eq!(again.body, was, "{path}: the answer that was given once");
        }
        let app = &self.server.app;
        let check = |row: &cairn_server::store::catalog::RepoRow| {
            Ok(fsck::fsck(&app.files, row.object_format, &row.pins))
        };
        let report = maintain::fsck_all(&app.catalog, check).await.expect("the catalog is read");
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }

    /// Reads the file that the commit of each ref brought.
    async fn read_all(&self, name: &str) {
        for id in self.truth.repos[name].sure_ids() {
            let Some((path, content)) = self.truth.files.get(&id) else { continue };
            let repo = self.server.app.catalog.resolve("t", name).await.expect("read").expect("there");
            let view = cairn_server::ops::view::RepoView::open(
                &self.server.app,
                &repo,
                None,
                cairn_server::ops::room::Room::ALL,
            );
            let view = view.expect("a view");
            let bytes = truth::file_of(&view, &id, path);
            assert_eq!(bytes.as_deref(), Some(content.as_bytes()), "{name}: {path} of {id}");
        }
    }

    pub fn harm(&self, faults: Vec<Fault>) {
        self.disk.harm(faults);
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.disk.unmount();
    }
}

/// Acknowledged, refused, or unknown.
fn verdict(answer: &Answer) -> Option<bool> {
    match answer.status {
        200..300 => Some(true),
        400..500 => Some(false),
        _ => None,
    }
}
