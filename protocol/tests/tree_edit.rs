//! The tree editor against a plain map, and packs written front to back.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, HashMap};

use cairn_protocol::object::fsck::check;
use cairn_protocol::object::{HashAlgo, Kind, ObjectId, TreeIter, hash_object};
use cairn_protocol::pack::{IndexOptions, LinksOnly, NothingKnown, PackSink, scan};
use cairn_protocol::tree_edit::{EditError, Node, TreeEditor};
use proptest::prelude::*;

type Files = BTreeMap<Vec<u8>, (u32, ObjectId)>;
type Store = HashMap<ObjectId, Vec<u8>>;

fn reader(store: &Store) -> impl FnMut(&ObjectId) -> Result<Vec<u8>, String> {
    |id| store.get(id).cloned().ok_or_else(|| format!("no tree {id}"))
}

/// All files below a tree.
fn listed(store: &Store, algo: HashAlgo, tree: &ObjectId, above: &[u8], into: &mut Files) {
    for entry in TreeIter::new(algo, &store[tree]) {
        let entry = entry.unwrap();
        let path = [above, entry.name].concat();
        let id = ObjectId::from_bytes(algo, entry.id).unwrap();
        match entry.is_tree() {
            true => listed(store, algo, &id, &[&path, &b"/"[..]].concat(), into),
            false => {
                into.insert(path, (entry.mode, id));
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(String, u8),
    Remove(String),
    Move(String, String),
    /// Writes all and starts from what was written.
    Save,
}

/// Few short names, among them those that sort around the slash, so that paths often meet.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "a-", "a0", "b", "a.b"]), 1..4)
        .prop_map(|parts| parts.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, data)| Step::Put(path, data)),
        2 => path().prop_map(Step::Remove),
        2 => (path(), path()).prop_map(|(from, to)| Step::Move(from, to)),
        1 => Just(Step::Save),
    ]
}

fn below(files: &Files, path: &[u8]) -> Vec<Vec<u8>> {
    let folder = [path, b"/"].concat();
    files.keys().filter(|file| *file == path || file.starts_with(&folder)).cloned().collect()
}

fn file_above(files: &Files, path: &[u8]) -> bool {
    (0..path.len()).any(|at| path[at] == b'/' && files.contains_key(&path[..at]))
}

fn save(editor: TreeEditor, store: &mut Store, algo: HashAlgo) -> ObjectId {
    let made = editor.finish().unwrap();
    for (id, data) in made.trees {
        check(algo, Kind::Tree, &data, &mut |found| panic!("{found}"));
        store.insert(id, data);
    }
    made.root
}

fn run(algo: HashAlgo, steps: Vec<Step>) {
    let (mut store, mut files) = (Store::new(), Files::new());
    let mut editor = TreeEditor::new(algo, None);
    for step in steps {
        match step {
            Step::Put(path, data) => {
                let path = path.into_bytes();
                let id = hash_object(algo, Kind::Blob, &[data]).unwrap();
                let done = editor.put(&path, Node::new(0o100_644, id), &mut reader(&store));
                if file_above(&files, &path) {
                    assert!(matches!(done, Err(EditError::FileInTheWay { .. })));
                    // A refused edit leaves the editor to be thrown away: start again from the model.
                    editor = TreeEditor::new(algo, None);
                    for (path, (mode, id)) in &files {
                        editor.put(path, Node::new(*mode, *id), &mut reader(&store)).unwrap();
                    }
                    continue;
                }
                done.unwrap();
                below(&files, &path).iter().for_each(|file| {
                    files.remove(file);
                });
                files.insert(path, (0o100_644, id));
            }
            Step::Remove(path) => {
                let gone = below(&files, path.as_bytes());
                let node = editor.remove(path.as_bytes(), &mut reader(&store)).unwrap();
                assert_eq!(node.is_some(), !gone.is_empty(), "{path}");
                gone.iter().for_each(|file| {
                    files.remove(file);
                });
            }
            Step::Move(from, to) => {
                let moved = below(&files, from.as_bytes());
                let mut rest = files.clone();
                moved.iter().for_each(|file| {
                    rest.remove(file);
                });
                if moved.is_empty() || file_above(&rest, to.as_bytes()) {
                    continue;
                }
                let node = editor.remove(from.as_bytes(), &mut reader(&store)).unwrap().unwrap();
                editor.put(to.as_bytes(), node, &mut reader(&store)).unwrap();
                below(&rest, to.as_bytes()).iter().for_each(|file| {
                    rest.remove(file);
                });
                for file in moved {
                    let end = file.strip_prefix(from.as_bytes()).unwrap();
                    rest.insert([to.as_bytes(), end].concat(), files[&file]);
                }
                files = rest;
            }
            Step::Save => editor = TreeEditor::new(algo, Some(save(editor, &mut store, algo))),
        }
    }
    let root = save(editor, &mut store, algo);
    let mut got = Files::new();
    listed(&store, algo, &root, b"", &mut got);
    assert_eq!(got, files);
    // Whatever the way, the same files make the same tree.
    let mut fresh = TreeEditor::new(algo, None);
    for (path, (mode, id)) in &files {
        fresh.put(path, Node::new(*mode, *id), &mut reader(&store)).unwrap();
    }
    assert_eq!(fresh.finish().unwrap().root, root);
}

proptest! {
    #[test]
    fn edits_do_to_a_tree_what_they_do_to_a_map(steps in prop::collection::vec(step(), 0..40), long in any::<bool>()) {
        run(if long { HashAlgo::Sha256 } else { HashAlgo::Sha1 }, steps);
    }
}

#[test]
fn only_the_folders_on_the_way_are_read() {
    let (algo, mut store) = (HashAlgo::Sha1, Store::new());
    let id = hash_object(algo, Kind::Blob, b"x").unwrap();
    let mut editor = TreeEditor::new(algo, None);
    for folder in 0..100 {
        for file in 0..10 {
            let path = format!("d{folder}/e/f{file}");
            editor.put(path.as_bytes(), Node::new(0o100_644, id), &mut reader(&store)).unwrap();
        }
    }
    let root = save(editor, &mut store, algo);
    let mut reads = 0;
    let mut counted = |id: &ObjectId| {
        reads += 1;
        reader(&store)(id)
    };
    let mut editor = TreeEditor::new(algo, Some(root));
    editor.put(b"d7/e/new", Node::new(0o100_755, id), &mut counted).unwrap();
    let made = editor.finish().unwrap();
    assert_eq!((reads, made.trees.len()), (3, 3), "root, d7, d7/e");
}

#[test]
fn a_tree_that_names_something_twice_is_not_edited() {
    let algo = HashAlgo::Sha1;
    let entry = [&b"100644 a\0"[..], &[1; 20]].concat();
    let mut read = |_: &ObjectId| Ok::<_, String>([entry.clone(), entry.clone()].concat());
    let root = ObjectId::from_bytes(algo, &[2; 20]).unwrap();
    let got = TreeEditor::new(algo, Some(root)).get(b"a", &mut read).map(|_| ());
    assert!(matches!(got, Err(EditError::Malformed(id)) if id == root));
}

#[test]
fn a_pack_written_front_to_back_indexes_and_must_be_as_announced() {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let big = vec![7_u8; 300_000];
        let mut sink = PackSink::new(algo, 2, Vec::new()).unwrap();
        sink.add(Kind::Blob, b"").unwrap();
        sink.add_stream(Kind::Blob, big.len() as u64, &mut big.as_slice()).unwrap();
        assert!(sink.add(Kind::Blob, b"more").is_err(), "one too many");
        let bytes = sink.finish().unwrap();
        let options =
            IndexOptions { algo, cache_bytes: 0, object_bytes_max: 1 << 20, objects_max: 9, fsck: false };
        let scanned = scan(&bytes, &options, &mut |_, _| {}).unwrap();
        let resolver = scanned.resolver(&bytes, &NothingKnown, &LinksOnly).unwrap();
        resolver.work().unwrap();
        let pack = resolver.finish().unwrap();
        assert!(pack.find(&hash_object(algo, Kind::Blob, &big).unwrap()).is_some());
        let early = PackSink::new(algo, 1, Vec::new()).unwrap().finish();
        assert!(early.is_err(), "one too few");
        let mut sink = PackSink::new(algo, 1, Vec::new()).unwrap();
        assert!(sink.add_stream(Kind::Blob, 9, &mut &b"short"[..]).is_err());
    }
}
