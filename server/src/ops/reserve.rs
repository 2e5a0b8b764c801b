//! Room that is kept back, so that a repository can be deleted from a disk that is full.
//!
//! A deletion writes a few pages to the catalog's log. Where they do not fit, the reserve is given up for them; the next
//! start keeps one again, if there is room.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::limits::RESERVE_BYTES;

fn path(data: &Path) -> PathBuf {
    data.join("reserve")
}

/// Keeps room back, where there is none kept yet.
pub fn keep(data: &Path) -> io::Result<()> {
    let path = path(data);
    if fs::metadata(&path).is_ok_and(|found| found.len() >= RESERVE_BYTES) {
        return Ok(());
    }
    let mut file = File::create(&path)?;
    let part = [0; 64 << 10];
    let written = (0..RESERVE_BYTES.div_ceil(part.len() as u64)).try_for_each(|_| file.write_all(&part));
    if written.is_err() {
        // Half a reserve only takes room away from others.
        fs::remove_file(&path)?;
    }
    written
}

/// Gives it up; answers whether there was one.
pub fn give(data: &Path) -> io::Result<bool> {
    match fs::remove_file(path(data)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
