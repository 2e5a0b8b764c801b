//! A long history, made without git: so much to walk that a millisecond does not do.
#![allow(dead_code, reason = "each test binary uses its own part")]

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::{IndexOptions, LinksOnly, NothingKnown, PackWriter, scan};
use cairn_server::store::repo::{EntryKind, Expected, NewEntry, RefUpdate};

use super::support::Server;

/// A pack of `count` commits in a row, each of which changes a file, and the last of them.
pub fn pack(algo: HashAlgo, count: u32) -> (Vec<u8>, ObjectId) {
    let mut writer = PackWriter::new(algo);
    let mut tip: Option<ObjectId> = None;
    for number in 0..count {
        let blob = writer.add(Kind::Blob, format!("{number}\n").as_bytes()).expect("no collision");
        let tree = [b"100644 file\0".as_slice(), blob.as_bytes()].concat();
        let tree = writer.add(Kind::Tree, &tree).expect("no collision");
        let parent = tip.map(|tip| format!("parent {tip}\n")).unwrap_or_default();
        let who = format!("A <a@x> {} +0000", 1_600_000_000 + number);
        let text = format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n\n{number}\n");
        tip = Some(writer.add(Kind::Commit, text.as_bytes()).expect("no collision"));
    }
    (writer.finish().expect("no collision"), tip.expect("at least one commit"))
}

/// Makes it the history of `main`, past all requests.
pub async fn place(server: &Server, namespace: &str, name: &str, count: u32) -> ObjectId {
    let row = server.app.catalog.resolve(namespace, name).await.expect("an answer").expect("a repository");
    let algo = row.object_format;
    let repo = server.app.files.repo(algo, &row.pins).expect("a repository");
    let (bytes, tip) = pack(algo, count);
    let options = IndexOptions {
        algo,
        cache_bytes: 1 << 20,
        object_bytes_max: 1 << 20,
        objects_max: u32::MAX,
        fsck: false,
    };
    let scanned = scan(&bytes, &options, &mut |_, _| {}).expect("a pack");
    let resolver = scanned.resolver(&bytes, &NothingKnown, &LinksOnly).expect("a pack");
    resolver.work().expect("resolves");
    let staged = repo.stage(&resolver.finish().expect("a pack"), &bytes, true).expect("staged");
    let update = RefUpdate {
        name: b"refs/heads/main".to_vec(),
        expected: Expected::Absent,
        new: Some(tip),
        peeled: None,
    };
    let entry = NewEntry {
        kind: EntryKind::Push,
        actor: "tests".into(),
        time_ms: 0,
        nonce: [0; 16],
        staged: Some(staged),
        updates: vec![update],
        atomic: false,
    };
    assert!(repo.commit_entry(entry).expect("committed").seq.is_some());
    tip
}
