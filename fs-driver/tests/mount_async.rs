//! `--async`: who looks into the folder waits for the tree, and nothing comes to lie below the mount.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remotes.rs"]
mod remotes;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use cairn_conformance::fixture::Script;
use cairn_conformance::front::Deed;
use remotes::{DEADLINE, World, held, held_from};
use tempfile::TempDir;

fn script() -> Script {
    let mut script = Script::default();
    script.commit("main", &[], &[("README", "first\n"), ("a/b", "b\n")]);
    script
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

/// A thread that does something in the mount, which was seen to wait there.
fn waiting<T: Send + 'static>(deed: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let (tell, told) = channel();
    let thread = thread::spawn(move || {
        tell.send(fs::read_link("/proc/thread-self").unwrap()).unwrap();
        deed()
    });
    let stat = Path::new("/proc").join(told.recv().unwrap()).join("stat");
    // It has told its number: if it waits for anything now, then in the kernel for the mount.
    let waits = || {
        let stat = fs::read_to_string(&stat).unwrap();
        matches!(stat.rsplit_once(") ").unwrap().1.as_bytes()[0], b'S' | b'D')
    };
    let deadline = Instant::now() + DEADLINE;
    while !waits() {
        assert!(Instant::now() < deadline, "it does not wait");
        thread::yield_now();
    }
    thread
}

fn code<T>(outcome: std::io::Result<T>) -> Option<i32> {
    outcome.err().and_then(|error| error.raw_os_error())
}

/// Who waits in a mount that fails is told `EIO`, all of them, and the folder is a plain one again.
fn assert_all_are_told(world: &World, fail: impl FnOnce(), why: &str) {
    let dir = world.mountpoint();
    assert_eq!(world.status().unwrap()["state"], "preparing");
    let at = |name: &str| dir.join(name);
    let (new, name, made, link) = (at("new"), at("README"), at("made"), at("link"));
    let folder = dir.clone();
    let mut all = vec![
        waiting(move || code(fs::write(new, "n\n"))),
        waiting(move || code(fs::symlink_metadata(name))),
        waiting(move || code(fs::create_dir(made))),
        waiting(move || code(std::os::unix::fs::symlink("to", link))),
        waiting(move || code(fs::read_dir(folder).and_then(|mut list| list.next().transpose()))),
    ];
    all.extend((0..40).map(|nth| {
        let file = at(&nth.to_string());
        waiting(move || code(fs::read(file)))
    }));
    fail();
    let told: Vec<_> = all.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(told, vec![Some(rustix::io::Errno::IO.raw_os_error()); told.len()]);
    world.wait("failed", |status| status["state"] == "failed");
    let seen = world.status().unwrap()["hydration"]["last_error"].as_str().unwrap().to_owned();
    assert!(seen.contains(why), "{seen}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "it is not mounted");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nothing lies below");
    world.unmount();
    assert!(world.status().is_none());
}

#[test]
fn a_preparation_that_fails_tells_all_who_wait_and_leaves_a_plain_folder() {
    let (open, rule) = held();
    let world = World::stock(&script(), move |asked| match rule(asked) {
        Deed::Pass if asked.is_command("fetch") => Deed::Say(403, Vec::new(), Vec::new()),
        deed => deed,
    });
    world.mount(&["--async"]);
    assert_all_are_told(&world, || drop(open), "403");
}

#[test]
fn a_preparation_that_takes_too_long_fails_for_all_who_wait() {
    let (open, rule) = held();
    let world = World::stock(&script(), rule);
    world.mount(&["--async", "--prepare-deadline", "3"]);
    assert_all_are_told(&world, || {}, "not ready after 3 s (--prepare-deadline)");
    drop(open);
    world.mount(&["--prepare-deadline", "3600"]);
    assert_eq!(world.read("README"), "first\n");
}

/// The one child of a process.
fn child_of(pid: i32) -> i32 {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().unwrap();
        }
        assert!(Instant::now() < deadline, "{pid} has no child");
        thread::yield_now();
    }
}

#[test]
fn a_signal_before_it_is_ready_ends_it_for_all_who_wait_whatever_it_waits_for() {
    let mut script = script();
    script.commit("main", &[], &[(".gitignore", "x\n"), ("README", "first\n")]);
    // The commit with its trees, then what git reads first.
    for (fetches, to_supervisor) in [(0, true), (0, false), (1, true), (1, false)] {
        let (open, rule) = held_from(fetches);
        let world = World::stock(&script, rule);
        world.mount(&["--async"]);
        let fetched = || world.front.asked().iter().filter(|asked| asked.is_command("fetch")).count();
        let deadline = Instant::now() + DEADLINE;
        while fetched() <= fetches {
            assert!(Instant::now() < deadline, "it asks for nothing");
            thread::yield_now();
        }
        let supervisor = world.status().unwrap()["pid"].as_i64().unwrap() as i32;
        let signalled = if to_supervisor { supervisor } else { child_of(supervisor) };
        let signal = || {
            let pid = rustix::process::Pid::from_raw(signalled).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        };
        assert_all_are_told(&world, signal, "ended before it was ready");
        drop(open);
        world.mount(&[]);
        assert_eq!(world.read("README"), "first\n", "{fetches} {to_supervisor}");
        world.unmount();
    }
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
    let told = code(waiting.join().unwrap());
    // Whether it came to wait before the end or after is not known.
    assert!(
        [rustix::io::Errno::IO, rustix::io::Errno::NOENT]
            .map(|errno| Some(errno.raw_os_error()))
            .contains(&told),
        "the wait has ended: {told:?}"
    );
    assert!(world.status().is_none());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    drop(open);
    world.mount(&[]);
    assert_eq!(world.read("README"), "first\n");
}

/// A user who is not root, with a `/dev/fuse` that he may open: where it is for root alone, another one in a mount namespace
/// of the test's own. `None` where this is not root, or root may not do that here.
struct User {
    script: String,
    home: TempDir,
}

const NOBODY: u32 = 65_534;

impl User {
    fn new() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        if !rustix::process::geteuid().is_root() {
            eprintln!("left out: only root can become another user");
            return None;
        }
        std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let dev = home.path().join("dev").display().to_string();
        let script = format!(
            "mkdir -p '{dev}'; mount -t tmpfs none '{dev}'; mknod -m 666 '{dev}/fuse' c 10 229
            mount --bind '{dev}/fuse' /dev/fuse
            exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups sh -ec "
        );
        let user = Self { script, home };
        let out = user.command(": </dev/fuse && command -v fusermount3").output().unwrap();
        if !out.status.success() {
            eprintln!("left out: {}", String::from_utf8_lossy(&out.stderr));
            return None;
        }
        Some(user)
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", &format!("{} \"$0\"", self.script), script]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("LC_ALL", "C");
        command.env("HOME", self.home.path()).env("CAIRN_FS_CACHE", self.home.path().join("c"));
        command.env("XDG_RUNTIME_DIR", self.home.path().join("run")).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("DRIVER", env!("CARGO_BIN_EXE_cairn-fs")).env("M", self.home.path().join("m"));
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }
}

/// What a user sees in front of a gate that `open` opens: the lines that his script prints after it began to wait.
fn seen_by_user(user: &User, world: &World, script: &str, open: Sender<()>) -> Vec<String> {
    let script = format!(
        r#"mkdir -p "$HOME/run"; "$DRIVER" mount --async "$URL" "$M" --history lazy
        grep -c " $M fuse.cairn " /proc/self/mounts; "$DRIVER" status "$M" | head -1 | grep -o preparing
        cat "$M/README" >"$HOME/seen" 2>&1 & echo $!; wait $! || :; cat "$HOME/seen"
        {script}"#
    );
    let mut command = user.command(&script);
    let mut running = command.env("URL", world.url()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut first = || lines.next().expect("the script goes on");
    assert_eq!((first().as_str(), first().as_str()), ("1", "preparing"), "it is mounted and not served");
    let cat = first();
    let deadline = Instant::now() + DEADLINE;
    while !fs::read_to_string(format!("/proc/{cat}/wchan")).unwrap_or_default().contains("fuse") {
        assert!(Instant::now() < deadline, "cat does not wait");
        thread::yield_now();
    }
    drop(open);
    let seen = lines.collect();
    assert!(running.wait().unwrap().success(), "{seen:?}");
    seen
}

#[test]
fn a_user_for_whom_fusermount3_mounts_waits_too_and_sees_the_tree_or_an_error() {
    let Some(user) = User::new() else { return };
    let (open, rule) = held();
    let world = World::stock(&script(), rule);
    let then =
        r#"echo n >"$M/new"; git -C "$M" status --porcelain; id -u; "$DRIVER" unmount "$M"; ls -A "$M""#;
    assert_eq!(seen_by_user(&user, &world, then, open), ["first", "?? new", "65534"]);

    let Some(user) = User::new() else { return };
    let (open, rule) = held();
    let world = World::stock(&script(), move |asked| match rule(asked) {
        Deed::Pass if asked.is_command("fetch") => Deed::Say(403, Vec::new(), Vec::new()),
        deed => deed,
    });
    let then = r#"until "$DRIVER" status "$M" | head -1 | grep -o failed; do :; done
        ls -A "$M"; grep -c " $M " /proc/self/mounts || :; "$DRIVER" unmount "$M""#;
    let seen = seen_by_user(&user, &world, then, open);
    assert!(seen[0].ends_with("README: Input/output error"), "{seen:?}");
    assert_eq!(seen[1..], ["failed", "0"], "{seen:?}");
}
