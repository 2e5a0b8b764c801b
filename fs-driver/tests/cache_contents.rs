//! The cache of contents and the table of sizes, on a real disk.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::OpenOptions;
use std::io::Write;

use cairn_fs::cache::blobs::Blobs;
use cairn_fs::cache::sizes::Sizes;
use cairn_protocol::object::{HashAlgo, Kind, ObjectId, hash_object};

fn id(content: &[u8]) -> ObjectId {
    hash_object(HashAlgo::Sha1, Kind::Blob, content).unwrap()
}

#[test]
fn content_that_its_name_does_not_fit_is_refused_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path(), 1 << 20).unwrap();
    assert!(blobs.fill(&id(b"right"), b"wrong").is_err());
    assert!(!blobs.has(&id(b"right")));
    blobs.fill(&id(b"right"), b"right").unwrap();
    assert_eq!(blobs.open_blob(&id(b"right")).unwrap().unwrap().size, 5);
}

#[test]
fn content_that_the_disk_changed_is_not_shown_and_can_come_again() {
    let dir = tempfile::tempdir().unwrap();
    Blobs::open(dir.path(), 1 << 20).unwrap().fill(&id(b"right"), b"right").unwrap();
    let name = id(b"right").to_string();
    let path = dir.path().join("sha1").join(&name[..2]).join(&name);
    for damaged in [&b"wrong"[..], b"", b"righ", b"rightly"] {
        std::fs::write(&path, damaged).unwrap();
        // Another process, which has not seen it yet.
        let blobs = Blobs::open(dir.path(), 1 << 20).unwrap();
        assert!(blobs.open_blob(&id(b"right")).unwrap().is_none(), "{damaged:?}");
        assert!(!blobs.has(&id(b"right")));
        blobs.fill(&id(b"right"), b"right").unwrap();
        assert_eq!(blobs.open_blob(&id(b"right")).unwrap().unwrap().size, 5);
    }
}

#[test]
fn a_look_tells_of_every_blob_and_of_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path(), 1 << 20).unwrap();
    let contents = [&b"one"[..], b"two", b""];
    contents.iter().for_each(|content| blobs.fill(&id(content), content).unwrap());
    let shelf = dir.path().join("sha1").join(&id(b"one").to_string()[..2]);
    std::fs::write(shelf.join("tmp_half"), b"another process writes it").unwrap();
    let mut seen = Vec::new();
    assert_eq!(blobs.look_at_each(&mut |id| seen.push(*id)).unwrap(), 6);
    seen.sort();
    let mut known = contents.map(id);
    known.sort();
    assert_eq!(seen, known);
}

#[test]
fn eviction_leaves_what_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path(), 1 << 20).unwrap();
    let (used, idle) = (vec![1; 1000], vec![2; 1000]);
    blobs.fill(&id(&used), &used).unwrap();
    blobs.fill(&id(&idle), &idle).unwrap();
    let held = blobs.open_blob(&id(&used)).unwrap().unwrap();
    let other = Blobs::open(dir.path(), 1 << 20).unwrap();
    let done = other.evict(0).unwrap();
    assert_eq!((done.gone, done.kept), (1, 1));
    assert!(blobs.has(&id(&used)) && !blobs.has(&id(&idle)));
    drop(held);
    assert_eq!(other.evict(0).unwrap().gone, 1);
}

#[test]
fn sizes_outlive_a_record_that_a_crash_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sizes");
    let (first, second) = (id(b"first"), id(b"second"));
    Sizes::open(&path, HashAlgo::Sha1).unwrap().add(&[(first, 5)]).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"cut").unwrap();
    let sizes = Sizes::open(&path, HashAlgo::Sha1).unwrap();
    assert_eq!(sizes.get(&first), Some(5));
    sizes.add(&[(second, 6)]).unwrap();
    let again = Sizes::open(&path, HashAlgo::Sha1).unwrap();
    assert_eq!((again.get(&first), again.get(&second)), (Some(5), Some(6)));
}
