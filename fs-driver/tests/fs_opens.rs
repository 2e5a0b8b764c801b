//! A mount that is not told of opens and closes: what is open, mapped, removed or cold is right all the same.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/fake.rs"]
mod fake;
#[path = "support/map.rs"]
mod map;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cairn_fs::fs::Fs;
use cairn_fs::fuse::{MountOptions, Session, serve};
use cairn_fs::limits::UPPERS_OPEN_MAX;
use fake::{Fake, id_of, options};
use rustix::fs::{FlockOperation, flock};

struct Mount {
    /// Dropped first: that unmounts.
    _session: Session,
    fs: Arc<Fs>,
    fake: Arc<Fake>,
    root: PathBuf,
    _dir: tempfile::TempDir,
}

const LARGE: usize = 300_000;

fn large() -> Vec<u8> {
    (0..LARGE).map(|at| (at * 7 + at / 251) as u8).collect()
}

impl Mount {
    fn new() -> Self {
        let (fake, dir) = (Arc::new(Fake::default()), tempfile::tempdir().unwrap());
        let root = dir.path().join("mnt");
        fs::create_dir(&root).unwrap();
        let (large, page) = (large(), vec![b'p'; 8_192]);
        let files: [(&str, &str, &[u8]); 4] = [
            ("README", "100644", b"hello\n"),
            ("large", "100644", &large),
            ("page", "100644", &page),
            ("run.sh", "100755", b"#!/bin/sh\nread line\n"),
        ];
        let tree = fake.tree_of(&files);
        let objects = Arc::clone(&fake);
        let fs =
            Fs::open(&dir.path().join("state"), tree, objects, options(Duration::from_secs(60))).unwrap();
        let session = serve(Arc::clone(&fs), &root, MountOptions::default()).unwrap();
        Self { _session: session, fs, fake, root, _dir: dir }
    }

    /// What changed since, asked for as git's hook does it.
    fn changed(&self, token: &mut u64) -> Vec<String> {
        let dir = File::open(&self.root).unwrap();
        rustix::fs::syncfs(&dir).unwrap();
        rustix::fs::fstatfs(&dir).unwrap();
        let changes = self.fs.changes_since(*token);
        *token = changes.token;
        let paths = changes.paths.unwrap().into_iter().map(|path| String::from_utf8(path).unwrap());
        paths.collect()
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn read_write(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

#[test]
fn what_is_removed_while_it_is_open_stays_whole_for_who_has_it_open_however_many_there_are() {
    let mount = Mount::new();
    let count = UPPERS_OPEN_MAX * 2 + 50;
    let held: Vec<File> = (0..count)
        .map(|nth| {
            let path = mount.root.join(format!("new{nth}"));
            fs::write(&path, format!("content of {nth}")).unwrap();
            let file = read_write(&path);
            fs::remove_file(&path).unwrap();
            file
        })
        .collect();
    let unchanged = File::open(mount.root.join("large")).unwrap();
    let written = read_write(&mount.root.join("README"));
    fs::remove_file(mount.root.join("large")).unwrap();
    fs::remove_file(mount.root.join("README")).unwrap();
    // What was removed before is gone for good; what is open is not.
    mount.fs.flush().unwrap();
    for round in 0..2 {
        for (nth, file) in held.iter().enumerate() {
            let meta = file.metadata().unwrap();
            assert_eq!((meta.nlink(), round == 1 || meta.len() > 0), (0, true));
            let mut text = String::new();
            (&mut &*file).read_to_string(&mut text).unwrap();
            let want = if round == 0 { format!("content of {nth}") } else { String::new() };
            assert_eq!(text, want);
            file.set_len(3).unwrap();
            file.write_all_at(b"+", 3).unwrap();
            file.sync_all().unwrap();
            let mut all = [0; 8];
            assert_eq!((file.read_at(&mut all, 0).unwrap(), &all[..4]), (4, &b"con+"[..]));
        }
    }
    let mut bytes = vec![0; LARGE];
    unchanged.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes == large() && unchanged.metadata().unwrap().nlink() == 0);
    written.write_all_at(b"J", 0).unwrap();
    let mut text = [0; 6];
    written.read_exact_at(&mut text, 0).unwrap();
    assert_eq!(&text, b"Jello\n");
    drop((held, unchanged, written));
    wait_until("their contents are gone", || {
        mount.fs.flush().unwrap();
        let shelves = fs::read_dir(mount._dir.path().join("state/upper")).unwrap();
        shelves.map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap().count()).sum::<usize>() == 0
    });
}

#[test]
fn pages_that_were_written_through_a_map_are_told_of_each_time_while_file_and_map_stay_open() {
    let mount = Mount::new();
    let path = mount.root.join("page");
    let file = read_write(&path);
    let mut page = map::shared(&file, 0, 8_192);
    let mut token = mount.fs.changes_since(0).token;
    assert_eq!(mount.changed(&mut token), Vec::<String>::new());
    for round in 0..5_u8 {
        let before = fs::metadata(&path).unwrap().mtime_nsec();
        page[usize::from(round)] = b'0' + round;
        assert_eq!(mount.changed(&mut token), ["page"], "round {round}");
        assert_ne!(fs::metadata(&path).unwrap().mtime_nsec(), before, "whoever looks sees another time");
        assert_eq!(mount.changed(&mut token), Vec::<String>::new(), "nothing more, round {round}");
    }
    drop(file);
    page[8_000] = b'!';
    assert_eq!(mount.changed(&mut token), ["page"], "the map alone holds it");
    drop(page);
    assert!(fs::read(&path).unwrap().starts_with(b"01234p"));
}

#[test]
fn a_file_of_which_the_writer_stays_is_told_of_after_each_write() {
    let mount = Mount::new();
    let mut token = mount.fs.changes_since(0).token;
    let file = OpenOptions::new().append(true).open(mount.root.join("README")).unwrap();
    assert_eq!(mount.changed(&mut token), Vec::<String>::new(), "an open alone is no change");
    for _ in 0..3 {
        (&file).write_all(b"more\n").unwrap();
        assert_eq!(mount.changed(&mut token), ["README"]);
        assert_eq!(mount.changed(&mut token), Vec::<String>::new());
    }
}

#[test]
fn a_write_into_a_cold_file_waits_for_its_content_and_cutting_it_to_nothing_does_not() {
    let mount = Mount::new();
    mount.fake.cold.lock().unwrap().extend([id_of(b"hello\n"), id_of(&large())]);
    fs::write(mount.root.join("README"), b"new").unwrap();
    assert_eq!(mount.fake.blob_requests.load(Ordering::SeqCst), 0);
    mount.fake.hang.store(true, Ordering::SeqCst);
    let mut token = mount.fs.changes_since(0).token;
    let path = mount.root.join("large");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"changed", 100_000)
        });
        wait_until("the content is asked for", || mount.fake.hanging() == 1);
        // All else goes on, and who asks is told what will change.
        assert_eq!(mount.changed(&mut token), ["large"]);
        assert_eq!(fs::read(mount.root.join("page")).unwrap().len(), 8_192);
        mount.fake.fail_hanging();
        assert_eq!(writer.join().unwrap().unwrap_err().raw_os_error(), Some(5), "EIO");
    });
    mount.fake.hang.store(false, Ordering::SeqCst);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"changed", 100_000).unwrap();
    assert_eq!(mount.changed(&mut token), ["large"]);
    let mut want = large();
    want[100_000..100_007].copy_from_slice(b"changed");
    assert!(fs::read(&path).unwrap() == want);
    let cold = mount.fake.blob_requests.load(Ordering::SeqCst);
    assert_eq!(cold, 2, "one that failed and one that came");
}

#[test]
fn a_file_that_holds_the_base_again_is_folded_back_while_it_is_open_and_can_be_written_on() {
    let mount = Mount::new();
    let path = mount.root.join("README");
    let file = read_write(&path);
    file.write_all_at(b"J", 0).unwrap();
    file.write_all_at(b"h", 0).unwrap();
    assert_eq!(mount.fs.status().dirty_files, 1);
    let before = fs::metadata(&path).unwrap();
    wait_until("it is folded back", || mount.fs.fold_back() == 1);
    assert_eq!(mount.fs.status().dirty_files, 0);
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    for text in [b"Jello\n", b"hullo\n"] {
        file.write_all_at(text, 0).unwrap();
        // What it was before it was folded back goes; what it is stays.
        mount.fs.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), text);
    }
    let mut token = mount.fs.changes_since(0).token;
    file.set_len(2).unwrap();
    assert_eq!(
        (mount.changed(&mut token), fs::read(&path).unwrap()),
        (vec!["README".into()], b"hu".to_vec())
    );
}

/// What programs do with files that are open more than once, on the mount and beside it.
fn together(root: &Path) -> Vec<String> {
    let mut seen = Vec::new();
    let append = |name: &str| OpenOptions::new().append(true).create(true).open(root.join(name)).unwrap();
    let (one, two) = (append("log"), append("log"));
    for nth in 0..20 {
        (&one).write_all(format!("one {nth}\n").as_bytes()).unwrap();
        (&two).write_all(format!("two {nth}\n").as_bytes()).unwrap();
    }
    seen.push(fs::read_to_string(root.join("log")).unwrap());
    drop(File::create(root.join("log")).unwrap());
    (&one).write_all(b"after it was cut").unwrap();
    seen.push(fs::read_to_string(root.join("log")).unwrap());
    // Through the kernel alone.
    let copied = std::io::copy(
        &mut File::open(root.join("large")).unwrap(),
        &mut File::create(root.join("copy")).unwrap(),
    );
    seen.push(format!("{copied:?} {}", id_of(&fs::read(root.join("copy")).unwrap())));
    let to = File::create(root.join("sent")).unwrap();
    let from = File::open(root.join("large")).unwrap();
    let sent = rustix::fs::sendfile(&to, &from, Some(&mut 1_000), 50_000);
    seen.push(format!("{sent:?} {}", id_of(&fs::read(root.join("sent")).unwrap())));
    // Locks are of open files, whoever opened them.
    let (ours, theirs) = (File::open(root.join("page")).unwrap(), File::open(root.join("page")).unwrap());
    flock(&ours, FlockOperation::LockExclusive).unwrap();
    seen.push(format!("{:?}", flock(&theirs, FlockOperation::NonBlockingLockExclusive)));
    drop(ours);
    seen.push(format!("{:?}", flock(&theirs, FlockOperation::NonBlockingLockExclusive)));
    // A file without the right to write it, which its maker writes.
    let mut made =
        OpenOptions::new().write(true).create_new(true).mode(0o444).open(root.join("object")).unwrap();
    made.write_all(b"read only").unwrap();
    seen.push(fs::read_to_string(root.join("object")).unwrap());
    // A program that runs is not written.
    fs::copy("/bin/sleep", root.join("program")).unwrap();
    fs::set_permissions(root.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut running = Command::new(root.join("program")).arg("1000").spawn().unwrap();
    let busy = OpenOptions::new().write(true).open(root.join("program"));
    seen.push(format!("{:?}", busy.map(drop).map_err(|error| error.raw_os_error())));
    running.kill().unwrap();
    running.wait().unwrap();
    let idle = OpenOptions::new().write(true).open(root.join("program"));
    seen.push(format!("{:?}", idle.map(drop).map_err(|error| error.raw_os_error())));
    seen
}

#[test]
fn files_that_are_open_more_than_once_behave_as_on_a_native_file_system() {
    let (mount, native) = (Mount::new(), tempfile::tempdir().unwrap());
    for name in ["large", "page"] {
        fs::copy(mount.root.join(name), native.path().join(name)).unwrap();
    }
    assert_eq!(together(&mount.root), together(native.path()));
}

#[test]
fn many_writers_at_once_lose_no_byte_and_what_they_synced_is_in_the_state() {
    let mount = Mount::new();
    let count = UPPERS_OPEN_MAX + 100;
    let files: Vec<File> =
        (0..count).map(|nth| File::create(mount.root.join(format!("w{nth}"))).unwrap()).collect();
    for round in 0..3_u64 {
        std::thread::scope(|scope| {
            for part in files.chunks(count / 4) {
                scope.spawn(move || {
                    part.iter()
                        .for_each(|file| file.write_all_at(&[b'a' + round as u8; 100], round * 100).unwrap());
                });
            }
        });
    }
    files.iter().for_each(|file| file.sync_all().unwrap());
    let want = [[b'a'; 100], [b'b'; 100], [b'c'; 100]].concat();
    for nth in 0..count {
        assert_eq!(fs::read(mount.root.join(format!("w{nth}"))).unwrap(), want, "{nth}");
    }
    assert_eq!(mount.fs.status().upper_bytes, 300 * count as u64);
}
