//! What of a remote is mounted: a state of the past, a ref, a depth, a required commit; and a mount that takes no changes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/map.rs"]
mod map;
#[path = "support/remotes.rs"]
mod remotes;

use std::fs;
use std::io::ErrorKind;

use cairn_conformance::fixture::Script;
use cairn_conformance::front::Deed;
use remotes::World;

fn history() -> Script {
    let mut script = Script::default();
    script
        .commit("main", &[], &[("README", "first\n")])
        .commit("main", &[], &[("README", "second\n")])
        .commit("main", &[], &[("README", "third\n"), ("late", "l\n")])
        .commit("side", &["refs/heads/main"], &[("side/one", "1\n")]);
    script
}

/// A work tree beside the mount, from which states are pushed one after the other.
fn push_states(world: &World) -> Vec<String> {
    let work = world.dir.path().join("work");
    fs::create_dir(&work).unwrap();
    let git = |args: &[&str]| {
        let out = world.git.run(&work, args);
        assert!(out.ok(), "git {args:?}: {}", out.errors());
        out.text()
    };
    git(&["init", "--quiet", "--initial-branch", "main"]);
    let mut commits = Vec::new();
    for (name, content) in [("README", "first\n"), ("README", "second\n"), ("late", "l\n")] {
        fs::write(work.join(name), content).unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", content]);
        git(&["push", "--quiet", &world.direct(), "main"]);
        commits.push(git(&["rev-parse", "HEAD"]));
    }
    commits
}

/// The entry of the log after which the remote's branch names `commit`.
fn entry_of(world: &World, commit: &str) -> String {
    let is_it = |entry: &u32| {
        let option = format!("--server-option=at={entry}");
        let args = ["-c", "protocol.version=2", "ls-remote", &option, &world.direct(), "refs/heads/main"];
        world.git.run(world.dir.path(), &args).text().starts_with(commit)
    };
    (1..20).find(is_it).expect("the log has an entry for each push").to_string()
}

#[test]
fn a_mount_at_an_entry_of_the_log_shows_that_state_and_pushes_as_any_clone() {
    let world = World::cairn();
    let commits = push_states(&world);
    let entry = entry_of(&world, &commits[1]);
    world.mount(&["--at", &entry]);
    assert_eq!(world.read("README"), "second\n");
    assert!(!world.mountpoint().join("late").exists());
    assert_eq!(world.status().unwrap()["commit"], commits[1].as_str());
    assert_eq!(world.ok(&["rev-parse", "HEAD", "origin/main"]), format!("{0}\n{0}", commits[1]));
    assert_eq!(world.ok(&["status", "--porcelain"]), "");

    fs::write(world.mountpoint().join("README"), "mine\n").unwrap();
    world.ok(&["commit", "--quiet", "--all", "--message", "mine"]);
    let out = world.git.run(&world.mountpoint(), &["push", "--quiet", "origin", "main"]);
    assert!(!out.ok() && out.errors().contains("rejected"), "the remote is ahead: {}", out.errors());
    world.ok(&["push", "--quiet", "origin", "main:refs/heads/mine"]);
    world.ok(&["fetch", "--quiet", "origin"]);
    assert_eq!(world.ok(&["rev-parse", "origin/main"]), commits[2]);
    world.ok(&["rebase", "--quiet", "origin/main"]);
    world.ok(&["push", "--quiet", "origin", "main"]);
    assert_eq!(world.read("late"), "l\n");
    world.unmount();

    let seen = world.refused(&[]);
    assert!(
        seen.contains("holds the changes of a mount of") && seen.contains(&format!("at {entry}")),
        "{seen}"
    );
    world.mount(&["--at", &entry]);
    assert_eq!(world.read("README"), "mine\n");
}

#[test]
fn an_entry_or_time_that_is_none_is_refused_in_the_servers_words() {
    let world = World::cairn();
    push_states(&world);
    let seen = world.refused(&["--at", "yesterday"]);
    assert!(seen.contains("the remote says: at "), "{seen}");
    let seen = world.refused(&["--at", "1\n2"]);
    assert!(seen.contains("printable"), "{seen}");
    assert!(world.status().is_none());
}

#[test]
fn a_remote_without_server_options_cannot_show_the_past() {
    // Stock git offers them; a host that does not is one whose advertisement says another word.
    let world = World::stock(&history(), |_| Deed::Swap(b"server-option", b"server-absent"));
    let seen = world.refused(&["--at", "1"]);
    assert!(seen.contains("does not offer server options") && seen.contains("at=1"), "{seen}");
    world.mount(&[]);
    assert_eq!(world.read("README"), "third\n");
}

#[test]
fn branches_tags_and_full_names_are_mounted() {
    let world = World::stock(&history(), |_| Deed::Pass);
    let bare = world.bare();
    for args in
        [["tag", "-a", "-m", "t", "v1", "main~1"].as_slice(), &["update-ref", "refs/heads/v2", "main~2"]]
    {
        let out = world.git.run(&bare, args);
        assert!(out.ok(), "{}", out.errors());
    }
    for (name, content, head) in [
        ("side", "third\n", "side"),
        ("v1", "second\n", "HEAD"),
        ("refs/tags/v1", "second\n", "HEAD"),
        ("refs/heads/v2", "first\n", "v2"),
    ] {
        world.mount(&["--ref", name]);
        assert_eq!(world.read("README"), content, "{name}");
        assert_eq!(world.ok(&["rev-parse", "--abbrev-ref", "HEAD"]), head, "{name}");
        assert_eq!(world.ok(&["status", "--porcelain"]), "", "{name}");
        world.unmount();
        fs::remove_dir_all(world.cache().join("mounts")).unwrap();
    }
    let seen = world.refused(&["--ref", "nowhere"]);
    assert!(seen.contains("there is no ref nowhere"), "{seen}");
}

#[test]
fn a_depth_is_kept_and_the_background_leaves_it() {
    let world = World::stock(&history(), |_| Deed::Pass);
    world.mount(&["--depth", "2"]);
    assert_eq!(world.ok(&["log", "--format=%h"]).lines().count(), 2);
    assert_eq!(world.ok(&["rev-parse", "--is-shallow-repository"]), "true");
    world.ok(&["fetch", "--quiet", "--unshallow"]);
    assert_eq!(world.ok(&["log", "--format=%h"]).lines().count(), 3);
    world.unmount();
    let seen = world.refused(&["--depth", "0"]);
    assert!(seen.contains("at least 1"), "{seen}");
}

#[test]
fn the_required_commit_is_mounted_and_every_other_is_refused() {
    let world = World::stock(&history(), |_| Deed::Pass);
    let commit = world.git.run(&world.bare(), &["rev-parse", "main"]).text();
    let other = world.git.run(&world.bare(), &["rev-parse", "main~1"]).text();
    let seen = world.refused(&["--require-commit", &other]);
    assert!(seen.contains(&commit) && seen.contains(&other), "{seen}");
    assert!(!world.mountpoint().join("README").exists());
    world.mount(&["--require-commit", &commit.to_uppercase()]);
    assert_eq!(world.read("README"), "third\n");
    world.unmount();
    let seen = world.refused(&["--require-commit", &other]);
    assert!(seen.contains("is required"), "what was mounted before counts too: {seen}");
}

#[test]
fn a_read_only_mount_refuses_every_change_of_the_tree() {
    let world = World::stock(&history(), |_| Deed::Pass);
    world.mount(&["--read-only"]);
    let at = |name: &str| world.mountpoint().join(name);
    assert_eq!(world.read("README"), "third\n");
    let refused = |outcome: std::io::Result<()>, what: &str| {
        assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::ReadOnlyFilesystem), "{what}");
    };
    refused(fs::write(at("README"), "x"), "write");
    refused(fs::write(at("new"), "x"), "create");
    refused(fs::create_dir(at("folder")), "mkdir");
    refused(fs::remove_file(at("README")), "unlink");
    refused(fs::rename(at("README"), at("other")), "rename");
    refused(std::os::unix::fs::symlink("README", at("link")), "symlink");
    assert_eq!(world.ok(&["status", "--porcelain"]), "");
    assert_eq!(world.ok(&["log", "-1", "--format=%T"]), world.ok(&["write-tree"]));
}

#[test]
fn a_read_only_mount_shows_what_is_cold_changed_large_mapped_or_evicted_while_it_is_open() {
    let mut script = history();
    let large: String = (0..60_000).map(|nth| format!("{nth}\n")).collect();
    script.commit("main", &[], &[("large", &large), ("small", "small\n"), ("changed", "old\n")]);
    let world = World::stock(&script, |_| Deed::Pass);
    let at = |name: &str| world.mountpoint().join(name);
    world.mount(&[]);
    fs::write(at("changed"), "new and longer\n").unwrap();
    world.unmount();
    world.mount(&["--read-only", "--history", "lazy"]);
    for _ in 0..2 {
        assert_eq!(world.read("changed"), "new and longer\n");
        assert_eq!(world.read("small"), "small\n");
        assert!(world.read("large") == large);
    }
    let (small, file) = (fs::File::open(at("small")).unwrap(), fs::File::open(at("large")).unwrap());
    let mapped = map::private(&file, large.len()).unwrap();
    world.done(&["gc", "--cache-limit", "0"]);
    assert!(mapped[..] == *large.as_bytes());
    let mut seen = vec![0; large.len()];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut seen, 0).unwrap();
    assert!(seen == large.as_bytes());
    assert_eq!(std::io::read_to_string(small).unwrap(), "small\n");
    assert!(fs::read_to_string(at("none")).is_err() && fs::read(at("")).is_err());
    assert_eq!(world.ok(&["status", "--porcelain"]), " M changed");
    assert_eq!(world.status().unwrap()["dirty_files"], 1);
}
