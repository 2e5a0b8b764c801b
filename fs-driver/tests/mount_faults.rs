//! Remotes that offer less, fail for a while or send broken packs; caches that are warm or damaged; and where tokens are.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remotes.rs"]
mod remotes;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Instant;

use cairn_conformance::fixture::{Script, lines};
use cairn_conformance::front::{Asked, Deed};
use remotes::{DEADLINE, World};

fn script() -> Script {
    let mut script = Script::default();
    script.commit("main", &[], &[("README", "first\n"), ("a/b", "b\n"), ("a/long", &lines(1, 900))]);
    script
}

fn await_that(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

const LAZY: &[&str] = &["--history", "lazy"];

/// A rule that does to the fetches after the first, which brings the commit, what is given, then passes them on.
fn after_the_commit(deeds: Vec<Deed>) -> impl Fn(&Asked) -> Deed + Send + Sync {
    let deeds = Mutex::new([vec![Deed::Pass], deeds].concat().into_iter());
    move |asked| match asked.is_command("fetch") {
        true => deeds.lock().unwrap().next().unwrap_or(Deed::Pass),
        false => Deed::Pass,
    }
}

fn fetches(world: &World) -> usize {
    world.front.asked().iter().filter(|asked| asked.is_command("fetch")).count()
}

fn assert_whole(world: &World) {
    assert_eq!(world.read("README"), "first\n");
    assert_eq!(world.read("a/b"), "b\n");
    assert_eq!(world.read("a/long"), lines(1, 900));
    assert_eq!(world.ok(&["status", "--porcelain"]), "");
}

#[test]
fn a_remote_without_filters_is_fetched_whole_and_the_status_says_so() {
    let world = World::stock(&script(), |asked| match asked.method.as_str() {
        "GET" => Deed::Swap(b"filter", b"nothin"),
        _ => Deed::Pass,
    });
    world.mount(LAZY);
    assert_whole(&world);
    assert_eq!(fetches(&world), 1, "everything came with the commit");
    let warnings = world.status().unwrap()["warnings"].to_string();
    assert!(warnings.contains("offers no filters"), "{warnings}");
}

#[test]
fn answers_that_fail_break_off_or_are_broken_are_asked_for_again() {
    let world = World::stock(
        &script(),
        after_the_commit(vec![
            Deed::Say(503, Vec::new(), Vec::new()),
            Deed::Cut(0),
            Deed::Cut(150),
            Deed::Swap(b"PACK", b"PACX"),
            Deed::Swap(b"\x78\x9c", b"\x78\x9d"),
        ]),
    );
    world.mount(LAZY);
    assert_whole(&world);
    assert!(fetches(&world) > 6, "the commit, each fault and an answer: {}", fetches(&world));
}

#[test]
fn a_warm_cache_needs_no_request_and_a_damaged_one_only_for_what_is_damaged() {
    let world = World::stock(&script(), |_| Deed::Pass);
    world.mount(LAZY);
    assert_whole(&world);
    world.unmount();
    let state = world.cache().join("mounts");
    fs::remove_dir_all(&state).unwrap();
    let before = fetches(&world);
    world.mount(LAZY);
    assert_whole(&world);
    assert_eq!(fetches(&world), before, "all is at hand");
    world.unmount();

    let id = world.git.run(&world.bare(), &["rev-parse", "main:a/b"]).text();
    let cached = world.cache().join("blobs/sha1").join(&id[..2]).join(&id);
    fs::write(&cached, "X\n").unwrap();
    world.mount(LAZY);
    assert_whole(&world);
    assert_eq!(fs::read(&cached).unwrap(), b"b\n");
    assert_eq!(fetches(&world), before + 1);
}

#[test]
fn many_readers_of_one_cold_file_make_one_request_for_it() {
    let world = World::stock(&script(), |_| Deed::Pass);
    world.mount(LAZY);
    let start = Arc::new(Barrier::new(32));
    let readers: Vec<_> = (0..32)
        .map(|_| {
            let (file, start) = (world.mountpoint().join("a/long"), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                fs::read_to_string(file).unwrap()
            })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), lines(1, 900));
    }
    let id = world.git.run(&world.bare(), &["rev-parse", "main:a/long"]).text();
    let want = format!("want {id}").into_bytes();
    let asks = |asked: &Asked| asked.body.windows(want.len()).any(|window| window == want);
    assert_eq!(world.front.asked().iter().filter(|asked| asks(asked)).count(), 1);
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files_below(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// The names of all files of the cache and all command lines that hold the secret.
fn places_of(secret: &str, world: &World) -> BTreeSet<String> {
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    let mut files = Vec::new();
    files_below(&world.cache(), &mut files);
    let mut found: BTreeSet<String> = files
        .into_iter()
        .filter(|file| holds(&fs::read(file).unwrap_or_default()))
        .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        if holds(&fs::read(process.path().join("cmdline")).unwrap_or_default()) {
            found.insert("a command line".to_owned());
        }
    }
    found
}

#[test]
fn tokens_from_each_source_open_the_remote_and_lie_in_one_file_at_most() {
    let mut world = World::cairn();
    let token = world.token.clone().unwrap();
    let secret = token.split('?').next().unwrap().to_owned();
    let seed = world.git.feed(world.dir.path(), &["init", "--quiet", "--bare", "seed"], b"");
    assert!(seed.ok(), "{}", seed.errors());
    let seed = world.dir.path().join("seed");
    let out = world.git.feed(&seed, &["fast-import", "--quiet"], script().bytes());
    assert!(out.ok(), "{}", out.errors());
    let out = world.git.run(&seed, &["push", "--quiet", &world.direct(), "main"]);
    assert!(out.ok(), "{}", out.errors());

    let at_hand = ["token".to_owned()].into();
    world.mount(LAZY);
    assert_whole(&world);
    assert_eq!(places_of(&secret, &world), at_hand, "from the environment");
    world.unmount();
    fs::remove_dir_all(world.cache()).unwrap();

    world.token = None;
    assert!(world.refused(LAZY).contains("asks for credentials"));
    let file = world.dir.path().join("secret");
    fs::write(&file, &token).unwrap();
    world.mount(&[LAZY, &["--token-file", file.to_str().unwrap()]].concat());
    assert_whole(&world);
    assert_eq!(places_of(&secret, &world), BTreeSet::new(), "it stays in the file");
    world.unmount();
    fs::remove_dir_all(world.cache()).unwrap();

    let stored = world.dir.path().join("stored");
    fs::write(&stored, world.direct().replacen("http://", &format!("http://x:{secret}@"), 1)).unwrap();
    let helper =
        format!("[credential]\n\thelper = store --file={}\n\tuseHttpPath = true\n", stored.display());
    fs::write(world.dir.path().join("gitconfig"), helper).unwrap();
    world.mount(LAZY);
    assert_whole(&world);
    assert_eq!(places_of(&secret, &world), at_hand, "from git's helper");
    world.unmount();
}

/// Files that are being received below the cache.
fn received(world: &World) -> BTreeSet<PathBuf> {
    let mut files = Vec::new();
    files_below(&world.cache().join("remotes"), &mut files);
    let is_pack = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with("tmp_");
    files.into_iter().filter(is_pack).collect()
}

fn kill(pid: u64) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// The process that started another.
fn parent_of(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("PPid:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_a_kill_left_half_received_is_swept_and_what_is_being_received_is_not() {
    let world = World::stock(&script(), after_the_commit(vec![Deed::Stall(150)]));
    world.mount(LAZY);
    await_that("a pack is being received", || !received(&world).is_empty());
    let receiving = received(&world);
    // Another mount of the remote sweeps as it starts.
    let (url, other) = (world.url(), world.dir.path().join("other"));
    world.done(&["mount", &url, other.to_str().unwrap(), "--history", "lazy"]);
    assert_eq!(fs::read_to_string(other.join("README")).unwrap(), "first\n");
    assert!(received(&world).is_superset(&receiving), "it is being received");
    world.done(&["unmount", other.to_str().unwrap()]);
    // The supervisor first: it would start another.
    let daemon = world.status().unwrap()["pid"].as_u64().unwrap();
    [parent_of(daemon), daemon].into_iter().for_each(kill);
    await_that("the daemon is gone", || fs::symlink_metadata(world.mountpoint()).is_err());
    assert_eq!(received(&world), receiving, "nobody swept yet");
    // What a kill within the first preparation leaves lies elsewhere.
    let store = receiving.first().unwrap().parent().unwrap().parent().unwrap();
    let packs = ["tmp_pack_left", "tmp_idx_left"].map(|name| store.join("objects/pack").join(name));
    packs.iter().for_each(|pack| fs::write(pack, "half").unwrap());
    world.mount(LAZY);
    assert!(receiving.iter().chain(&packs).all(|left| !left.exists()));
    assert_whole(&world);
}
