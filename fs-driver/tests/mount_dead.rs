//! A remote that is gone, or that takes requests and says nothing: only what is not here fails, and only until it is back.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remotes.rs"]
mod remotes;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Instant;

use cairn_conformance::fixture::{Script, lines};
use cairn_conformance::front::{Asked, Deed};
use remotes::{DEADLINE, World};

const ALIVE: u8 = 0;
const GONE: u8 = 1;
const SILENT: u8 = 2;

/// Nothing comes by itself, and who waits does so for a second.
const IMPATIENT: &[&str] = &["--history", "lazy", "--hydrate-limit", "0", "--read-deadline", "1"];

fn script() -> Script {
    let mut script = Script::default();
    let long = lines(1, 900);
    // Each in a folder of its own, so that none comes along with another.
    let small = [("README", "first\n"), ("a/b", "b\n"), ("d/e", "e\n")];
    let many: Vec<_> =
        ["f", "h"].iter().flat_map(|dir| (0..4).map(move |nth| format!("{dir}/{nth}"))).collect();
    let many: Vec<_> = many.iter().map(|path| (path.as_str(), path.as_str())).collect();
    let files = [&small[..], &[("c/long", &long)], &many].concat();
    script.commit("main", &[], &files);
    script
}

fn world() -> (World, Arc<AtomicU8>) {
    let how = Arc::new(AtomicU8::new(ALIVE));
    let told = Arc::clone(&how);
    let rule = move |_: &Asked| match told.load(Ordering::SeqCst) {
        GONE => Deed::Cut(0),
        SILENT => Deed::Stall(0),
        _ => Deed::Pass,
    };
    (World::stock(&script(), rule), how)
}

fn assert_eio<T: std::fmt::Debug>(outcome: io::Result<T>) {
    let code = outcome.expect_err("it is not here").raw_os_error();
    assert_eq!(code, Some(rustix::io::Errno::IO.raw_os_error()));
}

/// All that needs no content from the remote.
fn assert_all_else_goes_on(world: &World) {
    let at = |path: &str| world.mountpoint().join(path);
    assert_eq!(world.read("README"), "first\n", "it was read before");
    for (path, bytes) in [("a/b", 2), ("c/long", lines(1, 900).len() as u64), ("d/e", 2), ("f/3", 3)] {
        assert_eq!(fs::metadata(at(path)).unwrap().size(), bytes, "{path}");
    }
    assert_eq!(fs::read_dir(at("")).unwrap().count(), 7);
    fs::write(at("new"), "n\n").unwrap();
    fs::write(at("README"), "mine\n").unwrap();
    fs::rename(at("d"), at("moved")).unwrap();
    fs::rename(at("moved"), at("d")).unwrap();
    assert_eq!(world.ok(&["status", "--porcelain"]), " M README\n?? new");
    world.ok(&["add", "."]);
    world.ok(&["commit", "--quiet", "--message", "while it is dead"]);
    assert_eq!(world.ok(&["status", "--porcelain"]), "");
    fs::write(at("README"), "first\n").unwrap();
    world.ok(&["commit", "--quiet", "--all", "--message", "as it was"]);
}

#[test]
fn a_dead_remote_fails_reads_of_what_is_not_here_and_nothing_else_until_it_is_back() {
    for (dead, path, folder) in [(GONE, "a/b", "f"), (SILENT, "c/long", "h")] {
        // Each in a mount of its own: what is asked for again and again brings along what follows.
        let (world, how) = world();
        let at = |path: &str| world.mountpoint().join(path);
        world.mount(IMPATIENT);
        assert_eq!(world.read("README"), "first\n");
        how.store(dead, Ordering::SeqCst);
        assert_eio(fs::read(at(path)));
        // Readers that hang hold up nobody else.
        let hanging: Vec<_> = (0..4)
            .map(|nth| {
                let file = at(folder).join(nth.to_string());
                thread::spawn(move || fs::read(file))
            })
            .collect();
        assert_all_else_goes_on(&world);
        hanging.into_iter().for_each(|reader| assert_eio(reader.join().unwrap()));
        let status = world.status().unwrap();
        assert!(status["hydration"]["last_error"].is_string(), "{status}");
        how.store(ALIVE, Ordering::SeqCst);
        // The first read asks again, however often it failed before.
        assert_ne!(world.read(path), "");
        assert_eq!((world.read("a/b"), world.read("f/2")), ("b\n".to_owned(), "f/2".to_owned()));
        assert_eq!(world.ok(&["status", "--porcelain"]), "");
    }
}

#[test]
fn a_deadline_of_nothing_is_refused() {
    let seen = world().0.refused(&["--read-deadline", "0"]);
    assert!(seen.contains("1..=86400"), "{seen}");
}

#[test]
fn a_remote_that_was_dead_for_long_is_asked_by_the_first_read_after_it() {
    let (world, how) = world();
    world.mount(IMPATIENT);
    how.store(GONE, Ordering::SeqCst);
    let file = world.mountpoint().join("a/b");
    assert_eio(fs::read(&file));
    world.wait("it is thought to be dead", |status| {
        assert_eio(fs::read(&file));
        status["hydration"]["is_remote_dead"] == true
    });
    how.store(ALIVE, Ordering::SeqCst);
    assert_eq!(fs::read(&file).unwrap(), b"b\n");
    assert_eq!(world.status().unwrap()["hydration"]["is_remote_dead"], false);
}

#[test]
fn many_readers_of_one_file_fail_and_later_ones_find_a_remote_that_is_back() {
    for dead in [GONE, SILENT] {
        let (world, how) = world();
        world.mount(IMPATIENT);
        how.store(dead, Ordering::SeqCst);
        let file = world.mountpoint().join("a/b");
        let readers: Vec<_> = (0..12)
            .map(|_| {
                let file = file.clone();
                thread::spawn(move || fs::read(file))
            })
            .collect();
        readers.into_iter().for_each(|reader| assert_eio(reader.join().unwrap()));
        how.store(ALIVE, Ordering::SeqCst);
        // What asked the silent one has to be given up first.
        let deadline = Instant::now() + DEADLINE;
        let is_refused = || fs::read(&file).map(|content| assert_ne!(content, b"")).is_err();
        while is_refused() {
            assert!(dead == SILENT && Instant::now() < deadline, "the first one asks the one that is back");
        }
    }
}
