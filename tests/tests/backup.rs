//! Backups that cost what changed, and what can be made of them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use cairn_conformance::git::Git;
use cairn_conformance::host::{self, Format, Remote, remote_of};
use cairn_tests::Server;
use cairn_tests::chain::Chain;
use cairn_tests::server::{assert_clones, assert_sound, cairn};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a backup may take to begin.
const BEGIN_SECONDS_MAX: u64 = 30;

/// A server with one repository of each kind.
struct World {
    server: Server,
    dir: TempDir,
    base: Chain,
    remotes: Vec<(&'static str, Remote)>,
}

impl World {
    fn new() -> Self {
        let server = Server::start();
        let dir = tempfile::tempdir().unwrap();
        let base_remote = server.create("base");
        let mut base = Chain::new("refs/heads/main", 1, 20_000);
        push(&mut base, &base_remote);
        let early = fork(&server, "base", "early");
        push(&mut base, &base_remote);
        let late = fork(&server, "base", "late");
        let mut own = Chain::new("refs/heads/own", 2, 5_000);
        push(&mut own, &late);
        let doomed = server.create("doomed");
        push(&mut Chain::new("refs/heads/main", 3, 10_000), &doomed);
        let orphan = fork(&server, "doomed", "orphan");
        push(&mut Chain::new("refs/heads/own", 4, 5_000), &orphan);
        assert_eq!(server.rest("DELETE", "/namespaces/t/repos/doomed", &Value::Null).0, 202);
        let empty = server.create("empty");
        let sha256 = host::create_repository(server.origin(), "sha256", Format::Sha256);
        let world = Self { server, dir, base, remotes: Vec::new() };
        world.push_sha256(&sha256);
        let remotes = vec![
            ("base", base_remote),
            ("early", early),
            ("late", late),
            ("orphan", orphan),
            ("empty", empty),
            ("sha256", sha256),
        ];
        Self { remotes, ..world }
    }

    fn push_sha256(&self, remote: &Remote) {
        let git = self.server.git(self.dir.path(), &[remote]);
        let ok = |args: &[&str]| {
            let out = git.run(self.dir.path(), args);
            assert!(out.ok(), "{args:?}: {}", out.errors());
        };
        ok(&["init", "--quiet", "--object-format=sha256", "--initial-branch=main", "wide"]);
        std::fs::write(self.dir.path().join("wide/a"), "a\n").unwrap();
        ok(&["-C", "wide", "add", "a"]);
        ok(&["-C", "wide", "commit", "--quiet", "-m", "one"]);
        ok(&["-C", "wide", "tag", "-a", "-m", "first", "v1"]);
        ok(&["-C", "wide", "push", "--quiet", &remote.url, "main", "v1"]);
    }

    fn remote(&self, name: &str) -> Remote {
        self.remotes.iter().find(|(known, _)| *known == name).unwrap().1.clone()
    }

    /// What everybody can see of each repository: refs, entries, objects.
    fn facts(&self) -> Vec<String> {
        facts_of(&self.server, &self.remotes)
    }
}

fn facts_of(server: &Server, remotes: &[(&str, Remote)]) -> Vec<String> {
    remotes.iter().map(|(name, remote)| facts(server, name, &server.again(remote))).collect()
}

fn facts(server: &Server, name: &str, remote: &Remote) -> String {
    let home = tempfile::tempdir().unwrap();
    // The token of before the backup.
    let git = server.git(home.path(), &[remote]);
    let refs = git.run(home.path(), &["ls-remote", "--symref", &remote.url]);
    assert!(refs.ok(), "{name}: {}", refs.errors());
    assert_clones(&git, home.path(), &remote.url, "clone");
    let objects = git.run(&home.path().join("clone"), &["rev-list", "--objects", "--all"]).text();
    let path = format!("/namespaces/t/repos/{name}/activity?per_page=100");
    let (status, activity) = server.rest("GET", &path, &Value::Null);
    assert_eq!(status, 200, "{activity}");
    format!("{name}\n{}\n{objects}\n{}", refs.text(), activity["result"])
}

fn push(chain: &mut Chain, remote: &Remote) {
    let step = chain.next_step();
    assert!(chain.push(remote, &step));
}

fn fork(server: &Server, base: &str, name: &str) -> Remote {
    let (status, answer) =
        server.rest("POST", &format!("/namespaces/t/repos/{base}/fork"), &json!({ "name": name }));
    assert_eq!(status, 201, "{answer}");
    remote_of(&answer)
}

fn backup(server: &Server, to: &Path) -> Value {
    let (status, text) = cairn(&["backup", &to.to_string_lossy(), "--json"], server.data());
    assert!(status.success(), "{text}");
    let line = text.lines().find(|line| line.starts_with('{')).unwrap();
    serde_json::from_str(line).unwrap()
}

fn restore(from: &Path, to: &Path, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(host::cairn_binary());
    let out = command.arg("restore").arg(from).arg(to).args(more).stdin(Stdio::null()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), text)
}

/// A server on what `restore` makes of a backup.
fn restored(from: &Path) -> Server {
    let to = tempfile::tempdir().unwrap();
    let (ok, text) = restore(from, to.path(), &[]);
    assert!(ok, "{text}");
    assert_sound(to.path());
    Server::start_on(to)
}

/// Lets every repository file look as if it had not been touched for a while.
fn age(data: &Path) {
    let old = SystemTime::now() - Duration::from_secs(60);
    for path in files(&data.join("repos")) {
        File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

fn counts(done: &Value) -> [u64; 4] {
    ["copied", "extended", "unchanged", "removed"].map(|name| done[name].as_u64().unwrap())
}

#[test]
fn a_restored_server_shows_every_repository_as_it_was() {
    let world = World::new();
    let copy = tempfile::tempdir().unwrap();
    assert_eq!(counts(&backup(&world.server, copy.path())), [5, 0, 0, 0]);
    let before = world.facts();
    let other = restored(copy.path());
    assert_eq!(facts_of(&other, &world.remotes), before);
    // What is pushed to it is as good as before.
    let again = other.again(&world.remote("late"));
    push(&mut Chain::new("refs/heads/after", 9, 1_000), &again);
    assert_clones(&other.git(world.dir.path(), &[&again]), world.dir.path(), &again.url, "after");
}

#[test]
fn another_backup_copies_what_is_new_and_forgets_what_is_gone() {
    let mut world = World::new();
    let copy = tempfile::tempdir().unwrap();
    backup(&world.server, copy.path());
    age(world.server.data());
    for _ in 0..2 {
        assert_eq!(counts(&backup(&world.server, copy.path())), [0, 0, 5, 0]);
    }
    let remote = world.remote("base");
    push(&mut world.base, &remote);
    world.remotes.push(("pinned", fork(&world.server, "base", "pinned")));
    assert_eq!(counts(&backup(&world.server, copy.path())), [0, 1, 4, 0]);
    assert_eq!(facts_of(&restored(copy.path()), &world.remotes), world.facts());

    assert_eq!(world.server.rest("DELETE", "/namespaces/t/repos/orphan", &Value::Null).0, 202);
    // The files of what is deleted and pinned by nobody go at the next start.
    world.server.terminate();
    assert!(world.server.wait().success());
    world.server.restart();
    world.remotes.retain(|(name, _)| *name != "orphan");
    world.remotes.iter_mut().for_each(|(_, remote)| *remote = world.server.again(remote));
    let done = backup(&world.server, copy.path());
    assert_eq!(done["removed"], 2, "{done}");
    assert_eq!(done["generation"], 5, "{done}");
    assert_eq!(files(&copy.path().join("repos")).len(), 3);
    assert_eq!(facts_of(&restored(copy.path()), &world.remotes), world.facts());
}

#[test]
fn a_backup_that_is_killed_leaves_the_one_before_and_the_next_one_completes() {
    let mut world = World::new();
    let copy = tempfile::tempdir().unwrap();
    backup(&world.server, copy.path());
    let mut before = world.facts();
    let remotes = world.remotes.clone();
    for (generation, sign) in [(2, "catalog.2.sqlite"), (3, "backup.sqlite-journal")] {
        let remote = world.remote("base");
        push(&mut world.base, &remote);
        let new = world.server.create(&format!("new{generation}"));
        push(&mut Chain::new("refs/heads/main", generation, 3_000_000), &new);
        let mut child = Command::new(host::cairn_binary())
            .arg("backup")
            .arg(copy.path())
            .arg("--data")
            .arg(world.server.data())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(BEGIN_SECONDS_MAX);
        while !copy.path().join(sign).exists() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "no {sign}");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // A base may show an entry more; nothing is lost, and what was not there yet is not there in part.
        let other = restored(copy.path());
        let seen = facts_of(&other, &remotes);
        for (old, seen) in before.iter().zip(&seen).filter(|(old, seen)| old != seen) {
            assert!(seen.starts_with("base\n"), "{old}\n{seen}");
        }
        backup(&world.server, copy.path());
        before = world.facts();
        assert_eq!(facts_of(&restored(copy.path()), &remotes), before);
        let known: Vec<_> = files(copy.path()).into_iter().filter(|path| path.ends_with(sign)).collect();
        assert!(known.len() <= 1, "{known:?}");
    }
    assert_eq!(std::fs::read_dir(copy.path()).unwrap().count(), 4, "manifest, lock, catalog, repos");
}

#[test]
fn restoring_refuses_what_would_destroy_or_mislead() {
    let world = World::new();
    let copy = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (ok, text) = restore(copy.path(), other.path(), &[]);
    assert!(!ok && text.contains("no backup"), "{text}");
    backup(&world.server, copy.path());
    let (ok, text) = restore(copy.path(), world.server.data(), &[]);
    assert!(!ok && text.contains("is not empty"), "{text}");
    let (status, text) = cairn(&["backup", &world.server.data().to_string_lossy()], world.server.data());
    assert!(!status.success() && text.contains("no backup"), "a data folder is no place for one: {text}");
    let cases = [
        ("t/base", "exists"),
        ("t/never", "has no repository"),
        ("never", "NAMESPACE/NAME"),
        ("t/doomed", "has no repository"),
    ];
    for (repo, why) in cases {
        let (ok, text) = restore(copy.path(), world.server.data(), &["--repo", repo]);
        assert!(!ok && text.contains(why), "{repo}: {text}");
    }
    let foreign = Server::start();
    let (ok, text) = restore(copy.path(), foreign.data(), &["--repo", "t/early"]);
    assert!(!ok && text.contains("does not have"), "a fork without its base: {text}");
}

#[test]
fn one_repository_comes_back_beside_a_running_server() {
    let world = World::new();
    let copy = tempfile::tempdir().unwrap();
    backup(&world.server, copy.path());
    let foreign = Server::start();
    let cases =
        [("late", &world.server), ("sha256", &world.server), ("empty", &world.server), ("base", &foreign)];
    for (name, server) in cases {
        let before = facts(&world.server, name, &world.remote(name));
        if std::ptr::eq(server, &world.server) {
            let (status, _) = server.rest("DELETE", &format!("/namespaces/t/repos/{name}"), &Value::Null);
            assert_eq!(status, 202);
        }
        let (ok, text) = restore(copy.path(), server.data(), &["--repo", &format!("t/{name}")]);
        assert!(ok, "{text}");
        let remote = with_new_token(server, name);
        assert_eq!(facts(server, name, &remote), before);
        push(&mut Chain::new("refs/heads/again", 7, 1_000), &remote_for(name, &remote, server));
    }
    assert_sound(world.server.data());
    assert_sound(foreign.data());
}

/// The chain speaks SHA-1: another repository stands in where that is not the hash.
fn remote_for(name: &str, remote: &Remote, server: &Server) -> Remote {
    if name == "sha256" { server.create("other") } else { remote.clone() }
}

fn with_new_token(server: &Server, name: &str) -> Remote {
    let body = json!({ "repo": name, "scope": "write" });
    let (status, answer) = server.rest("POST", "/namespaces/t/tokens", &body);
    assert!(status < 300, "{answer}");
    let token = answer["result"]["plaintext"].as_str().map(str::to_owned);
    assert!(token.is_some(), "{answer}");
    Remote { url: format!("{}/git/t/{name}.git", server.origin()), token }
}

#[test]
fn a_bundle_clones_and_verifies_by_stock_git() {
    let world = World::new();
    let out = tempfile::tempdir().unwrap();
    let git = Git::new(out.path());
    for name in ["base", "early", "late", "orphan", "sha256"] {
        let file = out.path().join(format!("{name}.bundle"));
        let (status, text) =
            cairn(&["export", &format!("t/{name}"), &file.to_string_lossy()], world.server.data());
        assert!(status.success(), "{text}");
        let file = file.to_string_lossy().into_owned();
        let clone = git.run(out.path(), &["clone", "--quiet", "--mirror", &file, name]);
        assert!(clone.ok(), "{name}: {}", clone.errors());
        let place = out.path().join(name);
        let verified = git.run(&place, &["bundle", "verify", "--quiet", &file]);
        assert!(verified.ok(), "{name}: {}", verified.errors());
        assert!(git.run(&place, &["fsck", "--strict"]).ok());
        let remote = world.remote(name);
        let reader = world.server.git(world.dir.path(), &[&remote]);
        assert_clones(&reader, world.dir.path(), &remote.url, name);
        let list = ["rev-list", "--objects", "--all"];
        let both = [git.run(&place, &list).text(), git.run(&world.dir.path().join(name), &list).text()];
        assert_eq!(both[0], both[1], "{name}");
        let refs = ["for-each-ref"];
        assert_eq!(git.run(&place, &refs).text(), git.run(&world.dir.path().join(name), &refs).text());
    }
    let wide = out.path().join("sha256");
    assert_eq!(git.run(&wide, &["rev-parse", "--show-object-format"]).text().trim(), "sha256");
}

#[test]
fn a_bundle_of_one_branch_has_no_other_and_an_empty_repository_has_none() {
    let world = World::new();
    let out = tempfile::tempdir().unwrap();
    let git = Git::new(out.path());
    let file = out.path().join("own.bundle").to_string_lossy().into_owned();
    let (status, text) = cairn(&["export", "t/late", &file, "--branch", "own"], world.server.data());
    assert!(status.success(), "{text}");
    let heads = git.run(out.path(), &["bundle", "list-heads", &file]).text();
    let names: Vec<&str> = heads.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(names, ["refs/heads/own"]);
    for (args, why) in [
        (vec!["export", "t/late", &file], "exists"),
        (vec!["export", "t/late", "x.bundle", "--branch", "none"], "no branch none"),
        (vec!["export", "t/empty", "x.bundle"], "has no refs"),
        (vec!["export", "t/never", "x.bundle"], "not found"),
    ] {
        let (status, text) = cairn(&args, world.server.data());
        assert!(!status.success() && text.contains(why), "{args:?}: {text}");
    }
    assert!(!Path::new("x.bundle").exists());
}

#[test]
fn exporting_all_tells_what_the_bundles_are() {
    let world = World::new();
    let out = tempfile::tempdir().unwrap();
    let to = out.path().join("all");
    let (status, text) = cairn(&["export", "--all", &to.to_string_lossy()], world.server.data());
    assert!(status.success(), "{text}");
    let manifest: Value = serde_json::from_slice(&std::fs::read(to.join("manifest.json")).unwrap()).unwrap();
    let listed = manifest["repositories"].as_array().unwrap();
    let names: Vec<&str> = listed.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "early", "late", "orphan", "empty", "sha256"]);
    let git = Git::new(out.path());
    for row in listed {
        let name = row["name"].as_str().unwrap();
        let Some(bundle) = row["bundle"].as_str() else {
            assert_eq!(name, "empty");
            continue;
        };
        let bundle = to.join(bundle).to_string_lossy().into_owned();
        assert!(git.run(out.path(), &["clone", "--quiet", "--mirror", &bundle, name]).ok(), "{name}");
    }
    let late = listed.iter().find(|row| row["name"] == "late").unwrap();
    assert_eq!(late["source"], "artifacts:t/base");
    assert_eq!(late["forkedFrom"][0]["seq"], 2);
    assert_eq!(listed.last().unwrap()["objectFormat"], "sha256");
}
