//! What the background brings, in which order, and what holds it: stock git is the remote, and what it is asked for counts.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/world.rs"]
mod world;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cairn_conformance::front::{Asked, Deed, Front};
use cairn_conformance::git::run_command;
use cairn_conformance::host::Host;
use serde_json::Value;
use world::World;

const DEADLINE: Duration = Duration::from_secs(60);

/// Holds requests for contents until it is opened. Trees and sizes pass.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<(bool, usize)>, Condvar)>);

impl Gate {
    fn set(&self, is_shut: bool) {
        self.0.0.lock().unwrap().0 = is_shut;
        self.0.1.notify_all();
    }

    /// Requests that are held now.
    fn held(&self) -> usize {
        self.0.0.lock().unwrap().1
    }

    fn pass(&self, asked: &Asked) -> Deed {
        if is_for_contents(asked) {
            let mut state = self.0.0.lock().unwrap();
            state.1 += 1;
            while state.0 {
                state = self.0.1.wait(state).unwrap();
            }
            state.1 -= 1;
        }
        Deed::Pass
    }
}

fn is_for_contents(asked: &Asked) -> bool {
    asked.is_command("fetch") && !asked.body.windows(7).any(|part| part == b"filter ")
}

fn world(script: &str) -> (World, Gate) {
    let mut world = World::start(script);
    let gate = Gate::default();
    let rule = gate.clone();
    world.front = Front::plain(&world.host.origin(), move |asked| rule.pass(asked));
    (world, gate)
}

/// The paths whose contents were asked for, in order; those of one request as it names them.
fn asked_paths(world: &World) -> Vec<String> {
    let listed = world.git.run(&world.host.path("mounted"), &["ls-tree", "-r", "main"]).text();
    let paths: HashMap<&str, &str> = listed
        .lines()
        .map(|line| {
            let (facts, path) = line.split_once('\t').unwrap();
            (facts.split(' ').nth(2).unwrap(), path)
        })
        .collect();
    let mut found = Vec::new();
    for asked in world.front.asked().iter().filter(|asked| is_for_contents(asked)) {
        for part in String::from_utf8_lossy(&asked.body).split("want ").skip(1) {
            found.extend(paths.get(&part[..40]).map(|path| (*path).to_owned()));
        }
    }
    found
}

fn await_status(world: &World, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = world.status()["hydration"].clone();
        if holds(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what}: {status}");
        thread::yield_now();
    }
}

fn await_that(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

fn is_done(status: &Value) -> bool {
    status["background"] == 0 && status["waiting"] == 0 && status["fetched_blobs"] != 0
}

/// A project in which each file has a content of its own.
const PROJECT: &str = r#"
mkdir -p src/deep docs pack/one .github test/data img
for n in $(seq 1 120); do echo "fn f$n() {}" >src/deep/m$n.rs; done
for n in $(seq 1 30); do echo "def f$n(): pass" >src/s$n.py; done
for n in $(seq 1 40); do echo "text $n" >docs/t$n.txt; echo "{\"n\": $n}" >test/data/d$n.json; done
head -c 3000 /dev/urandom >img/logo.png
echo root-manifest >Cargo.toml; echo lock >Cargo.lock; echo '{"p":1}' >pack/one/package.json
echo read >README.md; echo read-one >pack/one/README; echo ci >.github/ci.yml; echo licence >LICENSE
git add -A && git commit -qm project
"#;

#[test]
fn manifests_come_first_then_what_people_read_then_settings_code_text_and_binaries_last() {
    let (world, _) = world(PROJECT);
    world.mount(&["--history", "lazy"]);
    await_status(&world, "all comes", is_done);
    let asked = asked_paths(&world);
    assert_eq!(asked.len(), asked.iter().collect::<HashSet<_>>().len(), "nothing is asked for twice");
    let at = |path: &str| asked.iter().position(|found| found == path).unwrap_or_else(|| panic!("{path}"));
    let first = ["Cargo.lock", "Cargo.toml", "pack/one/package.json", "README.md", "pack/one/README"];
    assert_eq!(asked[..5], first);
    let want =
        ["LICENSE", ".github/ci.yml", "src/deep/m1.rs", "src/s1.py", "docs/t1.txt", "test/data/d1.json"];
    let places = want.map(at);
    assert!(places.is_sorted(), "{want:?}: {places:?}");
    assert_eq!(at("img/logo.png"), asked.len() - 1);
    let requests = world.front.asked().iter().filter(|asked| is_for_contents(asked)).count();
    assert!((2..=4).contains(&requests), "a small request first, then larger ones: {requests}");
}

#[test]
fn a_scan_of_a_paused_mount_puts_each_blob_into_the_background_once() {
    let (world, gate) = world(PROJECT);
    gate.set(true);
    world.mount(&["--history", "lazy"]);
    await_that("the first request of the background", || gate.held() == 1);
    world.done(&["pause", world.mountpoint().to_str().unwrap()]);
    gate.set(false);
    let paused = await_status(&world, "the request ends", |status| status["waiting"] == 0);
    assert_eq!((paused["is_paused"].as_bool(), paused["fetched_blobs"].as_u64()), (Some(true), Some(64)));
    // Every folder is read, over and over, as grep does.
    for folder in ["src/deep", "src", "docs", "test/data", "src/deep", "docs"] {
        for entry in fs::read_dir(world.mountpoint().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::read(path).unwrap();
            }
        }
        let status = world.status()["hydration"].clone();
        let known = status["background"].as_u64().unwrap() + status["fetched_blobs"].as_u64().unwrap();
        assert!(known <= 238, "no blob stands there twice: {status}");
    }
    let asked = asked_paths(&world);
    assert_eq!(asked.len(), asked.iter().collect::<HashSet<_>>().len(), "nothing is asked for twice");
}

#[test]
fn a_paused_background_asks_for_nothing_and_what_is_prefetched_comes_first_when_it_goes_on() {
    let (world, gate) = world(PROJECT);
    let dir = world.mountpoint();
    gate.set(true);
    world.mount(&["--history", "lazy"]);
    await_that("the first request of the background", || gate.held() == 1);
    world.done(&["pause", dir.to_str().unwrap()]);
    gate.set(false);
    await_status(&world, "the request ends", |status| status["waiting"] == 0);
    let before = asked_paths(&world).len();
    // A read is served all the same; and it brings no more than its own folder.
    assert_eq!(fs::read_to_string(dir.join("docs/t7.txt")).unwrap(), "text 7\n");
    let read: Vec<String> = asked_paths(&world).split_off(before);
    assert!(read.iter().all(|path| path.starts_with("docs/")), "{read:?}");
    let out = world.driver(&["prefetch", dir.to_str().unwrap(), "test/data", "img/logo.png"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && text.contains("test/data: 40 files"), "{text}");
    let status = await_status(&world, "nothing is under way", |status| status["waiting"] == 0);
    assert!(status["background"].as_u64().unwrap() > 41);
    let before = asked_paths(&world).len();
    world.done(&["resume", dir.to_str().unwrap()]);
    await_status(&world, "all comes", is_done);
    let then = asked_paths(&world).split_off(before);
    assert_eq!(then[0], "img/logo.png", "what was asked for last comes first");
    assert!(then[1..41].iter().all(|path| path.starts_with("test/data/")), "{then:?}");
    let missing = world.driver(&["prefetch", dir.to_str().unwrap(), "no/such/place"]);
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such/place is not in the mounted commit"));
}

/// What was read a moment ago is held where the mount is not told of opens, and what is open where it is.
#[test]
fn a_collection_to_nothing_leaves_what_open_files_need() {
    for more in [&[][..], &["--passthrough"]] {
        collect_to_nothing(more);
    }
}

fn collect_to_nothing(more: &[&str]) {
    let (world, gate) = world(
        "for n in 1 2 3 4; do head -c 200000 /dev/urandom >big$n; echo small$n >small$n; done
        git add -A && git commit -qm files",
    );
    let dir = world.mountpoint();
    world.mount(&[&["--history", "lazy"], more].concat());
    await_status(&world, "all comes", is_done);
    let contents = |path: &str| {
        let shown = world.git.command(&world.host.path("mounted"), &["show", &format!("main:{path}")]);
        run_command(shown, b"").stdout
    };
    let open: Vec<_> = ["big1", "small1"].map(|path| (path, fs::File::open(dir.join(path)).unwrap())).into();
    if more.is_empty() {
        open.iter().for_each(|(_, file)| file.read_exact_at(&mut [0], 0).unwrap());
    }
    gate.set(true);
    let out = world.driver(&["gc", "--cache-limit", "0"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.starts_with("removed 6 files") && text.contains("kept 2 files, 200007 bytes"), "{text}");
    for (path, file) in &open {
        let mut seen = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut seen, 0).unwrap();
        assert_eq!(seen, contents(path), "{path} is read without the remote");
    }
    assert_eq!(gate.held(), 0);
    gate.set(false);
    assert_eq!(fs::read(dir.join("big2")).unwrap(), contents("big2"), "what is gone comes again");
}

#[test]
fn the_background_stops_before_its_part_of_the_disk_is_full_and_reads_go_on() {
    let (world, _) = world(
        "mkdir d e; for n in 1 2 3 4 5 6; do head -c 100000 /dev/urandom >d/f$n.bin; done
        head -c 1200000 /dev/urandom >e/last.bin; git add -A && git commit -qm files",
    );
    let dir = world.mountpoint();
    let cached = || {
        let folder = world.dir.path().join("c/blobs/sha1");
        let shelves = fs::read_dir(folder).into_iter().flatten().flatten();
        let files = shelves.flat_map(|shelf| fs::read_dir(shelf.path()).unwrap().flatten());
        files.map(|file| file.metadata().unwrap().len()).sum::<u64>()
    };
    world.mount(&["--history", "lazy", "--hydrate-limit", "350000"]);
    let full = await_status(&world, "the disk's part is full", |status| {
        status["is_disk_full"] == true && status["waiting"] == 0
    });
    assert_eq!((full["background"].as_u64(), full["fetched_blobs"].as_u64()), (Some(4), Some(3)));
    assert_eq!(cached(), 300_000);
    let said = world.driver(&["status", dir.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("may take no more of the disk"));
    for entry in fs::read_dir(dir.join("d")).unwrap() {
        assert_eq!(fs::read(entry.unwrap().path()).unwrap().len(), 100_000);
    }
    assert!(cached() >= 600_000, "what is read is kept, beyond the background's part");
    // What was read is held for a while: nobody tells the daemon of a close.
    await_that("nothing is in use", || {
        world.done(&["gc", "--cache-limit", "0"]);
        cached() == 0
    });
    world.unmount();
    // With room for all of it, all of it comes.
    world.mount(&["--history", "lazy", "--hydrate-limit", "4000000"]);
    await_status(&world, "all comes", is_done);
    assert_eq!(cached(), 1_800_000);
}

#[test]
fn a_full_background_goes_on_once_there_is_room() {
    let (world, _) = world(
        "for n in 1 2 3 4; do head -c 100000 /dev/urandom >f$n.bin; done
        git add -A && git commit -qm files",
    );
    let dir = world.mountpoint();
    world.mount(&["--history", "lazy", "--hydrate-limit", "250000"]);
    await_status(&world, "it is full", |status| status["is_disk_full"] == true && status["waiting"] == 0);
    assert!(world.driver(&["gc", "--cache-limit", "0"]).status.success());
    world.done(&["resume", dir.to_str().unwrap()]);
    let status =
        await_status(&world, "the rest comes", |status| status["background"] == 0 && status["waiting"] == 0);
    assert_eq!((status["fetched_blobs"].as_u64(), status["is_disk_full"].as_bool()), (Some(4), Some(false)));
}

#[test]
fn what_an_earlier_mount_read_comes_first_in_the_next_mount_of_the_remote() {
    let (world, _) = world(PROJECT);
    let dir = world.mountpoint();
    world.mount(&["--history", "lazy"]);
    await_status(&world, "all comes", is_done);
    let read = ["test/data/d9.json", "src/s3.py", "docs/t11.txt"];
    for path in read {
        fs::read(dir.join(path)).unwrap();
    }
    world.unmount();
    // The files are others in the next commit, and another folder shows it.
    let seed = world.dir.path().join("seed");
    let out = world.shell(
        &seed,
        "for f in test/data/d9.json src/s3.py; do echo more >>$f; done
        git commit -qam later",
    );
    assert!(out.ok(), "{}", out.errors());
    let place = world.host.path("mounted");
    let out = world.git.run(&place, &["fetch", "-q", seed.to_str().unwrap(), "+refs/*:refs/*"]);
    assert!(out.ok(), "{}", out.errors());
    assert!(world.driver(&["gc", "--cache-limit", "0"]).status.success());
    let (url, before) = (world.url("mounted"), asked_paths(&world).len());
    let other = world.dir.path().join("other");
    world.done(&["mount", &url, other.to_str().unwrap(), "--history", "lazy"]);
    await_that("all comes", || {
        let out = world.driver(&["status", "--json", other.to_str().unwrap()]);
        serde_json::from_slice::<Value>(&out.stdout).is_ok_and(|status| is_done(&status["hydration"]))
    });
    let asked = asked_paths(&world).split_off(before);
    world.done(&["unmount", other.to_str().unwrap()]);
    assert_eq!(asked[..3], read, "in the order in which they were read");
    assert_eq!(asked[3], "Cargo.lock", "then all the rest");
    let kept = fs::read_dir(world.dir.path().join("c/remotes")).unwrap().next().unwrap().unwrap();
    let list = fs::read(kept.path().join("read-order")).unwrap();
    assert!(list.starts_with(b"test/data/d9.json\0src/s3.py\0docs/t11.txt\0"));
}
