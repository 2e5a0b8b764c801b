//! `--async`: who looks into the folder waits for the tree, and nothing comes to lie below the mount.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remotes.rs"]
mod remotes;

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use cairn_conformance::fixture::Script;
use cairn_conformance::front::{Asked, Deed};
use remotes::World;

fn script() -> Script {
    let mut script = Script::default();
    script.commit("main", &[], &[("README", "first\n"), ("a/b", "b\n")]);
    script
}

/// A rule that holds the first fetch until the sender is dropped.
fn held() -> (Sender<()>, impl Fn(&Asked) -> Deed + Send + Sync) {
    let (open, wait): (_, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let rule = move |asked: &Asked| {
        if asked.is_command("fetch") {
            // Ends with an error once the sender is gone.
            let _ = wait.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        Deed::Pass
    };
    (open, rule)
}

#[test]
fn who_looks_in_at_once_waits_and_sees_the_whole_tree() {
    let (open, rule) = held();
    let world = World::stock(&script(), rule);
    world.mount(&["--async"]);
    assert_eq!(world.status().unwrap()["state"], "preparing");
    let dir = world.mountpoint();
    let listing = thread::spawn({
        let dir = dir.clone();
        move || {
            let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort_unstable();
            names
        }
    });
    let writing = thread::spawn({
        let file = dir.join("new");
        move || fs::write(file, "n\n")
    });
    drop(open);
    let names = listing.join().unwrap();
    assert!([".git", "README", "a"].iter().all(|name| names.iter().any(|n| n == name)), "{names:?}");
    writing.join().unwrap().unwrap();
    assert_eq!(world.read("a/b"), "b\n");
    world.wait("ready", |status| status["state"] == "ready");
    assert_eq!(world.ok(&["status", "--porcelain"]), "?? new");
    world.unmount();
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "nothing lies below the mount");
}

#[test]
fn a_preparation_that_fails_ends_the_wait_and_leaves_a_plain_folder() {
    let (open, rule) = held();
    let world = World::stock(&script(), move |asked| match rule(asked) {
        Deed::Pass if asked.is_command("fetch") => Deed::Say(403, Vec::new(), Vec::new()),
        deed => deed,
    });
    world.mount(&["--async"]);
    let file = world.mountpoint().join("new");
    let writing = thread::spawn(move || fs::write(file, "n\n"));
    // The write waits in the kernel, or comes when the mount is gone again and goes into the plain folder.
    drop(open);
    world.wait("failed", |status| status["state"] == "failed");
    let _ = writing.join().unwrap();
    let why = world.status().unwrap()["hydration"]["last_error"].as_str().unwrap().to_owned();
    assert!(why.contains("403"), "{why}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(world.mountpoint().to_str().unwrap()), "it is not mounted");
    world.unmount();
    assert!(world.status().is_none());
}

#[test]
fn a_mount_that_is_being_prepared_can_be_unmounted() {
    let (open, rule) = held();
    let world = World::stock(&script(), rule);
    world.mount(&["--async"]);
    let dir = world.mountpoint();
    let waiting = thread::spawn({
        let dir = dir.clone();
        move || fs::symlink_metadata(dir.join("README"))
    });
    world.unmount();
    assert!(waiting.join().unwrap().is_err(), "the wait has ended");
    assert!(world.status().is_none());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    drop(open);
    world.mount(&[]);
    assert_eq!(world.read("README"), "first\n");
}
