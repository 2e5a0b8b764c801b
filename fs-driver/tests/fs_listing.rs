//! A listing that is read in parts: what changes meanwhile neither hides nor doubles any other name.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/fake.rs"]
mod fake;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cairn_fs::fs::{Fs, New, Rename};
use cairn_fs::overlay::{Name, ROOT};
use fake::{Fake, options};

const FILES: usize = 60;

/// Reads one name at a time and calls `between` after each.
fn names_read_one_by_one(fs: &Fs, mut between: impl FnMut(usize)) -> Vec<Name> {
    let (mut names, mut place) = (Vec::new(), 0);
    loop {
        let next = fs.list_from(ROOT, place).unwrap().first().map(|one| (one.place, one.name.clone()));
        let Some((behind, name)) = next else { return names };
        assert!(behind > place, "the place {behind} follows {place}");
        place = behind;
        names.push(name);
        between(names.len());
    }
}

#[test]
fn a_listing_in_parts_has_each_name_that_stays_once_whatever_others_make_remove_and_write() {
    let fake = Arc::new(Fake::default());
    let paths: Vec<String> = (0..FILES).map(|file| format!("base{file:03}")).collect();
    let files: Vec<_> = paths.iter().map(|path| (path.as_str(), "100644", &b"text"[..])).collect();
    let (dir, root) = (tempfile::tempdir().unwrap(), fake.tree_of(&files));
    let fs = Fs::open(dir.path(), root, Arc::clone(&fake) as _, options(Duration::from_secs(60))).unwrap();
    let make = |name: String| fs.make(ROOT, name.as_bytes(), New::File, 0o644, (0, 0)).unwrap();
    for local in 0..FILES {
        make(format!("local{local:03}"));
    }
    let found = names_read_one_by_one(&fs, |count| {
        let name = |kind: &str, file: usize| format!("{kind}{file:03}").into_bytes();
        match count {
            // One of three goes, one of three is written: its content and its record become its own.
            1..=FILES if count % 3 == 0 => {
                fs.unlink(ROOT, &name("base", count - 1)).unwrap();
                fs.unlink(ROOT, &name("local", count - 1)).unwrap();
            }
            1..=FILES if count % 3 == 1 => {
                let ino = fs.lookup(ROOT, &name("base", count - 1)).unwrap().ino;
                fs.truncate(ino, 0).unwrap();
                make(format!("new{count:03}"));
            }
            _ => {}
        }
        // A listing of its own takes the place of the one that is kept.
        assert!(fs.list_from(ROOT, 0).unwrap().len() > FILES / 2);
    });
    let once: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(once.len(), found.len(), "a name comes twice");
    for one in fs.list(ROOT).unwrap().iter().filter(|one| !one.name.starts_with(b"new")) {
        assert!(once.contains(&one.name), "{} is missing", one.name.escape_ascii());
    }
}

#[test]
fn a_listing_from_the_start_shows_what_was_made_and_moved_while_another_is_read() {
    let fake = Arc::new(Fake::default());
    let (dir, root) = (
        tempfile::tempdir().unwrap(),
        fake.tree_of(&[("a", "100644", b"a"), ("b", "100755", b"b"), ("c", "100644", b"c")]),
    );
    let fs = Fs::open(dir.path(), root, Arc::clone(&fake) as _, options(Duration::from_secs(60))).unwrap();
    let first = fs.list_from(ROOT, 0).unwrap()[1].place;
    assert_eq!(fs.list_from(ROOT, first).unwrap().len(), 2);
    fs.rename((ROOT, b"c"), (ROOT, b"d"), Rename::NoReplace).unwrap();
    let all: BTreeSet<_> = fs.list_from(ROOT, 0).unwrap().iter().map(|one| one.name.clone()).collect();
    let wanted: BTreeSet<Name> = [&b".git"[..], b"a", b"b", b"d"].into_iter().map(Into::into).collect();
    assert_eq!(all, wanted);
    let last = fs.list(ROOT).unwrap().last().unwrap().place;
    assert!(fs.list_from(ROOT, last).unwrap().is_empty());
}
