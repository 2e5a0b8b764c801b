//! Imports through REST from stock git behind TLS: what is refused and how, what is left of a failure, who waits for whom.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remote.rs"]
mod remote;
#[path = "support/server.rs"]
mod server;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use cairn_conformance::front::{Asked, Authority, Deed, Front};
use cairn_conformance::host::{Format, Host};
use cairn_server::jobs::import::resume;
use cairn_server::limits::{IMPORT_TRIES_MAX, IMPORTS_MAX, IMPORTS_WAITING_MAX};
use cairn_server::names::Name;
use cairn_server::store::catalog::{ImportRow, NewRepo};
use remote::{PATH, Remote};
use serde_json::{Value, json};
use server::{Answer, Server};

struct World {
    remote: Remote,
    server: Server,
}

impl World {
    fn new() -> Self {
        Self::with(true)
    }

    fn with(allow_private: bool) -> Self {
        let remote = Remote::new();
        let server = Server::importing(tempfile::tempdir().unwrap(), remote.imports(allow_private));
        Self { remote, server }
    }

    fn front(&self, rule: impl Fn(&Asked) -> Deed + Send + Sync + 'static) -> Front {
        self.remote.front(rule)
    }

    async fn import(&self, name: &str, body: Value) -> Answer {
        self.server.post(&format!("/namespaces/new/repos/{name}/import"), &body.to_string()).await
    }

    /// Neither a namespace, nor a repository, nor a file, nor a job.
    async fn assert_nothing_left(&self, why: &str) {
        let spaces = self.server.get("/namespaces").await;
        assert_eq!(spaces.result(), &json!([]), "{why}");
        let gone = self.server.ask("DELETE", "/namespaces/new/repos/r", "").await;
        assert_eq!(gone.status, 404, "{why}: {}", gone.body);
        let repos = self.server.folder.path().join("repos");
        assert_eq!(files_below(&repos), 0, "{why}");
        assert_eq!(self.server.app.imports.count(), 0, "{why}");
    }
}

fn files_below(dir: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let below = |path: std::path::PathBuf| if path.is_dir() { files_below(&path) } else { 1 };
    entries.map(|entry| below(entry.unwrap().path())).sum()
}

fn url(front: &Front) -> String {
    format!("{}{PATH}", front.origin())
}

fn is_pack(asked: &Asked) -> bool {
    asked.is_command("fetch")
}

#[tokio::test]
async fn what_is_wrong_with_a_wish_is_said_before_anyone_is_asked() {
    let world = World::new();
    let front = world.front(|_| Deed::Pass);
    let good = url(&front);
    let http = good.replace("https://", "http://");
    let rows = [
        ("r", json!({ "url": http }), (400, 10100, "/url")),
        ("r", json!({}), (400, 10100, "/url")),
        ("r", json!({ "url": "git@host:r.git" }), (400, 10100, "/url")),
        ("r", json!({ "url": "file:///etc" }), (400, 10100, "/url")),
        ("r", json!({ "url": 7 }), (400, 10100, "/url")),
        ("r", json!({ "url": "https://" }), (400, 10104, "/url")),
        ("r", json!({ "url": "https://h/r?x=y" }), (400, 10104, "/url")),
        ("r", json!({ "url": "https://u:p@h:port/r" }), (400, 10104, "/url")),
        ("-r", json!({ "url": good }), (400, 10101, "/name")),
        ("r.git", json!({ "url": good }), (400, 10101, "/name")),
        ("r", json!({ "url": good, "branch": "a..b" }), (400, 10100, "/branch")),
        ("r", json!({ "url": good, "depth": 0 }), (400, 10100, "/depth")),
        ("r", json!({ "url": good, "depth": -1 }), (400, 10100, "/depth")),
        ("r", json!({ "url": good, "depth": "1" }), (400, 10100, "/depth")),
        ("r", json!({ "url": good, "depth": 2147483647u32 }), (400, 10100, "/depth")),
        ("r", json!({ "url": good, "token": "t", "password": "p" }), (400, 10100, "/token")),
    ];
    for (name, body, want) in rows {
        let answer = world.import(name, body.clone()).await;
        assert_eq!(answer.error(), want, "{name} {body}: {}", answer.body);
        assert!(!answer.body.to_string().contains(":p@"), "{}", answer.body);
    }
    let answer = world.import("r", json!({ "url": http })).await;
    assert_eq!(answer.body["errors"][0]["message"], "Must be an HTTPS URL");
    world.server.repo("new", "Taken").await;
    let answer = world.import("taken", json!({ "url": good })).await;
    assert_eq!(answer.error(), (409, 10201, "/name"));
    assert!(front.asked().is_empty(), "{:?}", front.asked());
}

#[tokio::test]
async fn what_is_wrong_with_a_remote_is_said_at_once_and_leaves_nothing() {
    let world = World::new();
    let html = |status| Deed::Say(status, vec![("Content-Type".into(), "text/html".into())], Vec::new());
    let other = Authority::new();
    let rows = [
        ("a page", world.front(move |_| html(200)), (400, 10104, "/url")),
        ("nothing", world.front(move |_| html(404)), (400, 10104, "/url")),
        ("a login page", world.front(|_| Deed::redirect(302, "/login")), (400, 10104, "/url")),
        ("asks who we are", world.front(move |_| html(401)), (422, 10106, "/url")),
        ("forbids", world.front(move |_| html(403)), (422, 10106, "/url")),
        ("down", world.front(move |_| html(503)), (502, 10401, "/url")),
        ("breaks off", world.front(|_| Deed::Cut(30)), (502, 10401, "/url")),
        (
            "another certificate",
            Front::tls(&world.remote.stock.origin(), &other, |_| Deed::Pass),
            (502, 10401, "/url"),
        ),
        (
            "turns round",
            world.front(|asked| Deed::redirect(302, format!("/x{}", asked.target))),
            (400, 10100, "/url"),
        ),
    ];
    for (why, front, want) in &rows {
        let answer = world.import("r", json!({ "url": url(front) })).await;
        assert_eq!(answer.error(), *want, "{why}: {}", answer.body);
        world.assert_nothing_left(why).await;
    }
    let gone = world.front(|_| Deed::Pass);
    let gone_url = url(&gone);
    drop(gone);
    assert_eq!(world.import("r", json!({ "url": gone_url })).await.error(), (502, 10401, "/url"));
    let front = world.front(|_| Deed::Pass);
    let answer = world.import("r", json!({ "url": url(&front), "branch": "none" })).await;
    assert_eq!(answer.error(), (400, 10100, "/branch"));
    world.assert_nothing_left("no such branch").await;
}

#[tokio::test]
async fn addresses_of_this_network_are_refused_unless_allowed() {
    let world = World::with(false);
    let front = world.front(|_| Deed::Pass);
    for host in ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]"] {
        let url = format!("https://{host}:{}{PATH}", front.port());
        let answer = world.import("r", json!({ "url": url })).await;
        assert_eq!(answer.error(), (400, 10100, "/url"), "{host}: {}", answer.body);
    }
    assert!(front.asked().is_empty(), "nothing was sent");
    world.assert_nothing_left("private").await;
}

#[tokio::test]
async fn an_import_that_breaks_off_is_tried_again_and_given_up() {
    let world = World::new();
    let packs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&packs);
    let front = world.front(move |asked| match is_pack(asked) {
        true if seen.fetch_add(1, Ordering::SeqCst) < IMPORT_TRIES_MAX as usize + 1 => Deed::Cut(400),
        _ => Deed::Pass,
    });
    let answer = world.import("r", json!({ "url": url(&front) })).await;
    assert_eq!(answer.error(), (502, 10401, "/url"), "{}", answer.body);
    assert_eq!(packs.load(Ordering::SeqCst), IMPORT_TRIES_MAX as usize);
    world.assert_nothing_left("given up").await;
    // The next one is broken once more, and then not.
    let answer = world.import("r", json!({ "url": url(&front) })).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(packs.load(Ordering::SeqCst), IMPORT_TRIES_MAX as usize + 2);
    let repo = world.server.get("/namespaces/new/repos/r").await;
    assert_eq!((repo.status, repo.text("default_branch").as_str()), (200, "main"));
}

#[tokio::test]
async fn a_damaged_pack_leaves_nothing() {
    let world = World::new();
    // A flipped version number in the pack's header, and a flipped byte in its first entry.
    let swaps: [(&[u8], &[u8]); 2] = [(b"PACK\0\0\0\x02", b"PACK\0\0\0\x09"), (b"\x78\x01", b"\x78\x02")];
    for (from, to) in swaps {
        let front = world.front(move |asked| if is_pack(asked) { Deed::Swap(from, to) } else { Deed::Pass });
        let answer = world.import("r", json!({ "url": url(&front) })).await;
        assert_eq!((answer.status, answer.error().1), (400, 10100), "{}", answer.body);
        world.assert_nothing_left("damaged").await;
    }
}

#[tokio::test]
async fn credentials_are_used_and_kept_nowhere() {
    let world = World::new();
    let front = world.front(|asked| match asked.header("authorization") {
        // u:secret, x-access-token:secret
        Some("Basic dTpzZWNyZXQ=" | "Basic eC1hY2Nlc3MtdG9rZW46c2VjcmV0") => Deed::Pass,
        _ => Deed::Say(401, Vec::new(), Vec::new()),
    });
    let plain = url(&front);
    let in_url = plain.replace("https://", "https://u:secret@");
    let rows = [
        ("a", json!({ "url": in_url })),
        ("b", json!({ "url": plain, "username": "u", "password": "secret" })),
        ("c", json!({ "url": plain, "token": "secret" })),
        ("d", json!({ "url": plain, "token": "secret", "username": "u" })),
    ];
    for (name, body) in rows {
        let answer = world.import(name, body.clone()).await;
        assert_eq!(answer.status, 201, "{body}: {}", answer.body);
        assert!(!answer.text("token").is_empty());
        let repo = world.server.get(&format!("/namespaces/new/repos/{name}")).await;
        assert_eq!(repo.text("source"), format!("git:{plain}"));
    }
    let answer = world.import("e", json!({ "url": plain, "password": "wrong" })).await;
    assert_eq!(answer.error(), (422, 10106, "/url"));
}

#[tokio::test]
async fn an_empty_remote_becomes_an_empty_repository() {
    let world = World::new();
    world.remote.stock.create("none", Format::Sha256);
    let front = world.front(|_| Deed::Pass);
    let answer = world.import("r", json!({ "url": format!("{}/git/t/none.git", front.origin()) })).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let repo = world.server.get("/namespaces/new/repos/r").await;
    assert_eq!(
        (repo.text("default_branch").as_str(), repo.text("object_format").as_str()),
        ("main", "sha256")
    );
}

/// A gate that packs wait at.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        let is_open = self.open.lock().unwrap();
        drop(self.opened.wait_while(is_open, |open| !*open).unwrap());
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn more_imports_than_allowed_wait_for_their_turn() {
    let world = World::new();
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let front = world.front(move |asked| {
        if is_pack(asked) {
            at.pass();
        }
        Deed::Pass
    });
    let world = Arc::new(world);
    let names: Vec<String> = (0..IMPORTS_MAX + 2).map(|n| format!("r{n}")).collect();
    let mut begun = tokio::task::JoinSet::new();
    for name in &names {
        let (world, name, url) = (Arc::clone(&world), name.clone(), url(&front));
        begun.spawn(async move { world.import(&name, json!({ "url": url })).await });
    }
    until("as many as may fetch", || gate.inside.load(Ordering::SeqCst) == IMPORTS_MAX).await;
    until("the others wait", || world.server.app.imports.count() == names.len()).await;
    let list = world.server.get("/namespaces/new/repos").await;
    let rows = list.result().as_array().unwrap();
    assert!(
        rows.len() == names.len() && rows.iter().all(|row| row["status"] == "importing"),
        "{}",
        list.body
    );
    gate.open();
    for answer in begun.join_all().await {
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    until("all are done", || world.server.app.imports.count() == 0).await;
    assert_eq!(gate.most.load(Ordering::SeqCst), IMPORTS_MAX);
    let list = world.server.get("/namespaces/new/repos").await;
    let rows = list.result().as_array().unwrap();
    assert!(rows.len() == names.len() && rows.iter().all(|row| row["status"] == "ready"), "{}", list.body);
}

#[tokio::test]
async fn deleting_cancels_and_frees_the_name() {
    let world = World::new();
    let front = world.front(|asked| if is_pack(asked) { Deed::Stall(500) } else { Deed::Pass });
    let (begun, ()) = tokio::join!(world.import("r", json!({ "url": url(&front) })), async {
        until("the pack is asked for", || front.asked().iter().any(is_pack)).await;
        let answer = world.server.ask("DELETE", "/namespaces/new/repos/r", "").await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    });
    assert_eq!(begun.error().1, 10200, "it was deleted under the request's hands: {}", begun.body);
    until("the job ends", || world.server.app.imports.count() == 0).await;
    assert_eq!(files_below(&world.server.folder.path().join("repos")), 0);
    world.server.repo("new", "r").await;
}

#[tokio::test]
async fn an_entry_without_its_last_word_is_done_at_the_next_start() {
    let server = Server::new();
    let (namespace, name) = (Name::new("n").unwrap(), Name::new("r").unwrap());
    let new = NewRepo {
        namespace,
        name,
        description: None,
        default_branch: "main".into(),
        object_format: cairn_protocol::object::HashAlgo::Sha1,
        read_only: false,
        now_ms: 1,
        token: None,
    };
    // Private, and the remote is not there: neither is needed any more.
    let url = "https://127.0.0.1:1/r".to_owned();
    let import = ImportRow { url, branch: None, depth: None, is_private: true };
    server.app.catalog.create_import(new, import).await.unwrap();
    server.append("n", "r", 1).await;
    let server = server.restart();
    assert_eq!(server.get("/namespaces/n/repos/r").await.error().1, 10302);
    resume(&server.app).await.unwrap();
    until("the import ends", || server.app.imports.count() == 0).await;
    assert_eq!(server.get("/namespaces/n/repos/r").await.status, 200);
}

/// Requests at once that have not asked their remote yet count as well.
#[tokio::test]
async fn so_many_imports_may_wait_and_no_more_however_they_come() {
    const MORE: usize = 20;
    let world = World::new();
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let front = world.front(move |_| {
        at.pass();
        Deed::Say(404, Vec::new(), Vec::new())
    });
    let world = Arc::new(world);
    let mut begun = tokio::task::JoinSet::new();
    for n in 0..IMPORTS_WAITING_MAX + MORE {
        let (world, url) = (Arc::clone(&world), url(&front));
        begun.spawn(async move { world.import(&format!("r{n}"), json!({ "url": url })).await });
    }
    // Nobody is answered before the gate opens but those who are too many.
    for _ in 0..MORE {
        let answer = begun.join_next().await.unwrap().unwrap();
        assert_eq!(answer.error(), (422, 10403, ""), "{}", answer.body);
        assert!(answer.body.to_string().contains(&IMPORTS_WAITING_MAX.to_string()), "{}", answer.body);
    }
    assert!(begun.try_join_next().is_none(), "the others wait");
    gate.open();
    for answer in begun.join_all().await {
        assert_eq!(answer.error().1, 10104, "{}", answer.body);
    }
    let again = world.import("r", json!({ "url": url(&front) })).await;
    assert_eq!(again.error().1, 10104, "all places are free again: {}", again.body);
}
