//! The core without a kernel, beside a plain model: random operations, remounts, and journals that are cut anywhere.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/fake.rs"]
mod fake;
#[path = "support/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cairn_fs::fs::{Fail, FileKind, Fs, New, Rename, Res};
use cairn_fs::overlay::ROOT;
use fake::{Fake, options};
use random::Rng;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(Vec<u8>),
    Link(Vec<u8>),
}

/// Paths without leading slash.
type Model = BTreeMap<String, Node>;

const BASE: [(&str, &str, &[u8]); 6] = [
    ("a", "100644", b"alpha"),
    ("d/a", "100644", b"in d"),
    ("d/e/a", "100755", b"deeper"),
    ("d/e/b", "100644", b"deeper b"),
    ("l", "120000", b"a"),
    ("f/g/a", "100644", b"f"),
];

fn base_model() -> Model {
    let mut model = Model::new();
    for (path, mode, data) in BASE {
        for (at, _) in path.match_indices('/') {
            model.insert(path[..at].to_owned(), Node::Dir);
        }
        let node = if mode == "120000" { Node::Link(data.to_vec()) } else { Node::File(data.to_vec()) };
        model.insert(path.to_owned(), node);
    }
    model
}

fn below(model: &Model, dir: &str) -> Vec<String> {
    let prefix = format!("{dir}/");
    model.keys().filter(|path| path.starts_with(&prefix)).cloned().collect()
}

fn parent_is_dir(model: &Model, path: &str) -> bool {
    path.rsplit_once('/').is_none_or(|(dir, _)| model.get(dir) == Some(&Node::Dir))
}

#[derive(Clone, Debug)]
enum Op {
    Make(String, Node),
    Write(String, u64, Vec<u8>),
    Cut(String, u64),
    Remove(String),
    Rename(String, String),
    Exchange(String, String),
}

impl Op {
    fn pick(rng: &mut Rng) -> Self {
        let names = ["a", "b", "d", "e", "f", "g", "l"];
        let path = |rng: &mut Rng| {
            let depth = 1 + rng.below(3);
            (0..depth).map(|_| names[rng.below(names.len())]).collect::<Vec<_>>().join("/")
        };
        let one = path(rng);
        match rng.below(12) {
            0 | 1 => Self::Make(one, Node::Dir),
            2 | 3 => Self::Make(one, Node::File(Vec::new())),
            4 => Self::Make(one, Node::Link(b"to".to_vec())),
            5 | 6 => Self::Write(one, rng.below(20) as u64, vec![b'0' + rng.below(10) as u8; rng.below(9)]),
            7 => Self::Cut(one, rng.below(12) as u64),
            8 | 9 => Self::Remove(one),
            10 => Self::Rename(one, path(rng)),
            _ if rng.below(3) == 0 => Self::Exchange(one, path(rng)),
            _ => Self::Rename(one, path(rng)),
        }
    }

    /// Whether it can be done; if so, it is.
    fn on_model(&self, model: &mut Model) -> bool {
        match self {
            Self::Make(path, node) => {
                let free = parent_is_dir(model, path) && !model.contains_key(path);
                if free {
                    model.insert(path.clone(), node.clone());
                }
                free
            }
            Self::Write(path, at, data) => match model.get_mut(path) {
                Some(Node::File(bytes)) => {
                    let (at, end) = (*at as usize, *at as usize + data.len());
                    if !data.is_empty() {
                        bytes.resize(bytes.len().max(end), 0);
                        bytes[at..end].copy_from_slice(data);
                    }
                    true
                }
                _ => false,
            },
            Self::Cut(path, len) => match model.get_mut(path) {
                Some(Node::File(bytes)) => {
                    bytes.resize(*len as usize, 0);
                    true
                }
                _ => false,
            },
            Self::Remove(path) => below(model, path).is_empty() && model.remove(path).is_some(),
            Self::Rename(from, to) => rename(model, from, to),
            Self::Exchange(one, two) => {
                let apart = !format!("{one}/").starts_with(&format!("{two}/"))
                    && !format!("{two}/").starts_with(&format!("{one}/"));
                let both = model.contains_key(one) && model.contains_key(two);
                if one != two && both && apart {
                    let spare = "spare".to_owned();
                    relocate(model, one, &spare);
                    relocate(model, two, one);
                    relocate(model, &spare, two);
                }
                both && (one == two || apart)
            }
        }
    }

    fn on_fs(&self, fs: &Fs) -> Res<()> {
        let owner = (0, 0);
        match self {
            Self::Make(path, node) => {
                let (dir, name) = split(fs, path)?;
                let new = match node {
                    Node::Dir => New::Dir,
                    Node::File(_) => New::File,
                    Node::Link(to) => New::Link(to),
                };
                let made = fs.make(dir, name, new, 0o755, owner)?;
                fs.forget(made.ino, 1);
                Ok(())
            }
            Self::Write(path, at, data) => with(fs, path, |ino| {
                let opened = fs.open_file(ino, true, false)?;
                let done = if data.is_empty() { Ok(0) } else { fs.write(opened.handle, *at, data) };
                fs.release(opened.handle);
                done.map(drop)
            }),
            Self::Cut(path, len) => with(fs, path, |ino| fs.truncate(ino, *len)),
            Self::Remove(path) => {
                let kind = with(fs, path, |ino| Ok(fs.getattr(ino)?.kind))?;
                let (dir, name) = split(fs, path)?;
                if kind == FileKind::Dir { fs.rmdir(dir, name) } else { fs.unlink(dir, name).map(drop) }
            }
            Self::Rename(from, to) => {
                let (from, to) = (split(fs, from)?, split(fs, to)?);
                fs.rename(from, to, Rename::Replace).map(drop)
            }
            Self::Exchange(one, two) => {
                let (one, two) = (split(fs, one)?, split(fs, two)?);
                fs.rename(one, two, Rename::Exchange).map(drop)
            }
        }
    }
}

fn relocate(model: &mut Model, from: &str, to: &str) {
    for path in below(model, from).into_iter().chain([from.to_owned()]) {
        let node = model.remove(&path).unwrap();
        model.insert(format!("{to}{}", &path[from.len()..]), node);
    }
}

fn rename(model: &mut Model, from: &str, to: &str) -> bool {
    let Some(node) = model.get(from).cloned() else { return false };
    if from == to {
        return true;
    }
    if !parent_is_dir(model, to) || to.starts_with(&format!("{from}/")) {
        return false;
    }
    let fits = match model.get(to) {
        None => true,
        Some(Node::Dir) => node == Node::Dir && below(model, to).is_empty(),
        Some(_) => node != Node::Dir,
    };
    if fits {
        model.remove(to);
        relocate(model, from, to);
    }
    fits
}

/// The directory of a path and its last name. The path stays known: nothing is forgotten, as with a busy kernel.
fn split<'a>(fs: &Fs, path: &'a str) -> Res<(u64, &'a [u8])> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut ino = ROOT;
    for part in dir.split('/').filter(|part| !part.is_empty()) {
        ino = fs.lookup(ino, part.as_bytes())?.ino;
    }
    Ok((ino, name.as_bytes()))
}

fn with<T>(fs: &Fs, path: &str, run: impl FnOnce(u64) -> Res<T>) -> Res<T> {
    let (dir, name) = split(fs, path)?;
    let ino = fs.lookup(dir, name)?.ino;
    let done = run(ino);
    fs.forget(ino, 1);
    done
}

/// All that the filesystem shows.
fn shown(fs: &Fs) -> Model {
    let mut model = Model::new();
    let mut todo = vec![(ROOT, String::new())];
    while let Some((dir, prefix)) = todo.pop() {
        for entry in fs.list(dir).unwrap() {
            if &*entry.name == b".git" {
                continue;
            }
            let found = fs.lookup(dir, &entry.name).unwrap();
            assert_eq!((found.ino, found.kind), (entry.ino, entry.kind), "listing and look-up agree");
            let path = format!("{prefix}{}", String::from_utf8_lossy(&entry.name));
            let node = match found.kind {
                FileKind::Dir => {
                    todo.push((found.ino, format!("{path}/")));
                    Node::Dir
                }
                FileKind::File => {
                    let opened = fs.open_file(found.ino, false, false).unwrap();
                    let bytes = fs.source(opened.handle).unwrap().read(0, 1 << 20).unwrap();
                    fs.release(opened.handle);
                    assert_eq!(bytes.len() as u64, found.size);
                    Node::File(bytes)
                }
                FileKind::Link => Node::Link(fs.readlink(found.ino).unwrap()),
                other => panic!("{other:?}"),
            };
            if node != Node::Dir {
                fs.forget(found.ino, 1);
            }
            model.insert(path, node);
        }
    }
    model
}

fn open(state: &Path, fake: &Arc<Fake>) -> Arc<Fs> {
    let root = fake.tree_of(&BASE);
    let objects = Arc::clone(fake);
    Fs::open(state, root, objects, options(Duration::from_secs(60))).unwrap()
}

fn journal_of(state: &Path) -> std::path::PathBuf {
    let mut all = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    all.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("journal.")).unwrap()
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let into = to.join(path.file_name().unwrap());
        if path.is_dir() { copy_all(&path, &into) } else { assert!(fs::copy(&path, into).is_ok()) }
    }
}

#[test]
fn random_operations_and_remounts_leave_what_the_model_says() {
    for seed in 1..=8 {
        let (dir, fake, mut rng) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()), Rng::new(seed));
        let mut model = base_model();
        let mut fs = open(dir.path(), &fake);
        for at in 0..400 {
            let op = Op::pick(&mut rng);
            let could = op.on_model(&mut model);
            let did = op.on_fs(&fs);
            assert!(!matches!(did, Err(Fail::Need(_))), "all is local");
            assert_eq!(did.is_ok(), could, "seed {seed}, operation {at}: {op:?}: {did:?}");
            if at % 20 == 19 {
                assert_eq!(shown(&fs), model, "seed {seed}, operation {at}");
            }
            if rng.below(40) == 0 {
                drop(fs);
                fs = open(dir.path(), &fake);
                assert_eq!(shown(&fs), model, "seed {seed}, remount after operation {at}");
            }
        }
    }
}

fn names(model: &Model) -> Vec<(&String, bool)> {
    model.iter().map(|(path, node)| (path, *node == Node::Dir)).collect()
}

#[test]
fn a_journal_cut_at_any_byte_gives_the_names_of_a_moment_that_was() {
    for seed in 1..=4 {
        let (dir, fake, mut rng) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()), Rng::new(seed));
        let state = dir.path().join("state");
        let mut model = base_model();
        let fs = open(&state, &fake);
        let journal = journal_of(&state);
        // How long the journal was when the tree looked so.
        let mut moments = vec![(0, model.clone())];
        for _ in 0..60 {
            let op = Op::pick(&mut rng);
            if op.on_model(&mut model) {
                op.on_fs(&fs).unwrap();
            }
            moments.push((fs::metadata(&journal).unwrap().len(), model.clone()));
        }
        let len = moments.last().unwrap().0;
        for round in 0..8 {
            let cut = rng.below(len as usize + 1) as u64;
            let crashed = dir.path().join(format!("crash{round}"));
            copy_all(&state, &crashed);
            let file = fs::OpenOptions::new().write(true).open(journal_of(&crashed)).unwrap();
            file.set_len(cut).unwrap();
            let again = open(&crashed, &fake);
            let (_, before) = moments.iter().rfind(|(len, _)| *len <= cut).unwrap();
            let found = shown(&again);
            assert_eq!(names(&found), names(before), "seed {seed}, cut at {cut} of {len}");
            // And it goes on from there.
            again.make(ROOT, b"after", New::File, 0o644, (0, 0)).unwrap();
            drop(again);
            assert!(shown(&open(&crashed, &fake)).contains_key("after"));
        }
        // Killed, not cut: nothing at all is lost.
        let killed = dir.path().join("killed");
        copy_all(&state, &killed);
        assert_eq!(shown(&open(&killed, &fake)), model, "seed {seed}");
    }
}

#[test]
fn names_that_git_refuses_are_hidden_and_the_rest_stays() {
    let fake = Arc::new(Fake::default());
    let blob = fake.add_blob(b"x");
    let mut raw = Vec::new();
    for name in [".GIT", ".git", "..", "a", "a", "git~1", "ok", "x/y"] {
        raw.extend(format!("100644 {name}\0").bytes());
        raw.extend(blob.as_bytes());
    }
    let (dir, root) = (tempfile::tempdir().unwrap(), fake.add_tree(raw));
    let objects = Arc::clone(&fake);
    let fs = Fs::open(dir.path(), root, objects, options(Duration::from_secs(60))).unwrap();
    let names: Vec<_> = fs.list(ROOT).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, [(*b".git").into(), (*b"a").into(), Box::<[u8]>::from(*b"ok")]);
    assert!(fs.lookup(ROOT, b".GIT").is_err());
}

#[test]
fn a_tree_with_a_thousand_million_paths_is_opened_and_answers() {
    let fake = Arc::new(Fake::default());
    let mut id = fake.tree_of(&[("leaf", "100644", b"leaf")]);
    for _ in 0..9 {
        let mut raw = Vec::new();
        for name in 0..10 {
            raw.extend(format!("40000 d{name}\0").bytes());
            raw.extend(id.as_bytes());
        }
        id = fake.add_tree(raw);
    }
    let dir = tempfile::tempdir().unwrap();
    let fs = Fs::open(dir.path(), id, Arc::clone(&fake) as _, options(Duration::from_secs(60))).unwrap();
    let path = "d7/d1/d2/d9/d0/d4/d4/d5/d6/leaf";
    assert_eq!(fs.inode_facts(path.as_bytes()).unwrap().size, Some(4));
    let first = with(&fs, path, Ok).unwrap();
    assert_eq!(fs.inode_facts(path.as_bytes()).unwrap().ino, first);
    Op::Rename("d7".into(), "moved".into()).on_fs(&fs).unwrap();
    Op::Write("moved/d1/d2/d9/d0/d4/d4/d5/d6/leaf".into(), 0, b"L".to_vec()).on_fs(&fs).unwrap();
    assert!(fs.status().inodes < 100, "only what was touched is known");
    let mut seen = 0;
    let stop = &mut |_: &[u8], _, _| {
        seen += 1;
        if seen == 1000 { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    };
    fs.walk_base_while(stop).unwrap();
    assert_eq!(seen, 1000);
}

#[test]
fn the_base_is_walked_in_the_order_of_gits_index() {
    let fake = Arc::new(Fake::default());
    let files: [(&str, &str, &[u8]); 4] =
        [("a.c", "100644", b"1"), ("a/z", "100644", b"2"), ("a0", "100755", b"3"), ("b", "120000", b"a0")];
    let (dir, root) = (tempfile::tempdir().unwrap(), fake.tree_of(&files));
    let fs = Fs::open(dir.path(), root, Arc::clone(&fake) as _, options(Duration::from_secs(60))).unwrap();
    let mut seen = Vec::new();
    fs.walk_base(&mut |path, mode, _| seen.push((String::from_utf8(path.to_vec()).unwrap(), mode))).unwrap();
    let want = [("a.c", 0o100_644), ("a/z", 0o100_644), ("a0", 0o100_755), ("b", 0o120_000)];
    assert_eq!(seen, want.map(|(path, mode)| (path.to_owned(), mode)));
}

#[test]
fn a_state_has_one_owner_at_a_time() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()));
    let first = open(dir.path(), &fake);
    let objects = Arc::clone(&fake);
    let second = Fs::open(dir.path(), first.root_tree(), objects, options(Duration::from_secs(60)));
    assert_eq!(second.err().unwrap().kind(), std::io::ErrorKind::ResourceBusy);
    drop(first);
    open(dir.path(), &fake);
}
