//! The trees that a mount keeps for the next one of the same commit.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/remotes.rs"]
mod remotes;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cairn_conformance::fixture::Script;
use cairn_conformance::front::Deed;
use remotes::World;

/// What is to be the same in each mount: inode, mode, size, second of the last change, content.
type Facts = (u64, u32, u64, i64, Vec<u8>);

fn world() -> World {
    let mut script = Script::default();
    script.commit(
        "main",
        &[],
        &[
            (".gitattributes", "*.bat text eol=crlf\n"),
            (".gitignore", "*.o\n"),
            ("README", "first\n"),
            ("run.bat", "echo\nexit\n"),
            ("same/a/file", "a\n"),
            ("same/b/file", "a\n"),
            ("deep/er/and/deep/er/.gitignore", "x\n"),
            ("deep/er/and/deep/er/file", "end\n"),
        ],
    );
    World::stock(&script, |_| Deed::Pass)
}

fn tree(root: &Path) -> BTreeMap<PathBuf, Facts> {
    let (mut all, mut todo) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = match meta.file_type() {
                kind if kind.is_dir() => {
                    todo.push(path.clone());
                    Vec::new()
                }
                kind if kind.is_symlink() => {
                    fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                }
                _ => fs::read(&path).unwrap(),
            };
            let size = if meta.is_dir() { 0 } else { meta.size() };
            let facts = (meta.ino(), meta.mode(), size, meta.mtime(), content);
            all.insert(path.strip_prefix(root).unwrap().to_owned(), facts);
        }
    }
    all
}

/// The folder that all mounts of the remote share.
fn store(world: &World) -> PathBuf {
    let mut remotes = fs::read_dir(world.cache().join("remotes")).unwrap();
    remotes.next().unwrap().unwrap().path()
}

fn kept(world: &World) -> PathBuf {
    let mut files = fs::read_dir(store(world).join("trees")).unwrap();
    let found = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none(), "one commit was mounted");
    found
}

#[test]
fn a_second_mount_is_the_first_file_by_file_and_reads_no_pack_for_it() {
    let world = world();
    world.mount(&["--history", "lazy"]);
    let first = tree(&world.mountpoint());
    assert_eq!(first[Path::new("run.bat")].4, b"echo\r\nexit\r\n");
    world.unmount();
    let packs = store(&world).join("objects/pack");
    fs::rename(&packs, packs.with_file_name("away")).unwrap();
    world.mount(&["--history", "lazy"]);
    assert_eq!(tree(&world.mountpoint()), first);
    world.unmount();
    fs::remove_file(kept(&world)).unwrap();
    let seen = world.refused(&["--history", "lazy"]);
    assert!(seen.contains("is not here"), "the packs are needed after all: {seen}");
    fs::remove_dir_all(&packs).unwrap();
    fs::rename(packs.with_file_name("away"), &packs).unwrap();
    world.mount(&["--history", "lazy"]);
    assert_eq!(tree(&world.mountpoint()), first);
    assert_eq!(world.ok(&["status", "--porcelain"]), "");
}

#[test]
fn what_is_damaged_cut_off_or_of_another_version_is_written_anew() {
    let world = world();
    world.mount(&["--history", "lazy"]);
    let first = tree(&world.mountpoint());
    world.unmount();
    let path = kept(&world);
    let whole = fs::read(&path).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut raw = whole.clone();
        raw[at] ^= byte;
        raw
    };
    let cases = [
        ("a bit", changed(whole.len() / 2, 1)),
        ("a later version", changed(7, 3)),
        ("cut off", whole[..whole.len() - 9].to_vec()),
        ("empty", Vec::new()),
        ("zeros, as a loss of power leaves them", vec![0; whole.len()]),
    ];
    for (why, raw) in cases {
        fs::write(&path, raw).unwrap();
        world.mount(&["--history", "lazy"]);
        assert_eq!(tree(&world.mountpoint()), first, "{why}");
        world.unmount();
        assert!(fs::read(kept(&world)).unwrap() == whole, "{why}: it is not written anew");
    }
}

#[test]
fn a_mount_with_other_settings_shows_the_same_kept_trees_by_its_own() {
    let world = world();
    world.mount(&["--history", "lazy"]);
    let first = tree(&world.mountpoint());
    let whole = fs::read(kept(&world)).unwrap();
    fs::write(world.dir.path().join("gitconfig"), "[core]\n\tautocrlf = true\n").unwrap();
    let (url, other) = (world.url(), world.dir.path().join("other"));
    let other_name = other.to_str().unwrap();
    world.done(&["mount", &url, other_name, "--history", "lazy"]);
    let second = tree(&other);
    world.done(&["unmount", other_name]);
    assert_eq!(second[Path::new("README")].4, b"first\r\n");
    assert_eq!(first[Path::new("README")].4, b"first\n");
    assert_eq!(second[Path::new("run.bat")].4, first[Path::new("run.bat")].4);
    assert!(fs::read(kept(&world)).unwrap() == whole, "they are shared");
}

#[test]
fn what_is_known_of_a_mount_is_written_again_only_where_it_changes() {
    let world = world();
    world.mount(&["--history", "lazy"]);
    world.unmount();
    let mut mounts = fs::read_dir(world.cache().join("mounts")).unwrap();
    let record = mounts.next().unwrap().unwrap().path().join("mount.json");
    let before = fs::metadata(&record).unwrap();
    world.mount(&["--history", "lazy"]);
    world.unmount();
    assert_eq!(fs::metadata(&record).unwrap().ino(), before.ino(), "the same is not written again");
    world.mount(&["--history", "full"]);
    assert_ne!(fs::metadata(&record).unwrap().ino(), before.ino());
}
