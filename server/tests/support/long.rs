//! A long history, made without git: so much to walk that a millisecond does not do.
#![allow(dead_code, reason = "each test binary uses its own part")]

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::PackWriter;

use super::support::{Server, append_pack};

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
    let repo = server.repository(namespace, name).await;
    let (bytes, tip) = pack(repo.algo(), count);
    append_pack(&repo, bytes, "refs/heads/main", tip);
    tip
}

/// Makes `main` one commit of `count` small files, past all requests.
pub async fn place_files(server: &Server, namespace: &str, name: &str, count: u32) {
    let repo = server.repository(namespace, name).await;
    let mut writer = PackWriter::new(repo.algo());
    let mut tree = Vec::new();
    for number in 0..count {
        let blob = writer.add(Kind::Blob, format!("{number}\n").as_bytes()).expect("no collision");
        tree.extend_from_slice(format!("100644 {number:08}\0").as_bytes());
        tree.extend_from_slice(blob.as_bytes());
    }
    let tree = writer.add(Kind::Tree, &tree).expect("no collision");
    let who = "A <a@x> 1600000000 +0000";
    let text = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\nmany\n");
    let tip = writer.add(Kind::Commit, text.as_bytes()).expect("no collision");
    append_pack(&repo, writer.finish().expect("no collision"), "refs/heads/main", tip);
}
