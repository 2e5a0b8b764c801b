//! Random operations on files, the same for any directory.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

/// xorshift: the same numbers for the same seed.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

const NAMES: [&str; 10] = ["README", "run.sh", "src", "lib", "main.c", "a.h", "docs", "x", "new", "big.bin"];

fn path(rng: &mut Rng) -> String {
    let depth = [1, 1, 2, 2, 3][rng.below(5)];
    let names: Vec<&str> = (0..depth).map(|_| NAMES[rng.below(NAMES.len())]).collect();
    names.join("/")
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
    Exchange(String, String),
    Link(String, String),
    Symlink(String, String),
    Chmod(String, u32),
    Read(String),
    List(String),
    ReplaceWhileOpen(String, String),
}

impl Op {
    pub fn pick(rng: &mut Rng) -> Self {
        let one = path(rng);
        let data = vec![b'a' + rng.below(26) as u8; [0, 1, 100, 5000, 140_000][rng.below(5)]];
        match rng.below(20) {
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
            _ if rng.below(2) == 0 => Self::List(one),
            _ => Self::ReplaceWhileOpen(one, path(rng)),
        }
    }

    /// What it did, as text: the result or the error's number.
    pub fn apply(&self, root: &Path) -> String {
        match self.try_apply(root) {
            Ok(text) => text,
            Err(error) => format!("error {:?}", error.raw_os_error()),
        }
    }

    fn try_apply(&self, root: &Path) -> io::Result<String> {
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
            Self::Exchange(from, to) => {
                let (cwd, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(cwd, root.join(from), cwd, root.join(to), flags)?;
            }
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
            Self::ReplaceWhileOpen(from, to) => {
                let file = OpenOptions::new().read(true).write(true).open(root.join(to))?;
                fs::rename(root.join(from), root.join(to))?;
                file.write_all_at(b"late", 3)?;
                let mut start = [0; 4];
                file.read_exact_at(&mut start, 3)?;
                return Ok(format!("{start:?} {}", file.metadata()?.len()));
            }
        }
        done
    }
}
