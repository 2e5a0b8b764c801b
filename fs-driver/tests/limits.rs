//! Limits that a user, a program in a mount or a remote can reach, at the limit and one past it; without a kernel.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/fake.rs"]
mod fake;

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_fs::attributes::rules::Sources;
use cairn_fs::attributes::view::Converted;
use cairn_fs::cli::Cli;
use cairn_fs::config::{Record, login};
use cairn_fs::control::{Reply, Request, ask, serve, socket_of};
use cairn_fs::fs::{Fail, Fs, New, Res};
use cairn_fs::gitdir::bases::Bases;
use cairn_fs::gitdir::head::head_of;
use cairn_fs::gitdir::index::list;
use cairn_fs::gitdir::pack::read_object;
use cairn_fs::gitdir::receive::receive;
use cairn_fs::gitdir::text::PIECE_BYTES;
use cairn_fs::limits::{
    CHANGED_PATHS_MAX, CONTROL_CLIENTS_MAX, CONTROL_REQUEST_BYTES_MAX, DEADLINE_SECONDS_MAX, DELTA_DEPTH_MAX,
    INDEX_ENTRIES_MAX, INDEX_TEXT_BYTES_MAX, JOURNAL_BYTES_MAX, JOURNAL_FRAME_BYTES_MAX,
    LINK_TARGET_BYTES_MAX, NAME_BYTES_MAX, OBJECT_BYTES_MAX, PACK_OBJECTS_MAX, SOCKET_PATH_BYTES_MAX,
    SYMREFS_MAX, TOKEN_FILE_BYTES_MAX, TREE_DEPTH_MAX, WARNINGS_MAX, XATTR_BYTES_MAX,
};
use cairn_fs::overlay::journal::Journal;
use cairn_fs::overlay::{Meta, Op, Overlay, ROOT, Stamp};
use cairn_protocol::object::{HashAlgo, Kind, ObjectId, hash_object};
use cairn_protocol::pack::entry::{encode_ofs, encode_whole, pack_header};
use clap::Parser;
use fake::{Fake, options};
use serde_json::json;
use tempfile::TempDir;

const OWNER: (u32, u32) = (0, 0);

fn mounted(files: &[fake::FileOf<'_>]) -> (TempDir, Arc<Fs>) {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()));
    let root = fake.tree_of(files);
    let fs = Fs::open(dir.path(), root, fake, options(Duration::from_secs(60))).unwrap();
    (dir, fs)
}

fn errno<T>(done: Res<T>) -> i32 {
    match done {
        Err(Fail::Io(error)) => error.raw_os_error().unwrap(),
        Err(Fail::Need(need)) => panic!("{need:?}"),
        Ok(_) => panic!("it is past the limit"),
    }
}

#[test]
fn names_targets_and_attributes_stop_at_their_limits() {
    let (_dir, fs) = mounted(&[("a", "100644", b"alpha")]);
    let text = |bytes: usize| vec![b'x'; bytes];
    let make = |name: &[u8], new: New<'_>| fs.make(ROOT, name, new, 0o644, OWNER);
    make(&text(NAME_BYTES_MAX), New::File).unwrap();
    assert_eq!(errno(make(&text(NAME_BYTES_MAX + 1), New::File)), libc(rustix::io::Errno::NAMETOOLONG));
    assert_eq!(errno(fs.lookup(ROOT, &text(NAME_BYTES_MAX + 1))), libc(rustix::io::Errno::NAMETOOLONG));
    make(b"at", New::Link(&text(LINK_TARGET_BYTES_MAX))).unwrap();
    let past = make(b"past", New::Link(&text(LINK_TARGET_BYTES_MAX + 1)));
    assert_eq!(errno(past), libc(rustix::io::Errno::NAMETOOLONG));

    let ino = fs.lookup(ROOT, b"a").unwrap().ino;
    let set = |name: &[u8], value: &[u8]| fs.setxattr(ino, name, value, false, false);
    let named = |bytes: usize| [b"user.".as_slice(), &text(bytes - 5)].concat();
    set(&named(NAME_BYTES_MAX), b"").unwrap();
    assert_eq!(errno(set(&named(NAME_BYTES_MAX + 1), b"")), libc(rustix::io::Errno::RANGE));
    let left = XATTR_BYTES_MAX - NAME_BYTES_MAX - b"user.v".len();
    set(b"user.v", &text(left)).unwrap();
    assert_eq!(errno(set(b"user.v", &text(left + 1))), libc(rustix::io::Errno::NOSPC));
    assert_eq!(fs.getxattr(ino, b"user.v").unwrap().len(), left, "what was there stays");
}

fn libc(errno: rustix::io::Errno) -> i32 {
    errno.raw_os_error()
}

#[test]
fn a_link_of_the_commit_stops_at_its_limit() {
    let text = vec![b'x'; LINK_TARGET_BYTES_MAX + 1];
    let (_dir, fs) = mounted(&[("at", "120000", &text[..LINK_TARGET_BYTES_MAX]), ("past", "120000", &text)]);
    let target = |name: &[u8]| fs.readlink(fs.lookup(ROOT, name).unwrap().ino);
    assert_eq!(target(b"at").unwrap().len(), LINK_TARGET_BYTES_MAX);
    assert_eq!(errno(target(b"past")), libc(rustix::io::Errno::NAMETOOLONG));
}

#[test]
fn so_many_changed_paths_are_told_and_beyond_them_that_all_may_have_changed() {
    let (_dir, fs) = mounted(&[("a", "100644", b"alpha")]);
    let since = fs.changes_since(0).token;
    let count = || fs.changes_since(since).paths.map(|paths| paths.len());
    let mut names = (0..).map(|nth: u32| format!("n{nth}").into_bytes());
    let mut make = |new: usize| {
        for name in names.by_ref().take(new) {
            fs.make(ROOT, &name, New::Link(b"a"), 0o777, OWNER).unwrap();
        }
    };
    make(CHANGED_PATHS_MAX - 10);
    let left = CHANGED_PATHS_MAX - count().unwrap();
    make(left);
    assert_eq!(count(), Some(CHANGED_PATHS_MAX));
    make(1);
    assert_eq!(count(), None, "one past it");
}

fn journal(dir: &Path) -> Journal {
    let root = ObjectId::from_bytes(HashAlgo::Sha1, &[1; 20]).unwrap();
    let meta = Meta { generation: 1, root, key: [1, 2], commit_time: Stamp::default() };
    Journal::open(dir, || (meta, Overlay::default())).unwrap().0
}

/// A record with a name of so many bytes.
fn named(bytes: usize) -> [Op; 1] {
    [Op::Unlink { parent: ROOT, name: vec![b'x'; bytes].into(), white: false, at: None }]
}

/// Bytes of a frame of such a record without its name.
fn frame_bytes(dir: &Path) -> usize {
    let mut journal = journal(dir);
    let before = journal.file().metadata().unwrap().len();
    journal.append(&named(0)).unwrap();
    (journal.file().metadata().unwrap().len() - before) as usize
}

/// Bytes in front of a frame's records: their length and their sum.
const FRAME_HEAD_BYTES: usize = 8;

#[test]
fn a_frame_of_the_journal_stops_at_its_limit() {
    let (probe, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let fit = JOURNAL_FRAME_BYTES_MAX + FRAME_HEAD_BYTES - frame_bytes(probe.path());
    let mut journal = journal(dir.path());
    journal.append(&named(fit)).unwrap();
    let past = journal.append(&named(fit + 1)).unwrap_err();
    assert_eq!(past.kind(), ErrorKind::FileTooLarge);
    assert!(past.to_string().contains(&JOURNAL_FRAME_BYTES_MAX.to_string()), "{past}");
}

#[test]
fn a_journal_is_folded_once_it_is_longer_than_its_limit() {
    let (probe, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let empty = frame_bytes(probe.path());
    let mut journal = journal(dir.path());
    let mut left = (JOURNAL_BYTES_MAX - journal.file().metadata().unwrap().len()) as usize;
    while left > 0 {
        // The last two share what is left, so that neither is too small.
        let frame = if left < 1 << 20 { left } else { (1 << 19).min(left - empty) };
        journal.append(&named(frame - empty)).unwrap();
        left -= frame;
    }
    assert_eq!(journal.file().metadata().unwrap().len(), JOURNAL_BYTES_MAX);
    assert!(!journal.wants_checkpoint());
    journal.append(&named(0)).unwrap();
    assert!(journal.wants_checkpoint(), "one frame past it");
}

/// The answer to a prefetch whose line has so many bytes, its end included.
fn prefetched(state: &Path, bytes: u64) -> Reply {
    let empty = serde_json::to_vec(&Request::Prefetch(String::new())).unwrap().len() as u64 + 1;
    ask(state, &Request::Prefetch("x".repeat((bytes - empty) as usize))).unwrap()
}

#[test]
fn a_request_on_the_control_socket_stops_at_its_limit() {
    let state = tempfile::tempdir().unwrap();
    serve(state.path(), Arc::new(|_| Reply::Done)).unwrap();
    assert_eq!(prefetched(state.path(), CONTROL_REQUEST_BYTES_MAX), Reply::Done);
    let Reply::Error(why) = prefetched(state.path(), CONTROL_REQUEST_BYTES_MAX + 1) else {
        panic!("one byte past it")
    };
    assert!(why.contains(&CONTROL_REQUEST_BYTES_MAX.to_string()), "{why}");
}

#[test]
fn the_control_socket_serves_so_many_and_no_more() {
    let state = tempfile::tempdir().unwrap();
    serve(state.path(), Arc::new(|_| Reply::Done)).unwrap();
    let connect = || UnixStream::connect(socket_of(state.path())).unwrap();
    let mut silent: Vec<_> = (1..CONTROL_CLIENTS_MAX).map(|_| connect()).collect();
    assert_eq!(ask(state.path(), &Request::Pause).unwrap(), Reply::Done, "the last that fits");
    silent.push(connect());
    // The one before may be told a moment before it is no longer counted.
    let end = Instant::now() + Duration::from_secs(60);
    let is_refused = || connect().read(&mut [0; 1]).is_ok_and(|len| len == 0);
    assert!(is_refused(), "one past it");
    silent.pop();
    while ask(state.path(), &Request::Pause).is_err() {
        assert!(Instant::now() < end, "the place of one who left is free again");
    }
}

#[test]
fn the_path_of_the_control_socket_stops_at_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let at = |bytes: usize| {
        let socket = socket_of(dir.path()).as_os_str().len();
        let state = dir.path().join("x".repeat(bytes - socket - 1));
        std::fs::create_dir(&state).unwrap();
        assert_eq!(socket_of(&state).as_os_str().len(), bytes);
        serve(&state, Arc::new(|_| Reply::Done)).map(|()| ask(&state, &Request::Pause).unwrap())
    };
    assert_eq!(at(SOCKET_PATH_BYTES_MAX).unwrap(), Reply::Done);
    let past = at(SOCKET_PATH_BYTES_MAX + 1).unwrap_err();
    assert!(past.to_string().contains(&SOCKET_PATH_BYTES_MAX.to_string()), "{past}");
}

#[test]
fn head_leads_through_so_many_refs_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("refs/heads")).unwrap();
    let commit = "1".repeat(40);
    let through = |refs: usize| {
        let name = |nth: usize| if nth == 0 { "HEAD".to_owned() } else { format!("refs/heads/{nth}") };
        for nth in 0..refs {
            std::fs::write(dir.path().join(name(nth)), format!("ref: {}\n", name(nth + 1))).unwrap();
        }
        std::fs::write(dir.path().join(name(refs)), format!("{commit}\n")).unwrap();
        head_of(dir.path(), HashAlgo::Sha1)
    };
    assert_eq!(through(SYMREFS_MAX - 1).unwrap().commit.as_ref(), Some(&commit));
    let past = through(SYMREFS_MAX).unwrap_err();
    assert!(past.to_string().contains(&SYMREFS_MAX.to_string()), "{past}");
}

#[test]
fn a_file_with_a_token_stops_at_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let record: Record = serde_json::from_value(json!({
        "url": "https://example.org/r.git", "dir": "/m", "reference": null, "require_commit": null,
        "history": "Lazy", "read_only": false, "allow_other": false, "cache": dir.path(),
        "cache_bytes_max": 1, "token_file": &file, "background_bytes_per_second": null,
    }))
    .unwrap();
    let of = |bytes: u64| {
        std::fs::write(&file, "x".repeat(bytes as usize)).unwrap();
        login(&record)
    };
    assert_eq!(of(TOKEN_FILE_BYTES_MAX).unwrap().unwrap().password.len() as u64, TOKEN_FILE_BYTES_MAX);
    let past = of(TOKEN_FILE_BYTES_MAX + 1).err().unwrap();
    assert!(past.to_string().contains(&TOKEN_FILE_BYTES_MAX.to_string()), "{past}");
}

#[test]
fn deadlines_of_the_command_line_stop_at_their_limit() {
    for flag in ["--read-deadline", "--prepare-deadline"] {
        let parse = |seconds: u64| {
            let seconds = seconds.to_string();
            Cli::try_parse_from(["cairn-fs", "mount", "https://example.org/r.git", "/m", flag, &seconds])
        };
        assert!(parse(DEADLINE_SECONDS_MAX).is_ok(), "{flag}");
        let past = parse(DEADLINE_SECONDS_MAX + 1).err().unwrap().to_string();
        assert!(past.contains(&DEADLINE_SECONDS_MAX.to_string()), "{past}");
        assert!(parse(0).is_err(), "{flag}");
    }
}

fn entry(mode: &str, name: &str, id: &ObjectId) -> Vec<u8> {
    [format!("{mode} {name}\0").as_bytes(), id.as_bytes()].concat()
}

/// Trees by name.
#[derive(Default)]
struct Forest(HashMap<ObjectId, Vec<u8>>);

impl Forest {
    fn add(&mut self, raw: Vec<u8>) -> ObjectId {
        let id = hash_object(HashAlgo::Sha1, Kind::Tree, &raw).unwrap();
        self.0.insert(id, raw);
        id
    }

    /// How many files an index of `root` has.
    fn listed(&self, root: &ObjectId) -> Option<usize> {
        list(&mut |id| Ok(self.0[id].clone()), root).unwrap().map(|listing| listing.len())
    }
}

/// A file below so many folders, each in the one before.
fn deep(folders: usize, add: &mut dyn FnMut(Vec<u8>) -> ObjectId) -> ObjectId {
    let mut id = add(entry("100644", "f", &fake::id_of(b"")));
    for _ in 0..folders {
        id = add(entry("40000", "d", &id));
    }
    id
}

#[test]
fn a_tree_of_too_many_files_or_too_deep_folders_has_no_prepared_index() {
    const FILES: usize = 1_000;
    let mut forest = Forest::default();
    let blob = fake::id_of(b"");
    let files = (0..FILES).flat_map(|nth| entry("100644", &format!("{nth:03}"), &blob)).collect();
    let folder = forest.add(files);
    let folders = |count: usize| (0..count).flat_map(|nth| entry("40000", &format!("{nth:04}"), &folder));
    let at = forest.add(folders(INDEX_ENTRIES_MAX / FILES).collect());
    assert_eq!(forest.listed(&at), Some(INDEX_ENTRIES_MAX));
    let one = entry("100644", "z", &blob);
    let past = forest.add(folders(INDEX_ENTRIES_MAX / FILES).chain(one).collect());
    assert_eq!(forest.listed(&past), None, "one file past it");

    let at = deep(TREE_DEPTH_MAX, &mut |raw| forest.add(raw));
    assert_eq!(forest.listed(&at), Some(1));
    let past = deep(TREE_DEPTH_MAX + 1, &mut |raw| forest.add(raw));
    assert_eq!(forest.listed(&past), None, "one folder past it");
}

#[test]
fn paths_of_too_many_bytes_have_no_prepared_index() {
    const FILES: usize = 1_000;
    const PATH: usize = 255;
    let (mut forest, blob) = (Forest::default(), fake::id_of(b""));
    // A piece holds so many paths, each with the name of its object; no other is begun once there are as many as may be.
    let in_a_piece = PIECE_BYTES / (PATH + blob.as_bytes().len());
    let most = (INDEX_TEXT_BYTES_MAX / PIECE_BYTES - 1) * in_a_piece + 1;
    let files = (0..FILES).flat_map(|nth| entry("100644", &format!("{nth:0>250}"), &blob)).collect();
    let folder = forest.add(files);
    let mut root = |count: usize| {
        let folders = (0..count / FILES).flat_map(|nth| entry("40000", &format!("{nth:04}"), &folder));
        let rest = (0..count % FILES).flat_map(|nth| entry("100644", &format!("z{nth:0>254}"), &blob));
        forest.add(folders.chain(rest).collect())
    };
    let (at, past) = (root(most), root(most + 1));
    assert_eq!(forest.listed(&at), Some(most));
    assert_eq!(forest.listed(&past), None, "one path past it");
}

#[test]
fn folders_too_deep_are_not_converted() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()));
    let sources = Sources { autocrlf: "true".into(), ..Sources::default() };
    let converted = |folders: usize| {
        let root = deep(folders, &mut |raw| fake.add_tree(raw));
        Converted::new(Arc::clone(&fake) as _, root, &sources, dir.path())
    };
    assert!(converted(TREE_DEPTH_MAX).is_ok());
    let past = converted(TREE_DEPTH_MAX + 1).err().unwrap();
    assert!(past.to_string().contains("too deep"), "{past}");
}

#[test]
fn a_status_has_so_many_warnings_and_no_more() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()));
    let warned = |filters: usize| {
        let names: Vec<_> = (0..filters).map(|nth| format!("f{nth:02}")).collect();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), "100644", b"".as_slice())).collect();
        let rules: String = names.iter().map(|name| format!("{name} filter={name}\n")).collect();
        let files_of = [(String::new(), rules.into_bytes())].into();
        let sources = Sources { files: files_of, ..Sources::default() };
        let root = fake.tree_of(&files);
        Converted::new(Arc::clone(&fake) as _, root, &sources, dir.path()).unwrap().warnings().len()
    };
    assert_eq!((warned(WARNINGS_MAX), warned(WARNINGS_MAX + 1)), (WARNINGS_MAX, WARNINGS_MAX));
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A pack in a file, with what stands for its sum.
fn pack_of(entries: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[&pack_header(1)[..], entries, &[0; 20]].concat()).unwrap();
    file
}

fn read_at(file: &File, at: usize) -> std::io::Result<(Kind, Vec<u8>)> {
    read_object(file, HashAlgo::Sha1, at as u64, &Bases::default(), &|_| Ok(None))
}

#[test]
fn a_chain_of_deltas_stops_at_its_limit() {
    let head = pack_header(1).len();
    let mut entries = Vec::new();
    encode_whole(&mut entries, Kind::Blob, 1);
    entries.extend(deflated(b"x"));
    // One byte to one byte: copied from the start.
    let (delta, mut last) = ([1, 1, 0b1001_0000, 1], 0);
    let packed = deflated(&delta);
    for nth in 1..=DELTA_DEPTH_MAX + 1 {
        let at = entries.len();
        encode_ofs(&mut entries, delta.len() as u64, (at - last) as u64);
        entries.extend(&packed);
        last = at;
        if nth == DELTA_DEPTH_MAX {
            assert_eq!(read_at(&pack_of(&entries), head + at).unwrap(), (Kind::Blob, b"x".to_vec()));
        }
    }
    let past = read_at(&pack_of(&entries), head + last).unwrap_err();
    assert!(past.to_string().contains("too long a chain"), "{past}");
}

#[test]
fn an_object_of_a_pack_stops_at_its_limit() {
    let said = |bytes: u64| {
        let mut entries = Vec::new();
        encode_whole(&mut entries, Kind::Blob, bytes);
        entries.extend(deflated(b"far less"));
        read_at(&pack_of(&entries), pack_header(1).len()).unwrap_err().to_string()
    };
    let limit = OBJECT_BYTES_MAX.to_string();
    assert!(!said(OBJECT_BYTES_MAX).contains(&limit), "it is read, and is not as long as it says");
    assert!(said(OBJECT_BYTES_MAX + 1).contains(&limit));
}

#[test]
fn a_pack_that_is_received_stops_at_its_count_of_objects() {
    let dir = tempfile::tempdir().unwrap();
    let said = |count: u32| {
        let bytes = [&pack_header(count)[..], &[0; 20]].concat();
        let received = receive(dir.path(), HashAlgo::Sha1, |sink| sink(&bytes));
        received.err().unwrap().to_string()
    };
    let limit = PACK_OBJECTS_MAX.to_string();
    assert!(!said(PACK_OBJECTS_MAX).contains(&limit), "it is read, and ends early");
    assert!(said(PACK_OBJECTS_MAX + 1).contains(&limit));
}
