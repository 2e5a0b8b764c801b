//! Imports by the real server from stock git over TLS: what arrives, what clones of it hold, and what a kill leaves.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cairn_conformance::fixture::{Script, lines};
use cairn_conformance::front::{Asked, Authority, Deed, Front};
use cairn_conformance::git::Git;
use cairn_conformance::host::{Format, Host, Remote, StockHost, remote_of};
use cairn_tests::Server;
use cairn_tests::server::{assert_clones, assert_sound, cairn};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long an import may take here.
const IMPORT_SECONDS_MAX: u64 = 60;
const PATH: &str = "/git/t/r.git";

/// Stock git with one history, behind TLS.
struct World {
    stock: StockHost,
    authority: Authority,
    dir: TempDir,
    git: Git,
}

impl World {
    fn new(format: Format) -> Self {
        let stock = StockHost::start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(dir.path());
        stock.create("r", format);
        let mut script = Script::default();
        for old in ["0\n", "1\n", "2\n", "3\n"] {
            script.commit("trunk", &[], &[("old", old)]);
        }
        script
            .commit("trunk", &[], &[("README", "first\n"), ("src/a", &lines(1, 3000))])
            .commit("trunk", &[], &[("src/b", &lines(3, 50))])
            .tag("v1", "refs/heads/trunk")
            .commit("trunk", &[], &[("src/a", &lines(2, 3000))])
            .commit("side", &["refs/heads/trunk"], &[("side/one", "1\n")])
            .commit("trunk", &[], &[("README", "second\n"), ("src/c", "c\n")])
            .commit("trunk", &["refs/heads/trunk", "refs/heads/side"], &[("README", "third\n")])
            .reset("refs/tags/light", "refs/heads/side")
            .reset("refs/notes/x", "refs/heads/side");
        let world = Self { stock, authority: Authority::new(), dir, git };
        let out = world.git.feed(&world.origin_path(), &["fast-import", "--quiet"], script.bytes());
        assert!(out.ok(), "{}", out.errors());
        world.ok(&world.origin_path(), &["symbolic-ref", "HEAD", "refs/heads/trunk"]);
        world
    }

    fn origin_path(&self) -> PathBuf {
        self.stock.path("r")
    }

    fn ok(&self, dir: &Path, args: &[&str]) -> String {
        let out = self.git.run(dir, args);
        assert!(out.ok(), "git {args:?}: {}", out.errors());
        out.text()
    }

    fn front(&self, rule: impl Fn(&Asked) -> Deed + Send + Sync + 'static) -> Front {
        Front::tls(&self.stock.origin(), &self.authority, rule)
    }

    fn server(&self) -> Server {
        let ca = self.authority.write_to(self.dir.path());
        Server::start_with(&["--import-allow-private", "--import-ca-file", ca.to_str().unwrap()])
    }

    /// What a mirror clone of a repository holds: refs, all objects, where history ends.
    fn facts(&self, git: &Git, url: &str, version: u8) -> [String; 3] {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap();
        let version = format!("protocol.version={version}");
        let out = git.run(dir.path(), &["-c", &version, "clone", "--quiet", "--mirror", url, "c"]);
        assert!(out.ok(), "cloning {url}: {}", out.errors());
        let clone = dir.path().join("c");
        let out = git.run(&clone, &["fsck", "--strict", "--no-dangling"]);
        assert!(out.ok(), "git fsck: {}", out.errors());
        let objects = self.ok(&clone, &["rev-list", "--objects", "--no-object-names", "--all"]);
        let mut objects: Vec<_> = objects.lines().collect();
        objects.sort_unstable();
        let shallow = std::fs::read_to_string(clone.join("shallow")).unwrap_or_default();
        let mut shallow: Vec<_> = shallow.lines().collect();
        shallow.sort_unstable();
        // Stock git may write a commit twice.
        shallow.dedup();
        [self.ok(&clone, &["for-each-ref"]), objects.join("\n"), shallow.join("\n")]
    }
}

fn import(server: &Server, name: &str, body: &Value) -> (u16, Value) {
    server.rest("POST", &format!("/namespaces/t/repos/{name}/import"), body)
}

/// Imports, and waits where it takes longer.
fn imported(server: &Server, name: &str, body: &Value) -> Remote {
    let (status, answer) = import(server, name, body);
    assert_eq!(status, 201, "{answer}");
    assert_eq!(wait_for(server, name, 200).0, 200);
    remote_of(&answer)
}

/// Asks for the repository until the answer is `status`.
fn wait_for(server: &Server, name: &str, status: u16) -> (u16, Value) {
    let deadline = Instant::now() + Duration::from_secs(IMPORT_SECONDS_MAX);
    loop {
        let answer = server.rest("GET", &format!("/namespaces/t/repos/{name}"), &Value::Null);
        if answer.0 == status {
            return answer;
        }
        assert!(Instant::now() < deadline, "{name} becomes {status}, is {}: {}", answer.0, answer.1);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_pack(asked: &Asked) -> bool {
    asked.is_command("fetch")
}

#[test]
fn an_import_holds_all_branches_and_tags_and_the_default_branch() {
    for format in [Format::Sha1, Format::Sha256] {
        let world = World::new(format);
        let front = world.front(|_| Deed::Pass);
        let server = world.server();
        let url = format!("{}{PATH}", front.origin());
        let remote = imported(&server, "copy", &json!({ "url": url }));
        let (_, answer) = wait_for(&server, "copy", 200);
        assert_eq!(answer.pointer("/result/default_branch"), Some(&json!("trunk")));
        assert_eq!(answer.pointer("/result/object_format"), Some(&json!(format.name())));
        assert_eq!(answer.pointer("/result/source"), Some(&json!(format!("git:{url}"))));

        let mut want = world.facts(&world.git, &format!("file://{}", world.origin_path().display()), 2);
        let listed = want[0].lines().filter(|line| !line.contains("refs/notes/"));
        want[0] = listed.collect::<Vec<_>>().join("\n");
        let git = server.git(world.dir.path(), &[&remote]);
        assert_eq!(world.facts(&git, &remote.url, 2), want);
        // Pushed to like any other.
        let clone = world.dir.path().join("work");
        let out = git.run(world.dir.path(), &["clone", "--quiet", &remote.url, clone.to_str().unwrap()]);
        assert!(out.ok(), "{}", out.errors());
        world.ok(&clone, &["commit", "--quiet", "--allow-empty", "-m", "more"]);
        let out = git.run(&clone, &["push", "--quiet"]);
        assert!(out.ok(), "{}", out.errors());
        assert_sound(server.data());
    }
}

#[test]
fn one_branch_comes_alone() {
    let world = World::new(Format::Sha1);
    let front = world.front(|_| Deed::Pass);
    let server = world.server();
    let body = json!({ "url": format!("{}{PATH}", front.origin()), "branch": "side", "read_only": true });
    let remote = imported(&server, "side", &body);
    let git = server.git(world.dir.path(), &[&remote]);
    let [refs, objects, shallow] = world.facts(&git, &remote.url, 2);
    assert!(refs.ends_with("refs/heads/side") && refs.lines().count() == 1, "{refs}");
    let want = world.ok(&world.origin_path(), &["rev-list", "--objects", "--no-object-names", "side"]);
    assert_eq!(objects.lines().count(), want.lines().count());
    assert_eq!(shallow, "");
    let (_, answer) = wait_for(&server, "side", 200);
    assert_eq!(answer.pointer("/result/default_branch"), Some(&json!("side")));
    assert_eq!(answer.pointer("/result/read_only"), Some(&json!(true)));
}

/// A stock repository that is cut as an import of this depth is.
fn cut_twin(world: &World, depth: u32, name: &str) -> String {
    let twin = world.stock.path(name);
    let from = format!("file://{}", world.origin_path().display());
    let depth = format!("--depth={depth}");
    let args = ["clone", "--quiet", "--bare", "--no-single-branch", &depth, &from, twin.to_str().unwrap()];
    world.ok(world.dir.path(), &args);
    format!("{}/git/t/{name}.git", world.stock.origin())
}

#[test]
fn a_cut_import_serves_clones_as_a_cut_stock_repository_does() {
    for format in [Format::Sha1, Format::Sha256] {
        let world = World::new(format);
        let front = world.front(|_| Deed::Pass);
        let server = world.server();
        for depth in [1, 2, 3, 50] {
            let name = format!("cut{depth}");
            let body = json!({ "url": format!("{}{PATH}", front.origin()), "depth": depth });
            let remote = imported(&server, &name, &body);
            let git = server.git(world.dir.path(), &[&remote]);
            let twin = cut_twin(&world, depth, &name);
            for version in 0..=2 {
                let (ours, stock) =
                    (world.facts(&git, &remote.url, version), world.facts(&world.git, &twin, version));
                assert_eq!(ours, stock, "depth {depth}, version {version}");
                assert_eq!(ours[2].is_empty(), depth == 50, "depth {depth}: {}", ours[2]);
            }
        }
        assert_sound(server.data());
    }
}

#[test]
fn a_remote_that_is_cut_itself_arrives_cut() {
    let world = World::new(Format::Sha1);
    let front = world.front(|_| Deed::Pass);
    let server = world.server();
    let twin = cut_twin(&world, 2, "twin");
    let remote = imported(&server, "again", &json!({ "url": format!("{}/git/t/twin.git", front.origin()) }));
    let git = server.git(world.dir.path(), &[&remote]);
    assert_eq!(world.facts(&git, &remote.url, 2), world.facts(&world.git, &twin, 2));
    // And on from one Cairn to another: a cut repository is a proper remote.
    let behind = Front::tls(server.origin(), &world.authority, |_| Deed::Pass);
    let path = remote.url.split_once("/git/").unwrap().1;
    let from = format!("{}/git/{path}", behind.origin());
    let (status, answer) = import(&server, "third", &json!({ "url": from }));
    assert_eq!(status, 422, "the front takes no credentials along: {answer}");
}

/// The steps of a client that goes on with a cut clone; what it has at each. Without `--shallow-since`: there stock git's
/// upload-pack of a cut repository dies.
fn go_on(world: &World, git: &Git, url: &str) -> Vec<String> {
    let dir = tempfile::tempdir_in(world.dir.path()).unwrap();
    let clone = dir.path().join("c");
    let mut seen = Vec::new();
    let mut run = |at: &Path, args: &[&str]| {
        let out = git.run(at, args);
        let shallow = std::fs::read_to_string(clone.join(".git/shallow")).unwrap_or_default();
        let mut shallow: Vec<_> = shallow.lines().collect();
        shallow.sort_unstable();
        shallow.dedup();
        let log = git.run(&clone, &["rev-list", "--all", "--count"]).text();
        let fsck = git.run(&clone, &["fsck", "--strict", "--no-dangling"]);
        seen.push(format!("{args:?}: {} {log} {shallow:?} {}", out.code, fsck.errors()).replace(url, "URL"));
    };
    run(dir.path(), &["clone", "--quiet", "--depth=1", url, "c"]);
    run(&clone, &["fetch", "--quiet", "--depth=2"]);
    run(&clone, &["fetch", "--quiet", "--deepen=1"]);
    run(&clone, &["fetch", "--quiet", "--unshallow"]);
    run(&clone, &["fetch", "--quiet", "--depth=1"]);
    run(&clone, &["fetch", "--quiet", "--depth=100"]);
    run(&clone, &["commit", "--quiet", "--allow-empty", "-m", "on top"]);
    run(&clone, &["push", "--quiet", "origin", "HEAD"]);
    run(&clone, &["fetch", "--quiet", "origin"]);
    run(&clone, &["push", "--quiet", "origin", "HEAD:refs/heads/new"]);
    seen
}

#[test]
fn clients_of_a_cut_import_deepen_fetch_and_push_as_with_stock_git() {
    let world = World::new(Format::Sha1);
    let front = world.front(|_| Deed::Pass);
    let server = world.server();
    let body = json!({ "url": format!("{}{PATH}", front.origin()), "depth": 3 });
    let remote = imported(&server, "cut", &body);
    let twin = cut_twin(&world, 3, "cut");
    let path = world.stock.path("cut");
    world.ok(&path, &["config", "http.receivepack", "true"]);
    world.ok(&path, &["config", "uploadpack.allowFilter", "true"]);
    for version in ["0", "2"] {
        let mut git = server.git(world.dir.path(), &[&remote]);
        git.set("protocol.version", version);
        let mut stock_git = world.git.clone();
        stock_git.set("protocol.version", version);
        let (ours, stock) = (go_on(&world, &git, &remote.url), go_on(&world, &stock_git, &twin));
        assert_eq!(ours, stock, "version {version}");
        // A filter, and a clone of the fork, which sees the base's cut.
        let fork = format!("fork{version}");
        let (status, answer) = server.rest("POST", "/namespaces/t/repos/cut/fork", &json!({ "name": fork }));
        assert_eq!(status, 201, "{answer}");
        let fork = remote_of(&answer);
        let git = server.git(world.dir.path(), &[&fork, &remote]);
        assert_eq!(world.facts(&git, &fork.url, 2), world.facts(&git, &remote.url, 2));
    }
    assert_sound(server.data());
}

#[test]
fn history_older_than_the_cut_is_refused_when_pushed_and_breaks_nothing() {
    let world = World::new(Format::Sha1);
    let front = world.front(|_| Deed::Pass);
    let server = world.server();
    let body = json!({ "url": format!("{}{PATH}", front.origin()), "depth": 1, "branch": "trunk" });
    let remote = imported(&server, "cut", &body);
    let git = server.git(world.dir.path(), &[&remote]);
    // A client with the full history takes the server's tip for all of it.
    let out = git.run(&world.origin_path(), &["push", "--quiet", &remote.url, "trunk~2:refs/heads/old"]);
    assert!(!out.ok(), "the server lacks what the push leans on");
    let out = git.run(&world.origin_path(), &["push", "--quiet", &remote.url, "trunk:refs/heads/same"]);
    assert!(out.ok(), "{}", out.errors());
    assert_clones(&git, world.dir.path(), &remote.url, "after");
    assert_sound(server.data());
}

#[test]
fn a_killed_import_goes_on_at_the_next_start() {
    let world = World::new(Format::Sha1);
    let stalls = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&stalls);
    let front = world.front(move |asked| match is_pack(asked) && still.load(Ordering::SeqCst) {
        true => Deed::Stall(2_000),
        false => Deed::Pass,
    });
    let mut server = world.server();
    let (status, answer) = import(&server, "late", &json!({ "url": format!("{}{PATH}", front.origin()) }));
    assert_eq!(status, 201, "under way: {answer}");
    let remote = remote_of(&answer);
    let git = server.git(world.dir.path(), &[&remote]);
    assert_importing(&server, &git, &remote);
    server.kill();
    assert_sound(server.data());
    server.restart();
    let again = server.again(&remote);
    assert_importing(&server, &server.git(world.dir.path(), &[&again]), &again);
    server.kill();
    stalls.store(false, Ordering::SeqCst);
    server.restart();
    wait_for(&server, "late", 200);
    let again = server.again(&remote);
    let git = server.git(world.dir.path(), &[&again]);
    let [refs, ..] = world.facts(&git, &again.url, 2);
    assert_eq!(refs.lines().count(), 4, "{refs}");
    assert_sound(server.data());
}

/// Everything but lists and deletes answers 409.
fn assert_importing(server: &Server, git: &Git, remote: &Remote) {
    let (status, answer) = server.rest("GET", "/namespaces/t/repos/late", &Value::Null);
    assert_eq!((status, answer.pointer("/errors/0/code")), (409, Some(&json!(10302))), "{answer}");
    let (_, list) = server.rest("GET", "/namespaces/t/repos", &Value::Null);
    assert_eq!(list.pointer("/result/0/status"), Some(&json!("importing")), "{list}");
    for (method, path, body) in [
        ("PATCH", "/namespaces/t/repos/late", json!({ "description": "x" })),
        ("POST", "/namespaces/t/repos/late/fork", json!({ "name": "f" })),
        ("POST", "/namespaces/t/repos/late/import", json!({ "url": "https://127.0.0.1:1/x" })),
    ] {
        let (status, answer) = server.rest(method, path, &body);
        assert_eq!(status, 409, "{method} {path}: {answer}");
    }
    let out = git.run(Path::new("/"), &["ls-remote", &remote.url]);
    assert!(out.errors().contains("409"), "{}", out.errors());
}

#[test]
fn a_stopped_server_leaves_its_import_to_the_next_and_a_private_one_ends() {
    let world = World::new(Format::Sha1);
    let front = world.front(|asked| if is_pack(asked) { Deed::Stall(2_000) } else { Deed::Pass });
    let mut server = world.server();
    let url = format!("{}{PATH}", front.origin());
    let (status, _) = import(&server, "late", &json!({ "url": url }));
    assert_eq!(status, 201);
    let (status, answer) = import(&server, "mine", &json!({ "url": url, "token": "secret-of-the-remote" }));
    assert_eq!(status, 201, "{answer}");
    server.terminate();
    assert!(server.wait().success());
    assert_no_secret(server.data(), b"secret-of-the-remote");
    server.restart();
    let (_, list) = server.rest("GET", "/namespaces/t/repos", &Value::Null);
    let names: Vec<_> = list["result"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, [json!("late")], "nobody can go on with the private one");
    let (status, _) = server.rest("DELETE", "/namespaces/t/repos/mine", &Value::Null);
    assert_eq!(status, 404, "nothing tells of it");
    // Deleting cancels.
    let (status, _) = server.rest("DELETE", "/namespaces/t/repos/late", &Value::Null);
    assert_eq!(status, 202);
    wait_for(&server, "late", 404);
    server.terminate();
    assert!(server.wait().success());
    assert_sound(server.data());
}

/// No file of the data folder holds `secret`.
fn assert_no_secret(dir: &Path, secret: &[u8]) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_secret(&path, secret);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} holds the credentials", path.display());
        }
    }
}

#[test]
fn imports_are_restored_with_their_cut_and_only_whole_ones_become_bundles() {
    let world = World::new(Format::Sha1);
    let front = world.front(|_| Deed::Pass);
    let server = world.server();
    let url = format!("{}{PATH}", front.origin());
    let cut = imported(&server, "cut", &json!({ "url": url, "depth": 2 }));
    let whole = imported(&server, "whole", &json!({ "url": url }));
    let facts = |server: &Server| {
        let remotes = [server.again(&cut), server.again(&whole)];
        let git = server.git(world.dir.path(), &[&remotes[0], &remotes[1]]);
        remotes.map(|remote| world.facts(&git, &remote.url, 2))
    };
    let before = facts(&server);
    assert!(!before[0][2].is_empty(), "the history ends somewhere");
    let path = |name: &str| world.dir.path().join(name).to_string_lossy().into_owned();
    let (status, text) = cairn(&["export", "t/cut", &path("cut.bundle")], server.data());
    assert!(!status.success() && text.contains("history is cut at"), "{text}");
    let (status, text) = cairn(&["export", "t/whole", &path("whole.bundle")], server.data());
    assert!(status.success(), "{text}");
    assert_eq!(world.facts(&world.git, &path("whole.bundle"), 2), before[1]);
    let (status, text) = cairn(&["backup", &path("copy")], server.data());
    assert!(status.success(), "{text}");
    let data = tempfile::tempdir().unwrap();
    let mut restore = std::process::Command::new(cairn_conformance::host::cairn_binary());
    let out = restore.arg("restore").arg(path("copy")).arg(data.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(facts(&Server::start_on(data)), before);
}
