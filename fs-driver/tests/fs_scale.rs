//! Memory: 50,000 files in the normal run, a million with `CAIRN_FS_LONG`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/fake.rs"]
mod fake;

use std::sync::Arc;
use std::time::Duration;

use cairn_fs::fs::Fs;
use cairn_fs::overlay::ROOT;
use fake::{Fake, options};

/// Bytes that one listed file may take: an inode, and its entry in a decoded tree.
const FILE_BYTES_MAX: u64 = 256;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn all_files_known_to_the_kernel_stay_within_the_budget_of_memory() {
    let (dirs, budget) =
        if std::env::var_os("CAIRN_FS_LONG").is_some() { (1000, 1 << 30) } else { (50, 150 << 20) };
    let fake = Arc::new(Fake::default());
    let blob = fake.add_blob(b"content");
    let mut root = Vec::new();
    for dir in 0..dirs {
        let mut raw = Vec::new();
        for file in 0..1000 {
            raw.extend(format!("100644 a_file_of_{dir:04}_{file:04}.c\0").bytes());
            raw.extend(blob.as_bytes());
        }
        let id = fake.add_tree(raw);
        root.extend(format!("40000 dir{dir:04}\0").bytes());
        root.extend(id.as_bytes());
    }
    let (dir, root) = (tempfile::tempdir().unwrap(), fake.add_tree(root));
    let fs = Fs::open(dir.path(), root, Arc::clone(&fake) as _, options(Duration::from_secs(60))).unwrap();
    let before = resident_bytes();
    let mut files = 0;
    for listed in fs.list(ROOT).unwrap().iter().filter(|listed| &*listed.name != b".git") {
        let ino = fs.lookup(ROOT, &listed.name).unwrap().ino;
        for file in fs.list(ino).unwrap() {
            assert_eq!(fs.lookup(ino, &file.name).unwrap().ino, file.ino);
            files += 1;
        }
    }
    assert_eq!(files, dirs * 1000);
    let resident = resident_bytes();
    let each = resident.saturating_sub(before) / files;
    println!("{files} files: {} MiB resident, {each} bytes for each file", resident >> 20);
    assert!(each <= FILE_BYTES_MAX, "{each} bytes for each file, at most {FILE_BYTES_MAX} are allowed");
    assert!(resident < budget, "{resident} bytes are resident, at most {budget} are allowed");
}
