//! Files that are written before they get their name, and what is done about those that a kill left.
//!
//! Who writes one holds a lock on it, which ends with the process. A sweep removes those that nobody holds. Between a file's
//! creation and its lock no sweep looks: the one holds a lock on the folder that the other needs alone.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// A pack that is being received.
pub const PACK: &str = "tmp_pack_";
/// The index of one.
pub const INDEX: &str = "tmp_idx_";

/// A new file in `folder`, locked for as long as it is open. Gone when dropped, unless it is given a name.
pub fn create(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let held = File::open(folder)?;
    held.lock_shared()?;
    let file = tempfile::Builder::new().prefix(prefix).tempfile_in(folder)?;
    file.as_file().lock()?;
    Ok(file)
}

/// Removes the files that [`create`] made in `folder` and that nobody writes any more. Answers how many.
pub fn sweep(folder: &Path) -> io::Result<usize> {
    let held = File::open(folder)?;
    held.lock()?;
    let mut gone = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours =
            [PACK, INDEX].iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        if !is_ours || !entry.file_type()?.is_file() {
            continue;
        }
        // It may have got its name, or be gone, since the folder was read.
        let file = match File::open(entry.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if file.try_lock().is_ok() {
            fs::remove_file(entry.path())?;
            gone += 1;
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn a_sweep_takes_what_nobody_writes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("tmp_pack_left");
        let (other, named) = (folder.path().join("tmp_other"), folder.path().join("pack-1.pack"));
        for file in [&left, &other, &named] {
            fs::write(file, "bytes").unwrap();
        }
        let writing = create(folder.path(), PACK).unwrap();
        let index = create(folder.path(), INDEX).unwrap();
        assert_eq!(sweep(folder.path()).unwrap(), 1);
        assert!(!left.exists() && other.exists() && named.exists());
        assert!(writing.path().exists() && index.path().exists());
        let given = folder.path().join("pack-2.pack");
        writing.persist(&given).unwrap();
        // As a kill leaves it.
        let (_, path) = index.keep().unwrap();
        assert_eq!(sweep(folder.path()).unwrap(), 1);
        assert!(given.exists() && !path.exists());
    }
}
