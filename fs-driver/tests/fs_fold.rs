//! Written files that hold again what the base has are shown from the base again.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/fake.rs"]
mod fake;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cairn_fs::fs::{Attr, Fs, New};
use cairn_fs::overlay::ROOT;
use fake::{Fake, options};

const BASE: [(&str, &str, &[u8]); 3] =
    [("a", "100644", b"alpha"), ("b", "100755", b"beta!"), ("c", "100644", b"gamma")];

fn open(state: &Path, fake: &Arc<Fake>) -> Arc<Fs> {
    let root = fake.tree_of(&BASE);
    Fs::open(state, root, Arc::clone(fake) as _, options(Duration::from_secs(60))).unwrap()
}

fn write(fs: &Fs, name: &str, data: &[u8]) -> Attr {
    let ino = fs.lookup(ROOT, name.as_bytes()).unwrap().ino;
    let opened = fs.open_file(ino, true, true).unwrap();
    fs.write(opened.handle, 0, data).unwrap();
    fs.release(opened.handle);
    fs.getattr(ino).unwrap()
}

fn read(fs: &Fs, name: &str) -> Vec<u8> {
    let ino = fs.lookup(ROOT, name.as_bytes()).unwrap().ino;
    let opened = fs.open_file(ino, false, false).unwrap();
    let bytes = fs.source(opened.handle).unwrap().read(0, 100).unwrap();
    fs.release(opened.handle);
    bytes
}

/// What is seen of it, without the room it takes on the disk.
fn seen(attr: &Attr) -> Attr {
    Attr { blocks: 0, ..attr.clone() }
}

#[test]
fn what_a_checkout_back_and_forth_wrote_leaves_the_state_and_nobody_sees_it() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()));
    let fs = open(dir.path(), &fake);
    write(&fs, "a", b"other");
    // As git does it: removed, and made anew.
    fs.unlink(ROOT, b"b").unwrap();
    fs.make(ROOT, b"b", New::File, 0o755, (0, 0)).unwrap();
    write(&fs, "b", b"else!");
    write(&fs, "c", b"changed");
    assert_eq!((fs.fold_back(), fs.status().dirty_files), (0, 3), "all differ");

    let (a, b) = (write(&fs, "a", b"alpha"), write(&fs, "b", b"beta!"));
    let token = fs.changes_since(0).token;
    assert_eq!((fs.fold_back(), fs.status().dirty_files), (2, 1), "c differs still");
    assert!(fs.changes_since(token).paths.is_some_and(|paths| paths.is_empty()), "nothing changed");
    let again = |name: &str| seen(&fs.lookup(ROOT, name.as_bytes()).unwrap());
    assert_eq!((again("a"), again("b")), (seen(&a), seen(&b)), "inode, times, size and mode are the same");
    assert_eq!((read(&fs, "a"), read(&fs, "b")), (b"alpha".to_vec(), b"beta!".to_vec()));
    assert_eq!(read(&fs, "c"), b"changed");
    fs.flush().unwrap();
    drop(fs);
    let fs = open(dir.path(), &fake);
    let again = |name: &str| seen(&fs.lookup(ROOT, name.as_bytes()).unwrap());
    assert_eq!((again("a"), again("b")), (seen(&a), seen(&b)));
    assert_eq!(read(&fs, "b"), b"beta!");
    assert_eq!(fs.status().dirty_files, 1);
    // And it can be written again.
    write(&fs, "a", b"once more");
    assert_eq!(read(&fs, "a"), b"once more");
}

#[test]
fn a_file_stays_as_written_while_it_is_open_or_its_blob_is_elsewhere() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()));
    let fs = open(dir.path(), &fake);
    let a = write(&fs, "a", b"alpha");
    let held = fs.open_file(a.ino, false, false).unwrap();
    assert_eq!(fs.fold_back(), 0, "it is open");
    fs.release(held.handle);
    assert_eq!(fs.fold_back(), 1, "it is closed");
    fake.cold.lock().unwrap().insert(fake::id_of(b"beta!"));
    write(&fs, "b", b"beta!");
    assert_eq!(fs.fold_back(), 0, "the blob would have to be fetched");
    assert_eq!(read(&fs, "b"), b"beta!");
    // The next mount looks again.
    fs.flush().unwrap();
    drop(fs);
    fake.cold.lock().unwrap().clear();
    let fs = open(dir.path(), &fake);
    assert_eq!((fs.fold_back(), fs.status().dirty_files), (1, 0));
}

#[test]
fn what_is_written_after_it_was_folded_back_outlives_the_removal_of_what_it_was() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()));
    let fs = open(dir.path(), &fake);
    write(&fs, "a", b"other");
    write(&fs, "a", b"alpha");
    assert_eq!(fs.fold_back(), 1);
    write(&fs, "a", b"once more");
    fs.flush().unwrap();
    assert_eq!(read(&fs, "a"), b"once more");
    drop(fs);
    assert_eq!(read(&open(dir.path(), &fake), "a"), b"once more");
}
