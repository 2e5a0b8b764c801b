//! Other processes that read the repository files while a server serves them: checks and exports.
//!
//! A reader notes the packs of a file once and reads their rows one by one. Leases keep those rows for readers of the same
//! process; for others there is a lock on one file of the data folder. Who reads shares it, and who deletes rows must have
//! it alone, or leaves them for a later turn. The system frees it however a process ends.

use std::fs::{File, OpenOptions};
use std::path::Path;

/// The file in the data folder that carries the lock.
const LOCK_FILE: &str = "readers";

fn open(data_dir: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(data_dir.join(LOCK_FILE))
}

/// Keeps what is there until the answer is dropped. `None` where nothing can be written, so that no server does either.
pub(crate) fn hold(data_dir: &Path) -> Option<File> {
    let file = open(data_dir).ok()?;
    file.lock_shared().ok()?;
    Some(file)
}

/// `None` while another process may read; nobody begins to until the answer is dropped.
pub(crate) fn keep_out(data_dir: &Path) -> Option<File> {
    let file = open(data_dir).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::{hold, keep_out};

    #[test]
    fn rows_go_only_while_nobody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let readers = [hold(data).unwrap(), hold(data).unwrap()];
        assert!(keep_out(data).is_none());
        drop(readers);
        let alone = keep_out(data).unwrap();
        assert!(keep_out(data).is_none(), "one at a time");
        drop(alone);
        assert!(hold(data).is_some());
    }
}
