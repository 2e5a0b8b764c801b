//! A real mount over `/dev/fuse`, beside a native directory.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/fake.rs"]
mod fake;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cairn_fs::fs::Fs;
use cairn_fs::fuse::{MountOptions, Session, serve};
use fake::{Fake, id_of, options};
use rustix::fs::{FallocateFlags, RenameFlags};

struct Mount {
    session: Option<Session>,
    fs: Option<Arc<Fs>>,
    fake: Arc<Fake>,
    dir: tempfile::TempDir,
    passthrough: bool,
}

const BIG: usize = 300_000;

fn big() -> Vec<u8> {
    (0..BIG).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn base_files() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    vec![
        ("README", "100644", b"hello\n".to_vec()),
        ("run.sh", "100755", b"#!/bin/sh\necho run\n".to_vec()),
        ("big.bin", "100644", big()),
        ("link", "120000", b"src/main.c".to_vec()),
        ("src/main.c", "100644", b"int main() { return 0; }\n".to_vec()),
        ("src/lib/a.h", "100644", b"#define A\n".to_vec()),
        ("src/lib/b.h", "100644", b"#define B\n".to_vec()),
        ("src/lib.c", "100644", b"lib\n".to_vec()),
        ("docs/x/y/z.txt", "100644", b"deep\n".to_vec()),
    ]
}

impl Mount {
    fn new(deadline: Duration) -> Self {
        Self::with(deadline, false)
    }
    /// With `passthrough` the kernel asks for each open file, without it for none.
    fn with(deadline: Duration, passthrough: bool) -> Self {
        let (fake, dir) = (Arc::new(Fake::default()), tempfile::tempdir().unwrap());
        let mut mount = Self { session: None, fs: None, fake, dir, passthrough };
        fs::create_dir(mount.dir.path().join("mnt")).unwrap();
        mount.mount(deadline);
        mount
    }

    fn mount(&mut self, deadline: Duration) {
        let files = base_files();
        let files: Vec<_> = files.iter().map(|(path, mode, data)| (*path, *mode, data.as_slice())).collect();
        let root = self.fake.tree_of(&files);
        let objects = Arc::clone(&self.fake);
        let fs = Fs::open(&self.dir.path().join("state"), root, objects, options(deadline)).unwrap();
        let how = MountOptions { passthrough: self.passthrough, ..MountOptions::default() };
        self.session = Some(serve(Arc::clone(&fs), &self.root(), how).unwrap());
        self.fs = Some(fs);
    }

    fn unmount(&mut self) {
        let session = self.session.take().unwrap();
        session.unmount().unwrap();
        session.wait().unwrap();
        self.fs = None;
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.fake.fail_hanging();
        // Dropping a session unmounts it.
        self.session = None;
    }
}

/// Everything below a directory that both file systems must agree on.
fn picture(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if name == Path::new(".git") {
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            let what = if meta.is_dir() {
                todo.push(path.clone());
                String::new()
            } else if meta.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else {
                format!("{} {}", id_of(&fs::read(&path).unwrap()), meta.len())
            };
            all.push(format!("{} {:o} {} {what}", name.display(), meta.mode(), meta.nlink()));
        }
    }
    all.sort();
    all
}

/// The base as plain files.
fn native() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, mode, data) in base_files() {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match mode {
            "120000" => symlink(std::str::from_utf8(&data).unwrap(), &path).unwrap(),
            _ => {
                fs::write(&path, &data).unwrap();
                let bits = if mode == "100755" { 0o755 } else { 0o644 };
                fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            }
        }
    }
    dir
}

type Step = (&'static str, fn(&Path) -> std::io::Result<String>);

fn steps() -> Vec<Step> {
    vec![
        ("append to a base file", |root| {
            OpenOptions::new().append(true).open(root.join("README"))?.write_all(b"more\n")?;
            Ok(String::new())
        }),
        ("truncate on open", |root| fs::write(root.join("src/main.c"), b"new").map(|()| String::new())),
        ("write in the middle of a large base file", |root| {
            let file = OpenOptions::new().write(true).open(root.join("big.bin"))?;
            file.write_all_at(b"XYZ", 150_000)?;
            Ok(String::new())
        }),
        ("create, exclusively", |root| {
            File::create_new(root.join("new"))?.write_all(b"n")?;
            File::create_new(root.join("new")).map(|_| String::new())
        }),
        ("mkdir over a name", |root| fs::create_dir(root.join("README")).map(|()| String::new())),
        ("mkdir and a file in it", |root| {
            fs::create_dir_all(root.join("d/e"))?;
            fs::write(root.join("d/e/f"), b"f").map(|()| String::new())
        }),
        ("rmdir of a full base directory", |root| fs::remove_dir(root.join("docs")).map(|()| String::new())),
        ("unlink of a directory", |root| fs::remove_file(root.join("docs")).map(|()| String::new())),
        ("rename a base directory", |root| {
            fs::rename(root.join("src/lib"), root.join("moved"))?;
            fs::read_to_string(root.join("moved/a.h"))
        }),
        ("write below the moved directory", |root| {
            fs::write(root.join("moved/a.h"), b"changed")?;
            fs::remove_file(root.join("moved/b.h")).map(|()| String::new())
        }),
        ("rename onto a full directory", |root| {
            fs::rename(root.join("moved"), root.join("docs")).map(|()| String::new())
        }),
        ("rename a directory below itself", |root| {
            fs::rename(root.join("docs"), root.join("docs/x/in")).map(|()| String::new())
        }),
        ("rename a file over a file", |root| {
            fs::rename(root.join("new"), root.join("README"))?;
            fs::read_to_string(root.join("README"))
        }),
        ("rename a file over a directory", |root| {
            fs::rename(root.join("README"), root.join("docs")).map(|()| String::new())
        }),
        ("rename without replacing", |root| {
            let (from, to) = (root.join("README"), root.join("run.sh"));
            let cwd = rustix::fs::CWD;
            rustix::fs::renameat_with(cwd, from, cwd, to, RenameFlags::NOREPLACE)?;
            Ok(String::new())
        }),
        ("exchange a file and a directory", |root| {
            let (from, to) = (root.join("README"), root.join("docs"));
            let cwd = rustix::fs::CWD;
            rustix::fs::renameat_with(cwd, from, cwd, to, RenameFlags::EXCHANGE)?;
            fs::read_to_string(root.join("README/x/y/z.txt"))
        }),
        ("hard link", |root| {
            fs::hard_link(root.join("run.sh"), root.join("twin"))?;
            fs::metadata(root.join("run.sh")).map(|meta| meta.nlink().to_string())
        }),
        ("write through one name, read through the other", |root| {
            OpenOptions::new().append(true).open(root.join("twin"))?.write_all(b"# twin\n")?;
            fs::read_to_string(root.join("run.sh"))
        }),
        ("remove one of two names", |root| {
            fs::remove_file(root.join("run.sh"))?;
            fs::metadata(root.join("twin")).map(|meta| meta.nlink().to_string())
        }),
        ("chmod, never with set-user-id seen", |root| {
            fs::set_permissions(root.join("twin"), fs::Permissions::from_mode(0o640))?;
            Ok(String::new())
        }),
        ("times in nanoseconds", |root| {
            let at = std::time::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
            let times = fs::FileTimes::new().set_modified(at).set_accessed(at);
            File::options().write(true).open(root.join("twin"))?.set_times(times)?;
            let meta = fs::metadata(root.join("twin"))?;
            Ok(format!("{}.{} {}.{}", meta.mtime(), meta.mtime_nsec(), meta.atime(), meta.atime_nsec()))
        }),
        ("symbolic links, also dangling", |root| {
            symlink("nowhere/at/all", root.join("dangling"))?;
            Ok(format!("{:?}", fs::read_link(root.join("link"))?))
        }),
        ("an unlinked file goes on", |root| {
            let path = root.join("src/lib.c");
            let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
            fs::remove_file(&path)?;
            file.write_all(b"still")?;
            file.seek(SeekFrom::Start(0))?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let meta = file.metadata()?;
            Ok(format!("{text} {} {} {}", meta.len(), meta.nlink(), path.exists()))
        }),
        ("lengthen, then cut", |root| {
            let file = OpenOptions::new().write(true).open(root.join("moved/a.h"))?;
            file.set_len(10_000)?;
            file.set_len(5_000)?;
            Ok(file.metadata()?.len().to_string())
        }),
        ("cut a base file by its path", |root| {
            nix::unistd::truncate(&root.join("big.bin"), 1000)?;
            fs::metadata(root.join("big.bin")).map(|meta| meta.len().to_string())
        }),
        ("room beyond the end, a hole, zeros", |root| {
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(root.join("room"))?;
            file.write_all_at(&[7; 65_536], 0)?;
            rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 65_536, 65_536)?;
            let hole = FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE;
            rustix::fs::fallocate(&file, hole, 16_384, 16_384)?;
            rustix::fs::fallocate(&file, FallocateFlags::ZERO_RANGE, 0, 100)?;
            rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 200_000)?;
            // While pages are on their way to the disk, ext4 may say that there is no data.
            file.sync_all()?;
            let seek = |to| rustix::fs::seek(&file, to).map_err(std::io::Error::from);
            let hole = seek(rustix::fs::SeekFrom::Hole(8192))?;
            let data = seek(rustix::fs::SeekFrom::Data(hole))?;
            Ok(format!("{} {hole} {data}", file.metadata()?.len()))
        }),
        ("copy_file_range", |root| {
            let from = File::open(root.join("README/x/y/z.txt"))?;
            let to = File::create(root.join("copy"))?;
            Ok(rustix::fs::copy_file_range(&from, None, &to, None, 100)?.to_string())
        }),
        ("extended attributes", |root| {
            let path = root.join("copy");
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(&path, "user.one", b"1", flags)?;
            let mut buffer = [0; 64];
            let len = rustix::fs::getxattr(&path, "user.one", &mut buffer)?;
            rustix::fs::removexattr(&path, "user.one")?;
            let gone = rustix::fs::getxattr(&path, "user.one", &mut [0; 64]).unwrap_err();
            Ok(format!("{len} {gone}"))
        }),
        ("a named pipe, and devices with their numbers", |root| {
            use rustix::fs::FileType;
            let (path, mode) = (root.join("special"), rustix::fs::Mode::from(0o600));
            let mut seen = String::new();
            for kind in [FileType::Fifo, FileType::CharacterDevice, FileType::BlockDevice] {
                let device = if kind == FileType::Fifo { 0 } else { rustix::fs::makedev(7, 3) };
                rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, device)?;
                let meta = fs::symlink_metadata(&path)?;
                seen += &format!("{:o} {:x} ", meta.mode(), meta.rdev());
                fs::remove_file(&path)?;
            }
            Ok(seen)
        }),
        ("a name that is too long", |root| {
            fs::write(root.join("n".repeat(256)), b"").map(|()| String::new())
        }),
        ("locks", |root| {
            let one = OpenOptions::new().write(true).open(root.join("copy"))?;
            let two = OpenOptions::new().write(true).open(root.join("copy"))?;
            rustix::fs::flock(&one, rustix::fs::FlockOperation::LockExclusive)?;
            rustix::fs::flock(&two, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
            Ok(String::new())
        }),
        ("sync of a file and a directory", |root| {
            OpenOptions::new().write(true).open(root.join("copy"))?.sync_all()?;
            File::open(root.join("d"))?.sync_all()?;
            Ok(String::new())
        }),
        ("remove all of a base directory", |root| {
            fs::remove_dir_all(root.join("src")).map(|()| String::new())
        }),
        ("and make it anew", |root| {
            fs::create_dir(root.join("src"))?;
            fs::read_dir(root.join("src")).map(|all| all.count().to_string())
        }),
    ]
}

fn told(result: std::io::Result<String>) -> String {
    match result {
        Ok(text) => format!("ok {text}"),
        Err(error) => format!("error {:?}", error.raw_os_error()),
    }
}

#[test]
fn every_operation_answers_as_a_native_directory_does_also_after_a_remount() {
    for passthrough in [false, true] {
        let mut mount = Mount::with(Duration::from_secs(60), passthrough);
        let native = native();
        assert_eq!(picture(&mount.root()), picture(native.path()), "before any change");
        for (name, step) in steps() {
            assert_eq!(told(step(&mount.root())), told(step(native.path())), "{name}");
            assert_eq!(picture(&mount.root()), picture(native.path()), "after: {name}");
        }
        mount.unmount();
        mount.mount(Duration::from_secs(60));
        assert_eq!(picture(&mount.root()), picture(native.path()), "after a remount");
    }
}

/// The kernel's request for it is one that the library does not know. Programs that get this answer make a name instead.
#[test]
fn a_file_without_a_name_is_refused_in_the_way_that_programs_know() {
    use rustix::fs::{Mode, OFlags, open};
    let mount = Mount::new(Duration::from_secs(60));
    let made = open(mount.root(), OFlags::TMPFILE | OFlags::RDWR, Mode::from(0o600));
    assert_eq!(made.unwrap_err(), rustix::io::Errno::OPNOTSUPP);
    tempfile::tempfile_in(mount.root()).unwrap().write_all(b"as programs do").unwrap();
    assert_eq!(picture(&mount.root()), picture(native().path()), "and nothing is left of it");
}

#[test]
fn dotgit_stands_in_the_root_and_cannot_be_touched() {
    let mount = Mount::new(Duration::from_secs(60));
    let dotgit = mount.root().join(".git");
    assert_eq!(fs::read_link(&dotgit).unwrap(), Path::new("/elsewhere/git"));
    let refused = |result: std::io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
    assert_eq!(refused(fs::remove_file(&dotgit)), rustix::io::Errno::PERM.raw_os_error());
    assert_eq!(refused(fs::rename(&dotgit, mount.root().join("x"))), rustix::io::Errno::PERM.raw_os_error());
    let over = fs::rename(mount.root().join("README"), &dotgit);
    assert_eq!(refused(over), rustix::io::Errno::PERM.raw_os_error());
    let names = fs::read_dir(mount.root()).unwrap();
    assert_eq!(names.filter(|entry| entry.as_ref().unwrap().file_name() == ".git").count(), 1);
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "{what}: did not happen in time");
        std::thread::yield_now();
    }
}

#[test]
fn metadata_and_warm_reads_are_answered_while_32_cold_reads_hang_and_they_fail_at_the_deadline() {
    let mount = Mount::new(Duration::from_secs(4));
    let root = mount.root();
    let cold = id_of(b"hello\n");
    mount.fake.cold.lock().unwrap().insert(cold);
    mount.fake.hang.store(true, Ordering::SeqCst);
    let readers: Vec<_> = (0..32)
        .map(|_| {
            // Each has its own open file, past the page cache: the kernel would let one read for all.
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECT;
            let file = rustix::fs::open(root.join("README"), flags, rustix::fs::Mode::empty()).unwrap();
            let file = File::from(file);
            std::thread::spawn(move || file.read_at(&mut [0; 6], 0).map_err(|error| error.raw_os_error()))
        })
        .collect();
    wait_until("32 reads hang", || mount.fake.hanging() == 32);
    assert_eq!(fs::read(root.join("src/lib.c")).unwrap(), b"lib\n");
    assert_eq!(fs::metadata(root.join("README")).unwrap().len(), 6);
    fs::rename(root.join("src/lib"), root.join("renamed")).unwrap();
    fs::write(root.join("made"), b"made").unwrap();
    fs::remove_file(root.join("docs/x/y/z.txt")).unwrap();
    assert_eq!(fs::read_dir(root.join("renamed")).unwrap().count(), 2);
    assert_eq!(mount.fake.hanging(), 32, "they still hang");
    for reader in readers {
        assert_eq!(reader.join().unwrap(), Err(Some(rustix::io::Errno::IO.raw_os_error())));
    }
    mount.fake.hang.store(false, Ordering::SeqCst);
    assert_eq!(fs::read(root.join("README")).unwrap(), b"hello\n", "the next read asks again");
}

#[test]
fn an_unknown_size_is_asked_for_once_per_directory_and_never_shown_as_zero() {
    let mount = Mount::new(Duration::from_secs(60));
    let data: [&[u8]; 3] = [b"#define A\n", b"#define B\n", b"hello\n"];
    mount.fake.sizeless.lock().unwrap().extend(data.map(id_of));
    let dir = mount.root().join("src/lib");
    let sizes: Vec<u64> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(sizes, [10, 10]);
    assert_eq!(mount.fake.size_requests.load(Ordering::SeqCst), 1);
    assert_eq!(fs::metadata(mount.root().join("README")).unwrap().len(), 6);
    assert_eq!(mount.fake.size_requests.load(Ordering::SeqCst), 2);
    assert_eq!(mount.fake.blob_requests.load(Ordering::SeqCst), 0, "no content is fetched for a size");
}

#[test]
fn a_cold_file_is_fetched_when_read_and_not_when_cut() {
    let mount = Mount::new(Duration::from_secs(60));
    let root = mount.root();
    mount.fake.cold.lock().unwrap().extend([id_of(b"hello\n"), id_of(b"lib\n"), id_of(&big())]);
    fs::write(root.join("README"), b"all new").unwrap();
    nix::unistd::truncate(&root.join("src/lib.c"), 0).unwrap();
    assert_eq!(mount.fake.blob_requests.load(Ordering::SeqCst), 0);
    assert_eq!(fs::read(root.join("big.bin")).unwrap(), big());
    assert!(mount.fake.blob_requests.load(Ordering::SeqCst) >= 1);
}

#[test]
fn a_large_file_that_is_being_read_can_be_written_and_keeps_its_old_bytes_for_the_reader() {
    let mount = Mount::with(Duration::from_secs(60), true);
    let path = mount.root().join("big.bin");
    let reader = File::open(&path).unwrap();
    let mut before = [0; 8];
    reader.read_exact_at(&mut before, 1000).unwrap();
    assert_eq!(before, big()[1000..1008]);
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"changed!", 1000).unwrap();
    assert_eq!(fs::read(&path).unwrap()[1000..1008], *b"changed!");
    reader.read_exact_at(&mut before, 1000).unwrap();
    // Where the kernel reads it by itself, the name got an inode of its own and the reader keeps the old one.
    let apart = reader.metadata().unwrap().ino() != fs::metadata(&path).unwrap().ino();
    println!("read by the kernel itself: {apart}");
    assert_eq!(before, if apart { big()[1000..1008].try_into().unwrap() } else { *b"changed!" });
    assert_eq!(fs::metadata(&path).unwrap().len(), BIG as u64);
}

#[test]
fn changes_are_told_since_a_token_over_a_remount_and_not_over_a_crash() {
    let mut mount = Mount::with(Duration::from_secs(60), true);
    let fs = Arc::clone(mount.fs.as_ref().unwrap());
    let start = fs.changes_since(0);
    assert_eq!(start.paths, None);
    fs::write(mount.root().join("README"), b"x").unwrap();
    fs::rename(mount.root().join("src/lib"), mount.root().join("lib2")).unwrap();
    // The kernel tells of a close after close() has returned.
    wait_until("the file is closed", || fs.status().open_files == 0);
    let first = fs.changes_since(start.token);
    let mut paths = first.paths.unwrap();
    paths.sort();
    assert_eq!(paths, [b"README".to_vec(), b"lib2/".to_vec(), b"src/lib/".to_vec()]);
    assert_eq!(fs.changes_since(first.token).paths, Some(Vec::new()));
    let held = OpenOptions::new().write(true).open(mount.root().join("run.sh")).unwrap();
    let open = fs.changes_since(first.token);
    assert_eq!(open.paths, Some(vec![b"run.sh".to_vec()]));
    assert_eq!(fs.changes_since(open.token).paths, Some(vec![b"run.sh".to_vec()]), "still open");
    drop(held);
    drop(fs);
    mount.unmount();
    mount.mount(Duration::from_secs(60));
    let fs = Arc::clone(mount.fs.as_ref().unwrap());
    let later = fs.changes_since(first.token);
    assert_eq!(later.paths, Some(vec![b"run.sh".to_vec()]), "what an earlier mount saw is known");
    fs::write(mount.root().join("README"), b"y").unwrap();
    wait_until("the file is closed", || fs.status().open_files == 0);
    assert_eq!(fs.changes_since(later.token).paths, Some(vec![b"README".to_vec()]));
    let gone = Arc::downgrade(&fs);
    drop(fs);
    // The session goes without a word, as with a daemon that is killed.
    mount.session = None;
    mount.fs = None;
    wait_until("the state is closed", || gone.strong_count() == 0);
    mount.mount(Duration::from_secs(60));
    let fs = mount.fs.as_ref().unwrap();
    assert_eq!(fs.changes_since(later.token).paths, None, "what a crash may have lost is not known");
}

#[test]
fn inodes_and_times_survive_rename_copy_up_and_remount() {
    let mut mount = Mount::new(Duration::from_secs(60));
    let root = mount.root();
    let stat = |path: &str| fs::metadata(root.join(path)).unwrap();
    let (file, below) = (stat("src/main.c"), stat("src/lib/a.h"));
    assert_eq!((file.mtime(), file.mtime_nsec()), (1_600_000_000, 0));
    fs::rename(root.join("src"), root.join("s")).unwrap();
    assert_eq!(stat("s/main.c").ino(), file.ino());
    assert_eq!(stat("s/lib/a.h").ino(), below.ino());
    OpenOptions::new().append(true).open(root.join("s/main.c")).unwrap().write_all(b"//").unwrap();
    let written = stat("s/main.c");
    assert_eq!(written.ino(), file.ino());
    assert!(written.modified().unwrap() > file.modified().unwrap());
    mount.unmount();
    mount.mount(Duration::from_secs(60));
    let again = stat("s/main.c");
    assert_eq!((again.ino(), again.modified().unwrap()), (file.ino(), written.modified().unwrap()));
    assert_eq!(stat("s/lib/a.h").ino(), below.ino());
    assert_eq!(stat("s/lib/a.h").modified().unwrap(), below.modified().unwrap());
}

#[path = "support/map.rs"]
mod map;
#[path = "support/ops.rs"]
mod ops;
#[path = "support/random.rs"]
mod random;

#[test]
fn random_operations_leave_what_they_leave_on_a_native_directory() {
    let (seeds, ops) = if std::env::var_os("CAIRN_FS_LONG").is_some() { (10, 5_000) } else { (4, 1_000) };
    let mut done = std::collections::BTreeSet::new();
    for seed in 1..=seeds {
        let mut mount = Mount::with(Duration::from_secs(60), seed % 4 == 0);
        let native = native();
        let mut rng = random::Rng::new(seed);
        let (mut our_side, mut their_side) = (ops::Side::new(&mount.root()), ops::Side::new(native.path()));
        for at in 0..ops {
            let op = ops::Op::pick(&mut rng);
            let (ours, theirs) = (op.apply(&mut our_side), op.apply(&mut their_side));
            assert_eq!(ours, theirs, "seed {seed}, operation {at}: {op:?}");
            if !theirs.starts_with("error") {
                done.insert(op.name());
            }
            if at % 50 == 49 {
                assert_eq!(picture(&mount.root()), picture(native.path()), "seed {seed}, operation {at}");
            }
            if at % 150 == 149 {
                our_side.close();
                their_side.close();
                mount.unmount();
                mount.mount(Duration::from_secs(60));
                assert_eq!(picture(&mount.root()), picture(native.path()), "seed {seed}, remount at {at}");
            }
        }
    }
    assert_eq!(done.len(), ops::OP_KINDS, "each operation succeeded at least once: {done:?}");
}

/// A small file system of its own; dropped, it is unmounted.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(status.success(), "mount of a small file system");
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap();
        assert!(status.success(), "umount");
    }
}

#[test]
fn a_full_disk_is_told_and_what_is_there_stays_and_can_be_removed() {
    let small = Small::new();
    let fake = Arc::new(Fake::default());
    let tree = fake.tree_of(&[("base", "100644", b"base")]);
    let state = small.0.path().join("state");
    let open = || Fs::open(&state, tree, Arc::clone(&fake) as _, options(Duration::from_secs(60))).unwrap();
    let mountpoint = tempfile::tempdir().unwrap();
    let root = mountpoint.path();
    let session = serve(open(), root, MountOptions::default()).unwrap();
    fs::write(root.join("kept"), b"kept").unwrap();
    let full = || {
        let mut file = File::create(root.join("fill")).unwrap();
        loop {
            if let Err(error) = file.write_all(&[1; 65_536]) {
                return error.raw_os_error().unwrap();
            }
        }
    };
    assert_eq!(full(), rustix::io::Errno::NOSPC.raw_os_error());
    assert_eq!(fs::read(root.join("kept")).unwrap(), b"kept");
    fs::rename(root.join("base"), root.join("moved")).unwrap();
    fs::remove_file(root.join("fill")).unwrap();
    wait_until("there is room again", || fs::write(root.join("after"), vec![2; 1 << 20]).is_ok());
    assert_eq!(full(), rustix::io::Errno::NOSPC.raw_os_error());
    session.unmount().unwrap();
    session.wait().unwrap();
    drop(session);
    let session = serve(open(), root, MountOptions::default()).unwrap();
    assert_eq!(fs::read(root.join("kept")).unwrap(), b"kept");
    assert_eq!(fs::read(root.join("moved")).unwrap(), b"base");
    assert_eq!(fs::read(root.join("after")).unwrap(), vec![2; 1 << 20]);
    session.unmount().unwrap();
    session.wait().unwrap();
}
