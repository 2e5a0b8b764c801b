//! Trees of a few objects and of more paths than anyone can visit.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remotes.rs"]
mod remotes;

use std::fs;
use std::path::PathBuf;

use cairn_conformance::fixture::Script;
use remotes::World;

/// Twenty trees, each of which has the one before it twenty times: 20^20 paths. `LEAF` is a line of `git mktree`.
const BOMB: &str = r#"
    blob=$(echo leaf | git hash-object -w --stdin)
    tree=$(printf "$LEAF" | sed "s/BLOB/$blob/" | git mktree)
    for level in $(seq 20); do
        tree=$(for nth in $(seq 10 29); do printf '040000 tree %s\td%s\n' $tree $nth; done | git mktree)
    done
    git update-ref refs/heads/main $(git -c user.name=b -c user.email=b@b commit-tree -m bomb $tree)"#;

/// So many bytes may the daemon take at any time, as for a million files; a bomb takes all that there is.
const RESIDENT_BYTES_MAX: u64 = 1 << 30;

fn bombed(leaf: &str) -> World {
    let mut script = Script::default();
    script.commit("main", &[], &[("before", "b\n")]);
    let world = World::stock(&script, |_| cairn_conformance::front::Deed::Pass);
    let mut make = world.command("sh");
    let out = make.args(["-ec", BOMB]).env("LEAF", leaf).current_dir(world.bare()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    world
}

fn resident_bytes(world: &World) -> u64 {
    let pid = &world.status().unwrap()["pid"];
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn deepest(world: &World, nth: u32) -> PathBuf {
    let mut path = world.mountpoint();
    path.extend((0..20).map(|level| format!("d{}", 10 + (level + nth) % 20)));
    path
}

#[test]
fn a_tree_of_more_paths_than_anyone_can_visit_mounts_and_answers() {
    let world = bombed("100644 blob BLOB\\tleaf\n");
    world.mount(&[]);
    assert_eq!(fs::read_dir(world.mountpoint()).unwrap().count(), 21, "with .git");
    for nth in 0..20 {
        assert_eq!(fs::read_to_string(deepest(&world, nth).join("leaf")).unwrap(), "leaf\n");
    }
    fs::write(deepest(&world, 3).join("new"), "n\n").unwrap();
    assert_eq!(fs::read_to_string(deepest(&world, 3).join("new")).unwrap(), "n\n");
    assert!(!deepest(&world, 4).join("new").exists(), "it is one place of those that share a tree");
    let resident = resident_bytes(&world);
    println!("{} MiB at most", resident >> 20);
    assert!(resident < RESIDENT_BYTES_MAX, "{resident} bytes were resident");
}

#[test]
fn a_tree_of_nothing_but_folders_mounts_and_answers() {
    let world = bombed("");
    world.mount(&[]);
    let dir = world.mountpoint();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 21, "with .git");
    assert_eq!(fs::read_dir(deepest(&world, 7)).unwrap().count(), 0);
    // All below it has no end; what is looked for has one.
    world.done(&["prefetch", dir.to_str().unwrap(), "d10"]);
    let resident = resident_bytes(&world);
    println!("{} MiB at most", resident >> 20);
    assert!(resident < RESIDENT_BYTES_MAX, "{resident} bytes were resident");
}
