//! Journals whose frames have right checksums and any content: no panic, and what was taken is taken again.

#![no_main]

use std::collections::BTreeMap;
use std::fs;

use cairn_fs::overlay::journal::Journal;
use cairn_fs::overlay::{Facts, Inode, Kind, Meta, Overlay, ROOT, Stamp};
use cairn_protocol::object::{HashAlgo, ObjectId};
use libfuzzer_sys::fuzz_target;

fn fresh() -> (Meta, Overlay) {
    let root = ObjectId::from_bytes(HashAlgo::Sha1, &[7; 20]).expect("20 bytes");
    let at = Stamp { secs: 1_700_000_000, nanos: 0 };
    let facts = Facts {
        kind: Kind::Dir(Some(root)),
        mode: 0o755,
        uid: 0,
        gid: 0,
        atime: at,
        mtime: at,
        ctime: at,
        xattrs: BTreeMap::new(),
    };
    let mut overlay = Overlay::default();
    let inode = Inode { facts, links: Vec::new(), entries: BTreeMap::new(), dirty: false };
    overlay.inodes.insert(ROOT, inode);
    (Meta { generation: 0, root, key: [1, 2], commit_time: at }, overlay)
}

/// Frames of the lengths that the first byte of each says.
fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((&len, rest)) = data.split_first() {
        let (payload, rest) = rest.split_at(usize::from(len).min(rest.len()));
        out.extend((payload.len() as u32).to_le_bytes());
        out.extend(crc32fast::hash(payload).to_le_bytes());
        out.extend(payload);
        data = rest;
    }
    out
}

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    drop(Journal::open(folder.path(), fresh).expect("an empty state opens"));
    let log = folder.path().join("journal.0");
    fs::write(&log, frames(data)).expect("written");
    let (mut journal, overlay) = Journal::open(folder.path(), fresh).expect("a damaged tail is cut");
    let held = fs::metadata(&log).expect("it is there").len();
    journal.checkpoint(&overlay).expect("written");
    drop(journal);
    assert!(held <= frames(data).len() as u64);
    Journal::open(folder.path(), fresh).expect("what was taken is taken again");
});
