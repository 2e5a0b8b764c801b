//! Random operations on files, the same for any directory.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, RenameFlags, SeekFrom, XattrFlags};

use super::map;
use super::random::Rng;

/// Files that are kept open while others work.
const HELD_MAX: usize = 4;

/// One of the directories that are compared, and what is open in it.
pub struct Side {
    root: PathBuf,
    held: [Option<File>; HELD_MAX],
}

impl Side {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), held: Default::default() }
    }

    /// Closes all that is open.
    pub fn close(&mut self) {
        self.held = Default::default();
    }
}

const NAMES: [&str; 10] = ["README", "run.sh", "src", "lib", "main.c", "a.h", "docs", "x", "new", "big.bin"];

fn path(rng: &mut Rng) -> String {
    let depth = [1, 1, 2, 2, 3][rng.below(5)];
    let names: Vec<&str> = (0..depth).map(|_| NAMES[rng.below(NAMES.len())]).collect();
    names.join("/")
}

/// One of few places, so that operations meet there.
fn near(rng: &mut Rng) -> String {
    NAMES[rng.below(4)].to_owned()
}

#[derive(Debug)]
pub enum Op {
    Write(String, Vec<u8>),
    WriteAt(String, u64, Vec<u8>),
    Append(String, Vec<u8>),
    Cut(String, u64),
    Create(String),
    Mkdir(String),
    Unlink(String),
    Rmdir(String),
    RemoveAll(String),
    Rename(String, String),
    RenameNew(String, String),
    Exchange(String, String),
    Link(String, String),
    Symlink(String, String),
    Chmod(String, u32),
    Read(String),
    List(String),
    ReplaceWhileOpen(String, String),
    /// Opens for reading and writing, and keeps that open while others work.
    Hold(String, usize),
    UseHeld(usize, u64, Vec<u8>),
    CutHeld(usize, u64),
    Drop(usize),
    UnlinkWhileOpen(String, Vec<u8>),
    Flock(String),
    RangeLock(String, u64, u64),
    Allocate(String, FallocateFlags, u64, u64),
    Seek(String, u64),
    Copy(String, u64, String, u64, usize),
    Times(String, u64, u32),
    LinkTimes(String, u64),
    SetAttribute(String, usize, usize, XattrFlags),
    ReadAttributes(String),
    RemoveAttribute(String, usize),
    MapShared(String, usize, u8),
    MapPrivate(String, usize, u8),
}

/// How many operations there are.
pub const OP_KINDS: usize = 35;

const ATTRIBUTES: [&str; 3] = ["user.one", "user.two", "user.third.of-them"];

impl Op {
    pub fn pick(rng: &mut Rng) -> Self {
        let one = path(rng);
        let data = vec![b'a' + rng.below(26) as u8; [0, 1, 100, 5000, 140_000][rng.below(5)]];
        match rng.below(40) {
            0 | 1 => Self::Write(one, data),
            2 | 3 => Self::WriteAt(one, rng.below(200_000) as u64, data),
            4 => Self::Append(one, data),
            5 => Self::Cut(one, rng.below(200_000) as u64),
            6 => Self::Create(one),
            7 | 8 => Self::Mkdir(one),
            9 => Self::Unlink(one),
            10 => Self::Rmdir(one),
            11 => Self::RemoveAll(one),
            12 | 13 => Self::Rename(one, path(rng)),
            14 => Self::Exchange(one, path(rng)),
            15 => Self::Link(one, path(rng)),
            16 => Self::Symlink(path(rng), one),
            17 => Self::Chmod(one, [0o644, 0o755, 0o600][rng.below(3)]),
            18 => Self::Read(one),
            19 if rng.below(2) == 0 => Self::List(one),
            19 => Self::ReplaceWhileOpen(near(rng), near(rng)),
            _ => Self::pick_rare(rng, one, data),
        }
    }

    fn pick_rare(rng: &mut Rng, one: String, data: Vec<u8>) -> Self {
        let (at, slot) = (rng.below(200_000) as u64, rng.below(HELD_MAX));
        let len = 1 + rng.below(100_000) as u64;
        match rng.below(20) {
            0 => Self::RenameNew(near(rng), path(rng)),
            1 | 2 => Self::Hold(one, slot),
            3 | 4 => Self::UseHeld(slot, at, data),
            5 => Self::CutHeld(slot, at),
            6 => Self::Drop(slot),
            7 => Self::UnlinkWhileOpen(one, data),
            8 => Self::Flock(one),
            9 => Self::RangeLock(one, at, len),
            10 | 11 => {
                let keep = FallocateFlags::KEEP_SIZE;
                let flags = [FallocateFlags::empty(), keep, keep | FallocateFlags::PUNCH_HOLE];
                let zero = [FallocateFlags::ZERO_RANGE, keep | FallocateFlags::ZERO_RANGE];
                Self::Allocate(one, [flags.as_slice(), &zero].concat()[rng.below(5)], at, len)
            }
            12 => Self::Seek(one, at),
            13 => Self::Copy(one, at / 2, path(rng), at / 3, len as usize),
            14 => Self::Times(one, at, rng.below(1_000_000_000) as u32),
            15 => Self::LinkTimes(one, at),
            16 => {
                let flags = [XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE];
                Self::SetAttribute(near(rng), rng.below(3), rng.below(200), flags[rng.below(3)])
            }
            17 if rng.below(2) == 0 => Self::RemoveAttribute(near(rng), rng.below(3)),
            17 => Self::ReadAttributes(near(rng)),
            18 => Self::MapShared(one, at as usize, at as u8),
            _ => Self::MapPrivate(one, at as usize, at as u8),
        }
    }

    /// Which operation it is.
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap().to_owned()
    }

    /// What it did, as text: the result or the error's number.
    pub fn apply(&self, side: &mut Side) -> String {
        match self.try_apply(side) {
            Ok(text) => text,
            Err(error) => format!("error {:?}", error.raw_os_error()),
        }
    }

    fn try_apply(&self, side: &mut Side) -> io::Result<String> {
        let root = side.root.clone();
        let root = root.as_path();
        let done = Ok(String::new());
        match self {
            Self::Write(path, data) => fs::write(root.join(path), data)?,
            Self::WriteAt(path, at, data) => {
                OpenOptions::new().write(true).open(root.join(path))?.write_all_at(data, *at)?;
            }
            Self::Append(path, data) => {
                OpenOptions::new().append(true).create(true).open(root.join(path))?.write_all(data)?;
            }
            Self::Cut(path, len) => nix::unistd::truncate(&root.join(path), *len as i64)?,
            Self::Create(path) => drop(File::create_new(root.join(path))?),
            Self::Mkdir(path) => fs::create_dir(root.join(path))?,
            Self::Unlink(path) => fs::remove_file(root.join(path))?,
            Self::Rmdir(path) => fs::remove_dir(root.join(path))?,
            Self::RemoveAll(path) => fs::remove_dir_all(root.join(path))?,
            Self::Rename(from, to) => fs::rename(root.join(from), root.join(to))?,
            Self::RenameNew(from, to) => rename_with(root, from, to, RenameFlags::NOREPLACE)?,
            Self::Exchange(from, to) => rename_with(root, from, to, RenameFlags::EXCHANGE)?,
            Self::Link(from, to) => fs::hard_link(root.join(from), root.join(to))?,
            Self::Symlink(to, at) => symlink(to, root.join(at))?,
            Self::Chmod(path, mode) => {
                fs::set_permissions(root.join(path), fs::Permissions::from_mode(*mode))?;
            }
            Self::Read(path) => return Ok(format!("{:?}", fs::read(root.join(path))?)),
            Self::List(path) => {
                let mut names = fs::read_dir(root.join(path))?
                    .map(|entry| Ok(entry?.file_name()))
                    .collect::<io::Result<Vec<_>>>()?;
                names.sort();
                return Ok(format!("{names:?}"));
            }
            _ => return self.try_apply_rare(side, root),
        }
        done
    }

    fn try_apply_rare(&self, side: &mut Side, root: &Path) -> io::Result<String> {
        match self {
            Self::ReplaceWhileOpen(from, to) => {
                let file = both(root, to)?;
                fs::rename(root.join(from), root.join(to))?;
                file.write_all_at(b"late", 3)?;
                let mut start = [0; 4];
                file.read_exact_at(&mut start, 3)?;
                Ok(format!("{start:?} {}", file.metadata()?.len()))
            }
            Self::Hold(path, slot) => {
                let file = both(root, path)?;
                let told = format!("{}", file.metadata()?.len());
                side.held[*slot] = Some(file);
                Ok(told)
            }
            Self::UseHeld(slot, at, data) => {
                let Some(file) = &side.held[*slot] else { return Ok(String::new()) };
                file.write_all_at(data, *at)?;
                let mut seen = vec![0; 1000];
                let count = file.read_at(&mut seen, at.saturating_sub(500))?;
                let meta = file.metadata()?;
                Ok(format!("{:?} {} {} {:o}", &seen[..count], meta.len(), meta.nlink(), meta.mode()))
            }
            Self::CutHeld(slot, len) => {
                let Some(file) = &side.held[*slot] else { return Ok(String::new()) };
                file.set_len(*len)?;
                Ok(file.metadata()?.len().to_string())
            }
            Self::Drop(slot) => {
                side.held[*slot] = None;
                Ok(String::new())
            }
            Self::UnlinkWhileOpen(path, data) => {
                let file = both(root, path)?;
                let before = file.metadata()?.nlink();
                fs::remove_file(root.join(path))?;
                file.write_all_at(data, 10)?;
                let mut seen = Vec::new();
                (&file).read_to_end(&mut seen)?;
                Ok(format!("{before} {} {seen:?}", file.metadata()?.nlink()))
            }
            Self::Flock(path) => locks(root, path),
            Self::RangeLock(path, at, len) => range_locks(root, path, *at, *len),
            Self::Allocate(path, flags, at, len) => {
                let file = both(root, path)?;
                rustix::fs::fallocate(&file, *flags, *at, *len)?;
                Ok(file.metadata()?.len().to_string())
            }
            Self::Seek(path, at) => {
                let file = both(root, path)?;
                // While pages are on their way to the disk, ext4 may say that there is no data.
                file.sync_all()?;
                let seek = |to| rustix::fs::seek(&file, to).map_err(|error| error.raw_os_error());
                Ok(format!("{:?} {:?}", seek(SeekFrom::Hole(*at)), seek(SeekFrom::Data(*at))))
            }
            Self::Copy(from, at, to, into, len) => {
                let (from, to) = (File::open(root.join(from))?, both(root, to)?);
                let (mut at, mut into) = (*at, *into);
                let copied = rustix::fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut into), *len)?;
                Ok(format!("{copied} {at} {into} {}", to.metadata()?.len()))
            }
            _ => self.try_apply_attributes(root),
        }
    }

    fn try_apply_attributes(&self, root: &Path) -> io::Result<String> {
        match self {
            Self::Times(path, secs, nanos) => {
                let at = std::time::UNIX_EPOCH + Duration::new(*secs, *nanos);
                let times = fs::FileTimes::new().set_modified(at).set_accessed(at + Duration::from_secs(1));
                File::open(root.join(path))?.set_times(times)?;
                times_of(&root.join(path))
            }
            Self::LinkTimes(path, secs) => {
                let at = rustix::fs::Timespec { tv_sec: *secs as i64, tv_nsec: 7 };
                let omit = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
                let times = rustix::fs::Timestamps { last_access: omit, last_modification: at };
                let (cwd, flags) = (rustix::fs::CWD, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
                rustix::fs::utimensat(cwd, root.join(path), &times, flags)?;
                let meta = fs::symlink_metadata(root.join(path))?;
                Ok(format!("{} {}", meta.mtime(), meta.mtime_nsec()))
            }
            Self::SetAttribute(path, nth, len, flags) => {
                let value = vec![b'v'; *len];
                rustix::fs::setxattr(root.join(path), ATTRIBUTES[*nth], &value, *flags)?;
                attributes(&root.join(path))
            }
            Self::ReadAttributes(path) => attributes(&root.join(path)),
            Self::RemoveAttribute(path, nth) => {
                rustix::fs::removexattr(root.join(path), ATTRIBUTES[*nth])?;
                attributes(&root.join(path))
            }
            Self::MapShared(path, at, with) => {
                let file = both(root, path)?;
                let len = file.metadata()?.len() as usize;
                if len == 0 {
                    return Ok(String::new());
                }
                let mut map = map::shared(&file, 0, len);
                map[at % len] = *with;
                map.flush()?;
                let mut seen = [0];
                file.read_exact_at(&mut seen, (at % len) as u64)?;
                Ok(format!("{seen:?}"))
            }
            Self::MapPrivate(path, at, with) => {
                let file = File::open(root.join(path))?;
                let len = file.metadata()?.len() as usize;
                if len == 0 {
                    return Ok(String::new());
                }
                let mut map = map::private(&file, len)?;
                let before = map[at % len];
                map[at % len] = with.wrapping_add(1);
                let mut seen = [0];
                file.read_exact_at(&mut seen, (at % len) as u64)?;
                Ok(format!("{before} {} {seen:?}", map[at % len]))
            }
            other => panic!("{other:?} has no way to be done"),
        }
    }
}

fn both(root: &Path, path: &str) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(root.join(path))
}

fn rename_with(root: &Path, from: &str, to: &str, flags: RenameFlags) -> io::Result<()> {
    let cwd = rustix::fs::CWD;
    Ok(rustix::fs::renameat_with(cwd, root.join(from), cwd, root.join(to), flags)?)
}

fn times_of(path: &Path) -> io::Result<String> {
    let meta = fs::metadata(path)?;
    Ok(format!("{} {} {} {}", meta.atime(), meta.atime_nsec(), meta.mtime(), meta.mtime_nsec()))
}

fn attributes(path: &Path) -> io::Result<String> {
    let mut names = vec![0; 4096];
    let count = rustix::fs::listxattr(path, &mut names)?;
    let names = String::from_utf8_lossy(&names[..count]).into_owned();
    let mut all = Vec::new();
    for name in names.split_terminator('\0').filter(|name| name.starts_with("user.")) {
        let mut value = [0; 256];
        all.push((name.to_owned(), rustix::fs::getxattr(path, name, &mut value)?));
    }
    all.sort();
    Ok(format!("{all:?}"))
}

/// Whole-file locks: two shared ones go together, an exclusive one goes alone, and a close frees it.
fn locks(root: &Path, path: &str) -> io::Result<String> {
    use rustix::fs::{FlockOperation, flock};
    let (one, two) = (both(root, path)?, both(root, path)?);
    let told = |done: Result<(), rustix::io::Errno>| format!("{:?}", done.map_err(|e| e.raw_os_error()));
    let mut all = vec![
        told(flock(&one, FlockOperation::NonBlockingLockShared)),
        told(flock(&two, FlockOperation::NonBlockingLockShared)),
        told(flock(&two, FlockOperation::NonBlockingLockExclusive)),
    ];
    drop(one);
    all.push(told(flock(&two, FlockOperation::NonBlockingLockExclusive)));
    Ok(all.join(" "))
}

/// Locks of ranges, held by open files: as POSIX locks, but two of one process get in each other's way.
fn range_locks(root: &Path, path: &str, at: u64, len: u64) -> io::Result<String> {
    use nix::fcntl::{FcntlArg, fcntl};
    let (one, two) = (both(root, path)?, both(root, path)?);
    let lock = |kind: i32, at: u64, len: u64| nix::libc::flock {
        l_type: kind as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: at as i64,
        l_len: len as i64,
        l_pid: 0,
    };
    let set = |file: &File, lock: &nix::libc::flock| {
        format!("{:?}", fcntl(file, FcntlArg::F_OFD_SETLK(lock)).map_err(|error| error as i32))
    };
    let (write, read, free) = (nix::libc::F_WRLCK, nix::libc::F_RDLCK, nix::libc::F_UNLCK);
    Ok([
        set(&one, &lock(write, at, len)),
        set(&two, &lock(read, at + len - 1, 1)),
        set(&two, &lock(write, at + len, 10)),
        set(&one, &lock(free, at + len / 2, len)),
        set(&two, &lock(read, at + len - 1, 1)),
    ]
    .join(" "))
}
