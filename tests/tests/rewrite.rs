//! A server's own maintenance rolls packs and rewrites a repository's file, on a disk that is full and while it is killed:
//! nothing is lost, the state is clear, and the next maintenance succeeds.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_conformance::host::Remote;
use cairn_tests::Server;
use cairn_tests::chain::Chain;
use cairn_tests::server::{assert_clones, assert_sound};
use cairn_tests::small_disk::SmallDisk;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(120);

/// The bytes of all files below a folder whose name ends so.
fn bytes(folder: &Path, ending: &str) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.path() {
        path if path.is_dir() => bytes(&path, ending),
        path if path.to_string_lossy().ends_with(ending) => fs::metadata(path).map_or(0, |found| found.len()),
        _ => 0,
    });
    sizes.sum()
}

/// Pushes so many commits with a file of random bytes each.
fn push(chain: &mut Chain, remote: &Remote, count: usize) {
    for nth in 0..count {
        let step = chain.next_step();
        assert!(chain.push(remote, &step), "push {nth}");
    }
}

/// What a repository holds, as a clone that is checked sees it.
fn objects(server: &Server, dir: &Path, remote: &Remote, name: &str) -> String {
    let remote = server.again(remote);
    let git = server.git(dir, &[&remote]);
    assert_clones(&git, dir, &remote.url, name);
    let out = git.run(&dir.join(name), &["rev-list", "--objects", "--all"]);
    assert!(out.ok(), "{}", out.errors());
    fs::remove_dir_all(dir.join(name)).unwrap();
    out.text()
}

const DISK_MIB: u32 = 48;
/// 60 files of 60,000 random bytes.
const PUSHED_BYTES: u64 = 3_600_000;
/// Room that the ballast gives back before each try.
const STEP_BYTES: u64 = 512 << 10;

#[test]
fn maintenance_on_a_full_disk_changes_nothing_and_is_done_once_there_is_room() {
    let data = tempfile::tempdir().unwrap();
    let Some(small) = SmallDisk::mount(data.path(), DISK_MIB) else {
        println!("left out: this process may not mount a small disk");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start_on_with(data, &["--maintenance", "off"]);
    let remote = server.create("r");
    let mut chain = Chain::new("refs/heads/main", 9, 60_000);
    push(&mut chain, &remote, 60);
    let before = objects(&server, dir.path(), &remote, "before");
    let path = server.data().join("ballast");
    let mut ballast = fs::File::create(&path).unwrap();
    while ballast.write_all(&[1; 4_096]).is_ok() {}

    let maintain = |server: &Server| server.rest("POST", "/namespaces/t/repos/r/maintenance", &json!({}));
    let mut refusals = 0;
    let done = loop {
        let (status, body) = maintain(&server);
        if status == 200 {
            break body;
        }
        // Out of room while packs are rolled, while the file is copied, or while it is copied back.
        assert_eq!((status, &body["errors"][0]["code"]), (507, &json!(10405)), "{body}");
        refusals += 1;
        assert_eq!(objects(&server, dir.path(), &remote, "full"), before, "refusal {refusals}");
        let left = fs::metadata(&path).unwrap().len();
        assert!(left > 0, "an empty disk has room");
        ballast.set_len(left.saturating_sub(STEP_BYTES)).unwrap();
    };
    assert!(refusals > 3, "the disk was full at several steps, not at {refusals}");
    assert_eq!(done["result"]["waiting"], false, "{done}");
    // Rolled packs stand beside the old ones until those are deleted and the file is rewritten.
    let held = done["result"]["file_bytes_after"].as_u64().unwrap();
    assert!(held < PUSHED_BYTES * 11 / 10, "{done}");
    assert_eq!(objects(&server, dir.path(), &remote, "done"), before);
    push(&mut chain, &remote, 1);
    server.terminate();
    assert!(server.wait().success());
    assert_sound(server.data());
    // Unmounted before the folder itself goes.
    drop(small);
}

/// Whether a server has a temporary file, which without requests is the copy of a database that it rewrites.
fn is_copying(pid: u32, data: &Path) -> bool {
    let below = data.join("tmp");
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.into_iter().any(|to| to.starts_with(&below))
}

/// Bytes that a process has written so far.
fn written(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap()
}

/// Waits until the server rewrites a file and has written so many bytes since it began; false where it did not, or was
/// over before it was seen.
fn meets(server: &Server, since_bytes: u64) -> bool {
    let until = Instant::now() + Duration::from_secs(8);
    let mut from = None;
    while Instant::now() < until {
        if from.is_none() && is_copying(server.pid(), server.data()) {
            from = Some(written(server.pid()));
        }
        if from.is_some_and(|from| written(server.pid()) >= from + since_bytes) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// Bytes of a first file, which make the rewriting long enough to be met.
const BASE_BYTES: usize = 12_000_000;
/// Bytes of the file of each further commit, and commits between two kills: together more than the tenth of the whole that
/// makes the server rewrite.
const BLOB_BYTES: usize = 80_000;
const PUSHES: usize = 60;

#[test]
fn a_server_that_is_killed_while_it_rewrites_a_file_does_it_at_its_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start_with(&["--maintenance", "1"]);
    let remote = server.create("r");
    push(&mut Chain::new("refs/heads/base", 1, BASE_BYTES), &remote, 1);
    let mut chain = Chain::new("refs/heads/main", 2, BLOB_BYTES);
    let mut commits = 1;
    let size = |server: &Server| bytes(&server.data().join("repos"), ".sqlite");
    let whole = |server: &Server, chain: &Chain, commits: usize, moment: &str| {
        let seen = objects(server, dir.path(), &remote, "seen");
        assert_eq!(seen.lines().count(), commits * 3, "{moment}: a commit, a tree and a file each");
        assert!(seen.contains(chain.tip()), "{moment}");
    };
    // A rewriting writes a copy beside, then the same into the log, then the same into the file.
    let moments = [
        ("the copy is made", 0),
        ("it goes to the log", 10),
        ("the log is nearly whole", 16),
        ("the file", 22),
    ];
    for (moment, tenths) in moments {
        let deadline = Instant::now() + DEADLINE;
        loop {
            push(&mut chain, &server.again(&remote), PUSHES);
            commits += PUSHES;
            if meets(&server, size(&server) * tenths / 10) {
                break;
            }
            assert!(Instant::now() < deadline, "{moment}: not met within two minutes");
        }
        server.kill();
        assert_sound(server.data());
        server.restart();
        whole(&server, &chain, commits, moment);
    }
    let deadline = Instant::now() + DEADLINE;
    let bound = (BASE_BYTES + commits * BLOB_BYTES) as u64 * 115 / 100;
    while size(&server) > bound {
        assert!(Instant::now() < deadline, "the last life gives space back: {} of {bound}", size(&server));
        std::thread::sleep(Duration::from_millis(50));
    }
    whole(&server, &chain, commits, "at the end");
    server.terminate();
    assert!(server.wait().success());
    assert_sound(server.data());
}
