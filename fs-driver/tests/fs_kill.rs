//! A daemon that is killed at any moment loses nothing that was synced, and no write that was answered.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/fake.rs"]
mod fake;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cairn_fs::fs::Fs;
use cairn_fs::fuse::{MountOptions, Session, serve};
use fake::{Fake, options};

const DIR: &str = "CAIRN_FS_TEST_DAEMON";

fn mount(dir: &Path) -> Session {
    let fake = Arc::new(Fake::default());
    let root = fake.tree_of(&[("base", "100644", b"base\n"), ("d/x", "100644", b"x\n")]);
    let fs = Fs::open(&dir.join("state"), root, fake, options(Duration::from_secs(60))).unwrap();
    serve(fs, &dir.join("mnt"), MountOptions::default()).unwrap()
}

/// Not a test of its own: the daemon that the test below starts and kills.
#[test]
#[ignore = "serves the other test"]
fn daemon() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let session = mount(Path::new(&dir));
    println!("\nmounted");
    let _ = session.wait();
}

/// A daemon of its own; dropped, it is killed and its mount is detached.
struct Daemon {
    child: Child,
    mountpoint: PathBuf,
}

impl Daemon {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["daemon", "--exact", "--ignored", "--nocapture"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        assert!(output.lines().any(|line| line.unwrap() == "mounted"), "the daemon ended early");
        Self { child, mountpoint: dir.join("mnt") }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let status = Command::new("umount").arg("-l").arg(&self.mountpoint).status().unwrap();
        assert!(status.success(), "umount");
    }
}

#[test]
fn twenty_kills_lose_no_write_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mnt");
    fs::create_dir(&root).unwrap();
    let mut lines = String::from("base\n");
    for round in 0..20 {
        let daemon = Daemon::start(dir.path());
        assert_eq!(fs::read_to_string(root.join("base")).unwrap(), lines, "round {round}");
        for before in 0..round {
            let text = fs::read_to_string(root.join(format!("made/{before}"))).unwrap();
            assert_eq!(text, format!("content {before}"), "round {round}");
            assert!(!root.join(format!("tmp{before}")).exists());
        }
        let line = format!("round {round}\n");
        // Held open: the daemon dies before it hears of a close.
        let mut file = OpenOptions::new().append(true).open(root.join("base")).unwrap();
        file.write_all(line.as_bytes()).unwrap();
        lines.push_str(&line);
        fs::create_dir_all(root.join("made")).unwrap();
        let tmp = root.join(format!("tmp{round}"));
        let synced = File::create_new(&tmp).unwrap();
        synced.write_all_at(format!("content {round}").as_bytes(), 0).unwrap();
        if round % 2 == 0 {
            synced.sync_all().unwrap();
        }
        fs::rename(&tmp, root.join(format!("made/{round}"))).unwrap();
        let before = (fs::metadata(root.join("base")).unwrap(), fs::metadata(root.join("d/x")).unwrap());
        drop(daemon);
        drop((file, synced));
        let daemon = Daemon::start(dir.path());
        let after = (fs::metadata(root.join("base")).unwrap(), fs::metadata(root.join("d/x")).unwrap());
        for (before, after) in [(before.0, after.0), (before.1, after.1)] {
            assert_eq!((before.ino(), before.len()), (after.ino(), after.len()), "round {round}");
        }
        drop(daemon);
    }
    let orphans = fs::read_dir(dir.path().join("state/upper")).unwrap();
    let files: usize = orphans.map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap().count()).sum();
    assert_eq!(files, 21, "one for each file that differs from the base");
}
