//! One file under random operations of all kinds beside a buffer, over a real mount: what `fsx` does.
//!
//! `CAIRN_FS_LONG=1` makes 20,000 operations for each seed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/fake.rs"]
mod fake;
#[path = "support/map.rs"]
mod map;
#[path = "support/random.rs"]
mod random;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cairn_fs::fs::Fs;
use cairn_fs::fuse::{MountOptions, Session, serve};
use fake::{Fake, options};
use random::Rng;
use rustix::fs::{FallocateFlags, copy_file_range, fallocate};

/// The file never grows beyond this; no multiple of a page.
const FILE_BYTES_MAX: usize = 300_007;
/// One operation touches no more.
const TOUCHED_BYTES_MAX: usize = 70_001;
const PAGE: usize = 4096;

#[derive(Clone, Copy, Debug)]
enum Op {
    Read { at: usize, len: usize },
    MapRead { at: usize, len: usize },
    Write { at: usize, len: usize, with: u8 },
    MapWrite { at: usize, len: usize, with: u8 },
    Cut(usize),
    Room { at: usize, len: usize },
    Hole { at: usize, len: usize },
    Zeros { at: usize, len: usize },
    Copy { from: usize, len: usize, to: usize },
    Sync,
    Reopen,
    Remount,
}

impl Op {
    fn pick(rng: &mut Rng, size: usize) -> Self {
        let len = 1 + rng.below(TOUCHED_BYTES_MAX);
        let anywhere = rng.below(FILE_BYTES_MAX - len);
        let inside = rng.below(size.max(1));
        let rest = len.min(size.saturating_sub(inside));
        let with = rng.below(256) as u8;
        match rng.below(100) {
            0..=19 => Self::Read { at: inside, len },
            20..=29 if rest > 0 => Self::MapRead { at: inside, len: rest },
            30..=49 => Self::Write { at: anywhere, len, with },
            50..=59 if rest > 0 => Self::MapWrite { at: inside, len: rest, with },
            60..=67 => Self::Cut(rng.below(FILE_BYTES_MAX)),
            68..=73 => Self::Room { at: anywhere, len },
            74..=79 => Self::Hole { at: anywhere, len },
            80..=84 => Self::Zeros { at: anywhere, len },
            85..=91 if rest > 0 => {
                Self::Copy { from: inside, len: rest, to: rng.below(FILE_BYTES_MAX - rest) }
            }
            92..=94 => Self::Sync,
            98 if rng.below(20) == 0 => Self::Remount,
            _ => Self::Reopen,
        }
    }

    fn on_model(self, model: &mut Vec<u8>) {
        match self {
            Self::Write { at, len, with } => {
                model.resize(model.len().max(at + len), 0);
                fill(&mut model[at..at + len], with);
            }
            Self::MapWrite { at, len, with } => fill(&mut model[at..at + len], with),
            Self::Cut(len) => model.resize(len, 0),
            Self::Room { at, len } => model.resize(model.len().max(at + len), 0),
            Self::Hole { at, len } => {
                let end = (at + len).min(model.len());
                model[at.min(end)..end].fill(0);
            }
            Self::Zeros { at, len } => {
                model.resize(model.len().max(at + len), 0);
                model[at..at + len].fill(0);
            }
            Self::Copy { from, len, to } if !overlap(from, len, to) => {
                let part = model[from..from + len].to_vec();
                model.resize(model.len().max(to + len), 0);
                model[to..to + len].copy_from_slice(&part);
            }
            _ => {}
        }
    }

    /// Does it to the file; what is read is compared with `model`, which has not seen the operation yet.
    fn on_file(self, file: &File, model: &[u8]) {
        match self {
            Self::Read { at, len } => {
                let mut seen = vec![0; len];
                let count = read_all(file, &mut seen, at);
                let end = (at + len).min(model.len());
                same(&seen[..count], &model[at.min(end)..end], at);
            }
            Self::MapRead { at, len } => {
                let (start, skip) = (at - at % PAGE, at % PAGE);
                let map = map::shared(file, start as u64, skip + len);
                same(&map[skip..], &model[at..at + len], at);
            }
            Self::Write { at, len, with } => {
                let mut data = vec![0; len];
                fill(&mut data, with);
                file.write_all_at(&data, at as u64).unwrap();
            }
            Self::MapWrite { at, len, with } => {
                let (start, skip) = (at - at % PAGE, at % PAGE);
                let mut map = map::shared(file, start as u64, skip + len);
                fill(&mut map[skip..], with);
            }
            Self::Cut(len) => file.set_len(len as u64).unwrap(),
            Self::Room { at, len } => allocate(file, FallocateFlags::empty(), at, len),
            Self::Hole { at, len } => {
                allocate(file, FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE, at, len);
            }
            Self::Zeros { at, len } => allocate(file, FallocateFlags::ZERO_RANGE, at, len),
            Self::Copy { from, len, to } if !overlap(from, len, to) => {
                let (mut here, mut there, mut left) = (from as u64, to as u64, len);
                while left > 0 {
                    let count = copy_file_range(file, Some(&mut here), file, Some(&mut there), left).unwrap();
                    assert!(count > 0, "nothing is copied before the end");
                    left -= count;
                }
            }
            Self::Sync => file.sync_all().unwrap(),
            Self::Copy { .. } | Self::Reopen | Self::Remount => {}
        }
    }
}

fn overlap(from: usize, len: usize, to: usize) -> bool {
    from < to + len && to < from + len
}

/// Bytes that tell their place.
fn fill(data: &mut [u8], with: u8) {
    data.iter_mut().enumerate().for_each(|(at, byte)| *byte = with.wrapping_add((at % 251) as u8));
}

fn same(seen: &[u8], want: &[u8], at: usize) {
    assert_eq!(seen.len(), want.len(), "bytes from {at}");
    if let Some(differs) = seen.iter().zip(want).position(|(seen, want)| seen != want) {
        panic!("byte {}: {} instead of {}", at + differs, seen[differs], want[differs]);
    }
}

fn read_all(file: &File, into: &mut [u8], at: usize) -> usize {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], (at + filled) as u64).unwrap() {
            0 => break,
            count => filled += count,
        }
    }
    filled
}

fn allocate(file: &File, flags: FallocateFlags, at: usize, len: usize) {
    fallocate(file, flags, at as u64, len as u64).unwrap();
}

struct Mount {
    session: Option<Session>,
    fake: Arc<Fake>,
    dir: tempfile::TempDir,
    base: Vec<u8>,
}

impl Mount {
    fn new() -> Self {
        let mut base = vec![0; 200_003];
        fill(&mut base, 7);
        let (fake, dir) = (Arc::new(Fake::default()), tempfile::tempdir().unwrap());
        std::fs::create_dir(dir.path().join("mnt")).unwrap();
        let mut mount = Self { session: None, fake, dir, base };
        mount.mount();
        mount
    }

    fn mount(&mut self) {
        let root = self.fake.tree_of(&[("f", "100644", &self.base)]);
        let objects = Arc::clone(&self.fake);
        let options = options(Duration::from_secs(60));
        let fs = Fs::open(&self.dir.path().join("state"), root, objects, options).unwrap();
        self.session = Some(serve(fs, &self.dir.path().join("mnt"), MountOptions::default()).unwrap());
    }

    fn unmount(&mut self) {
        let session = self.session.take().unwrap();
        session.unmount().unwrap();
        session.wait().unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("mnt/f")
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn run(seed: u64, operations: usize) {
    let (mut mount, mut rng) = (Mount::new(), Rng::new(seed));
    let mut model = mount.base.clone();
    let mut file = open(&mount.file());
    for at in 0..operations {
        let op = Op::pick(&mut rng, model.len());
        if at % 50 == 0 {
            println!("seed {seed}, operation {at}");
        }
        if matches!(op, Op::Reopen | Op::Remount) {
            drop(file);
            if matches!(op, Op::Remount) {
                mount.unmount();
                mount.mount();
            }
            file = open(&mount.file());
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| op.on_file(&file, &model)));
        assert!(done.is_ok(), "seed {seed}, operation {at}: {op:?}");
        op.on_model(&mut model);
        assert_eq!(file.metadata().unwrap().len(), model.len() as u64, "seed {seed}, operation {at}: {op:?}");
    }
    same(&std::fs::read(mount.file()).unwrap(), &model, 0);
    drop(file);
    mount.unmount();
    mount.mount();
    same(&std::fs::read(mount.file()).unwrap(), &model, 0);
}

#[test]
fn random_reads_writes_maps_holes_and_copies_leave_what_a_buffer_holds() {
    let is_long = std::env::var_os("CAIRN_FS_LONG").is_some();
    let (seeds, operations) = if is_long { (4, 20_000) } else { (2, 1_000) };
    (1..=seeds).for_each(|seed| run(seed, operations));
}
