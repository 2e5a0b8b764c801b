//! How many requests a walk through a cold mount costs: the front before the remote counts them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remotes.rs"]
mod remotes;

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};

use cairn_conformance::fixture::Script;
use cairn_conformance::front::{Asked, Deed};
use remotes::World;

/// No history; and nothing comes that nobody waits for, so that all requests are for what was asked for.
const ONLY_ASKED: &[&str] = &["--history", "lazy", "--hydrate-limit", "0"];
/// Of 64, 256 and 1,024 files and of the rest, and the one that opens its connection.
const REQUESTS_OF_THE_BACKGROUND: usize = 5;
const WITH_BACKGROUND: &[&str] = &["--history", "lazy"];

/// 1,600 files in 80 folders, some in others; each has a size of its own.
fn script() -> Script {
    let mut files =
        vec![("README".to_owned(), "first\n".to_owned()), ("z.txt".to_owned(), "last\n".to_owned())];
    for folder in 0..80 {
        for file in 0..20 {
            let deep = if folder % 3 == 0 { "/in/deep" } else { "" };
            let path = format!("d{:02}{deep}/s{folder:02}/f{file:02}.c", folder / 8);
            files.push((path, format!("{folder} {file}\n").repeat(1 + folder + file)));
        }
    }
    let mut script = Script::default();
    let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
    script.commit("main", &[], &files);
    script
}

fn without_sizes(asked: &Asked) -> Deed {
    match asked.method.as_str() {
        "GET" => Deed::Swap(b"object-info", b"object-none"),
        _ => Deed::Pass,
    }
}

/// What `ls -lR` tells of each file: its path and its size.
fn list_all(world: &World) -> HashMap<String, u64> {
    let mut command = Command::new("ls");
    command.args(["-lR", "."]).current_dir(world.mountpoint()).env_clear().env("LC_ALL", "C");
    let out = command.env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let (mut folder, mut found) = (String::new(), HashMap::new());
    for line in String::from_utf8(out.stdout).unwrap().lines() {
        if let Some(name) = line.strip_suffix(':') {
            folder = name.trim_start_matches("./").trim_start_matches('.').to_owned();
        } else if line.starts_with('-') {
            let words: Vec<&str> = line.split_whitespace().collect();
            let path = if folder.is_empty() { words[8].to_owned() } else { format!("{folder}/{}", words[8]) };
            found.insert(path, words[4].parse().unwrap());
        }
    }
    found
}

/// What git tells of them.
fn sizes_of(world: &World) -> HashMap<String, u64> {
    let listed = world.git.run(&world.bare(), &["ls-tree", "-r", "-l", "main"]).text();
    let size_and_path = |line: &str| {
        let (facts, path) = line.split_once('\t').unwrap();
        (path.to_owned(), facts.split_whitespace().nth(3).unwrap().parse().unwrap())
    };
    listed.lines().map(size_and_path).collect()
}

fn requests(world: &World) -> usize {
    world.front.asked().len()
}

#[test]
fn a_cold_listing_with_sizes_costs_few_requests_where_the_remote_tells_no_sizes() {
    for (how, most) in [(ONLY_ASKED, 10), (WITH_BACKGROUND, 10 + REQUESTS_OF_THE_BACKGROUND)] {
        let world = World::stock(&script(), without_sizes);
        world.mount(how);
        let before = requests(&world);
        assert_eq!(list_all(&world), sizes_of(&world));
        let cost = requests(&world) - before;
        assert!(cost <= most, "{how:?}: {cost} requests");
        assert!(!world.front.asked().iter().any(|asked| asked.is_command("object-info")));
    }
}

#[test]
fn a_cold_listing_with_sizes_costs_one_request_for_sizes_where_the_remote_tells_them_and_no_content() {
    let world = World::stock(&script(), |_| Deed::Pass);
    world.mount(ONLY_ASKED);
    let before = requests(&world);
    assert_eq!(list_all(&world), sizes_of(&world));
    assert_eq!(requests(&world) - before, 0, "they came with the mount");
    let sizes = world.front.asked().iter().filter(|asked| asked.is_command("object-info")).count();
    assert_eq!(sizes, 1);
    assert_eq!(world.status().unwrap()["hydration"]["fetched_blobs"], 0);
}

#[test]
fn files_that_are_converted_are_measured_in_few_requests() {
    let world = World::stock(&script(), |_| Deed::Pass);
    fs::write(world.dir.path().join("gitconfig"), "[core]\n\tautocrlf = true\n").unwrap();
    world.mount(ONLY_ASKED);
    let before = requests(&world);
    let found = list_all(&world);
    let cost = requests(&world) - before;
    assert!(cost <= 10, "{cost} requests");
    assert_eq!(found["README"], 7, "a line end has two bytes");
    assert_eq!(
        found["d00/s01/f02.c"],
        fs::read(world.mountpoint().join("d00/s01/f02.c")).unwrap().len() as u64
    );
    assert_eq!(requests(&world) - before, cost, "the content is here already");
    assert_eq!(world.ok(&["status", "--porcelain"]), "");
}

#[test]
fn git_that_reads_all_objects_of_a_cold_mount_costs_few_requests() {
    let cases: [&[&str]; 3] = [
        &["fsck", "--strict"],
        &["diff", "--numstat", "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "HEAD"],
        &["grep", "--cached", "-c", "first"],
    ];
    for args in cases {
        let world = World::stock(&script(), |_| Deed::Pass);
        world.mount(ONLY_ASKED);
        let before = requests(&world);
        world.ok(args);
        let cost = requests(&world) - before;
        assert!((1..=10).contains(&cost), "{args:?}: {cost} requests");
    }
}
