//! Claims about the store, on packs built by hand.

mod double;
mod dropping;
mod dropping_model;
mod log;
mod packs;
mod refs;
mod roll;
mod rolled_index;
mod stock;

use cairn_protocol::object::{HashAlgo, ObjectId};

use super::{Committed, EntryKind, Expected, NewEntry, RefUpdate, Repo, Staged, UpdateResult};
use crate::store::files::{Files, Pin, RepoId};
use double::TestPack;

const SHA1: HashAlgo = HashAlgo::Sha1;

/// A data folder and its files.
struct Data {
    folder: tempfile::TempDir,
    files: Files,
}

fn data() -> Data {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path(), 8);
    Data { folder, files }
}

fn id_of(n: u8) -> RepoId {
    RepoId::parse(&format!("{n:016}")).unwrap()
}

fn own(n: u8) -> Pin {
    Pin::new(id_of(n), None)
}

fn pin(n: u8, seq: u64) -> Pin {
    Pin::new(id_of(n), Some(seq))
}

fn oid(n: u32) -> ObjectId {
    let mut bytes = [7; 20];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    ObjectId::from_bytes(SHA1, &bytes).unwrap()
}

fn create(name: &str, id: ObjectId) -> RefUpdate {
    RefUpdate { name: name.into(), expected: Expected::Absent, new: Some(id), peeled: None }
}

fn moved(name: &str, from: ObjectId, to: ObjectId) -> RefUpdate {
    RefUpdate { name: name.into(), expected: Expected::Exactly(from), new: Some(to), peeled: None }
}

fn delete(name: &str) -> RefUpdate {
    RefUpdate { name: name.into(), expected: Expected::Any, new: None, peeled: None }
}

fn entry(staged: Option<Staged>, updates: Vec<RefUpdate>) -> NewEntry {
    let kind = EntryKind::Push;
    NewEntry { kind, actor: "tester".into(), time_ms: 1, nonce: [1; 16], staged, updates, atomic: false }
}

fn push(repo: &Repo, pack: Option<&TestPack>, updates: Vec<RefUpdate>) -> Committed {
    let staged = pack.map(|pack| repo.stage(pack, &pack.bytes, true).unwrap());
    repo.commit_entry(entry(staged, updates)).unwrap()
}

fn names(repo: &Repo, at: Option<u64>, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    let snapshot = repo.snapshot(at).unwrap();
    snapshot
        .refs(prefix.as_bytes(), &mut |row| {
            names.push(String::from_utf8(row.name).unwrap());
            true
        })
        .unwrap();
    names
}

fn ok(committed: &Committed) -> u64 {
    assert!(committed.results.iter().all(|result| *result == UpdateResult::Ok), "{committed:?}");
    committed.seq.unwrap()
}
