//! What `cairn-fs` tells: the shape of its status, where HEAD is, what is here, whoever brought it; and progress at a terminal.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remotes.rs"]
mod remotes;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cairn_conformance::fixture::{Script, lines};
use cairn_conformance::front::Deed;
use remotes::{World, held};
use serde_json::{Value, json};

const ONLY_ASKED: &[&str] = &["--history", "lazy", "--hydrate-limit", "0"];

/// Four contents in five files; one of them is empty.
fn script() -> Script {
    let mut script = Script::default();
    let long = lines(1, 900);
    let files = [("README", "first\n"), ("a/long", &long), ("b/again", "first\n"), ("c/d", "d\n"), ("e", "")];
    script.commit("main", &[], &files);
    script
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_status_has_the_shape_that_the_manual_tells() {
    let world = World::stock(&script(), |_| Deed::Pass);
    world.mount(ONLY_ASKED);
    let status = world.status().unwrap();
    let all = [
        "state",
        "remote",
        "dir",
        "commit",
        "branch",
        "head",
        "pid",
        "hydrated",
        "hydration",
        "dirty_files",
        "dirty_bytes",
        "warnings",
        "history_error",
    ];
    assert_eq!(keys(&status), all.into());
    let hydration = [
        "fetched_blobs",
        "fetched_bytes",
        "requests",
        "waiting",
        "background",
        "is_paused",
        "is_disk_full",
        "is_remote_dead",
        "last_error",
    ];
    assert_eq!(keys(&status["hydration"]), hydration.into());
    assert_eq!(keys(&status["hydrated"]), ["blobs", "bytes", "of_blobs"].into());
    assert_eq!(keys(&status["head"]), ["commit", "branch"].into());
    assert_eq!((&status["state"], &status["remote"]), (&json!("ready"), &json!(world.url())));
    fs::write(world.mountpoint().join("new"), "four").unwrap();
    world.wait("the change is counted", |s| s["dirty_files"] == 1 && s["dirty_bytes"] == 4);
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/mount.md")).unwrap();
    for key in all.into_iter().chain(hydration) {
        assert!(manual.contains(&format!("`{key}`")), "docs/mount.md does not tell of {key}");
    }
}

#[test]
fn what_the_cache_had_before_counts_as_here_and_not_as_fetched() {
    let world = World::stock(&script(), |_| Deed::Pass);
    world.mount(ONLY_ASKED);
    assert_eq!(
        world.status().unwrap()["hydrated"],
        json!({"blobs": 1, "bytes": 0, "of_blobs": 4}),
        "the empty one"
    );
    world.read("README");
    world.read("c/d");
    let here = json!({"blobs": 3, "bytes": 8, "of_blobs": 4});
    // Small files of a folder come along, and README stands in two.
    assert_eq!(world.status().unwrap()["hydrated"], here);
    world.unmount();
    fs::remove_dir_all(world.cache().join("mounts")).unwrap();
    world.mount(ONLY_ASKED);
    let status = world.status().unwrap();
    assert_eq!((&status["hydrated"], &status["hydration"]["fetched_blobs"]), (&here, &json!(0)));
    world.done(&["gc", "--cache-limit", "0"]);
    world.wait("what is gone is not here", |status| status["hydrated"]["blobs"] == 1);
    let text =
        String::from_utf8(world.driver(&["status", world.mountpoint().to_str().unwrap()]).stdout).unwrap();
    assert!(text.contains("here     1 of 4 files, 0 bytes"), "{text}");
}

#[test]
fn all_is_here_where_the_remote_sends_all_at_once() {
    let world = World::stock(&script(), |asked| match asked.method.as_str() {
        "GET" => Deed::Swap(b"filter", b"nothin"),
        _ => Deed::Pass,
    });
    world.mount(ONLY_ASKED);
    let here = json!({"blobs": 4, "bytes": 6 + lines(1, 900).len() + 2, "of_blobs": 4});
    assert_eq!(world.status().unwrap()["hydrated"], here);
}

#[test]
fn the_head_of_the_status_is_that_of_git_wherever_it_goes() {
    let world = World::stock(&script(), |_| Deed::Pass);
    world.mount(ONLY_ASKED);
    let first = world.ok(&["rev-parse", "HEAD"]);
    let check = |what: &str, branch: Option<&str>| {
        let status = world.status().unwrap();
        let commit = world.ok(&["rev-parse", "HEAD"]);
        assert_eq!(status["head"], json!({"commit": commit, "branch": branch}), "{what}");
        assert_eq!((&status["commit"], &status["branch"]), (&json!(first), &json!("main")), "{what}");
    };
    check("as mounted", Some("main"));
    fs::write(world.mountpoint().join("new"), "n\n").unwrap();
    world.ok(&["add", "new"]);
    world.ok(&["commit", "--quiet", "--message", "new"]);
    check("after a commit", Some("main"));
    world.ok(&["checkout", "--quiet", "-b", "team/topic"]);
    check("on another branch", Some("team/topic"));
    world.ok(&["pack-refs", "--all"]);
    check("with packed refs", Some("team/topic"));
    world.ok(&["checkout", "--quiet", "--detach"]);
    check("detached", None);
    world.ok(&["checkout", "--quiet", "--orphan", "empty"]);
    assert_eq!(world.status().unwrap()["head"], json!({"commit": null, "branch": "empty"}));
    fs::write(world.mountpoint().join(".git/HEAD"), "ref: ../../outside\n").unwrap();
    assert_eq!(world.status().unwrap()["head"], Value::Null, "what is no ref is not followed");
    fs::write(world.mountpoint().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    check("repaired", Some("main"));
}

#[test]
fn who_mounts_at_a_terminal_sees_what_is_being_done_until_it_is() {
    let (open, rule) = held();
    let world = World::stock(&script(), rule);
    let (url, dir) = (world.url(), world.mountpoint());
    let line =
        format!("exec '{}' mount '{url}' '{}' --history lazy", env!("CARGO_BIN_EXE_cairn-fs"), dir.display());
    let mut command = world.command("script");
    command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
    command.env("TERM", "xterm").stdout(Stdio::piped());
    let mut mounting = command.spawn().expect("script(1) of util-linux gives it a terminal");
    let mut terminal = mounting.stdout.take().unwrap();
    let (mut seen, mut open) = (Vec::new(), Some(open));
    let mut buffer = [0; 4096];
    loop {
        let got = terminal.read(&mut buffer).unwrap();
        if got == 0 {
            break;
        }
        seen.extend_from_slice(&buffer[..got]);
        if String::from_utf8_lossy(&seen).contains("fetching the commit and its trees") {
            open = None;
        }
    }
    assert!(mounting.wait().unwrap().success());
    assert!(open.is_none(), "nothing was told: {}", String::from_utf8_lossy(&seen));
    let commit = world.ok(&["rev-parse", "HEAD"]);
    let last = format!("mounted {commit} at {}", dir.display());
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(text.trim_end().ends_with(&last), "the progress is taken away: {text:?}");
}

#[test]
fn who_mounts_from_a_script_is_told_the_outcome_only() {
    let world = World::stock(&script(), |_| Deed::Pass);
    let out = world.try_mount(&["--history", "lazy"]);
    let commit = world.ok(&["rev-parse", "HEAD"]);
    let told = format!("mounted {commit} at {}\n", world.mountpoint().display());
    assert_eq!((String::from_utf8(out.stderr).unwrap(), out.stdout), (told, Vec::new()));
}

#[test]
fn what_is_in_use_is_unmounted_once_it_is_not() {
    let world = World::stock(&script(), |_| Deed::Pass);
    world.mount(ONLY_ASKED);
    let dir = world.mountpoint();
    let file = fs::File::open(dir.join("README")).unwrap();
    let mut unmount = world.driver_command(&["unmount", dir.to_str().unwrap()]).spawn().unwrap();
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        assert!(unmount.try_wait().unwrap().is_none(), "nothing goes while it is in use");
        assert!(dir.join("README").exists());
    }
    drop(file);
    assert!(unmount.wait().unwrap().success());
    assert!(!dir.join("README").exists());
}
