//! A real server on a disk that is full: writes fail with their own code and words, reads and deletions go on, and once
//! there is room again, so do writes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cairn_tests::Server;
use cairn_tests::chain::Chain;
use cairn_tests::server::{Random, assert_clones, assert_sound};
use cairn_tests::small_disk::SmallDisk;
use serde_json::{Value, json};

const DISK_MIB: u32 = 20;
/// Larger than what a first log takes, so that the disk fills in a few pushes.
const BLOB_BYTES: usize = 700_000;
/// Pushes that would need more than the disk has.
const PUSHES_MAX: usize = 40;

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let Some(small) = SmallDisk::mount(data.path(), DISK_MIB) else {
        println!("left out: this process may not mount a small disk");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start_on(data);
    let remote = server.create("main");
    server.create("other");
    let mut chain = Chain::new("refs/heads/b", 5, BLOB_BYTES);
    let name = chain.name().to_owned();
    let pushes = (0..PUSHES_MAX).take_while(|_| {
        let step = chain.next_step();
        chain.push(&remote, &step)
    });
    assert!((1..PUSHES_MAX).contains(&pushes.count()), "the disk is smaller than the pushes");
    // Stock git is told why.
    let git = server.git(dir.path(), &[&remote]);
    let work = dir.path().join("work");
    let out = git.run(dir.path(), &["clone", "--quiet", "--branch", "b", &remote.url, "work"]);
    assert!(out.ok(), "{}", out.errors());
    std::fs::write(work.join("big"), Random::new(6).bytes(4_000_000)).unwrap();
    for args in [&["add", "big"][..], &["commit", "--quiet", "-m", "big"]] {
        assert!(git.run(&work, args).ok());
    }
    let out = git.run(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/big"]);
    assert!(!out.ok() && out.errors().contains("disk is full"), "{}", out.errors());

    // What is left is filled, so that nothing more fits anywhere.
    let mut ballast = std::fs::File::create(server.data().join("ballast")).unwrap();
    while std::io::Write::write_all(&mut ballast, &[1; 4_096]).is_ok() {}
    let commit = json!({ "message": "m", "allow_empty": true, "branch": "c", "expected_head": null,
        "changes": [{ "path": "f", "content": "x".repeat(100_000) }] });
    let commits = "/namespaces/t/repos/other/commits";
    let (status, body) = server.rest("POST", commits, &commit);
    assert_eq!((status, &body["errors"][0]["code"]), (507, &json!(10405)), "{body}");

    // Reads go on, over git and REST.
    assert_clones(&git, dir.path(), &remote.url, "while-full");
    let (status, body) = server.rest("GET", "/namespaces/t/repos/main/refs", &Value::Null);
    let shown = body["result"].as_array().unwrap().iter().find(|row| row["name"] == name.as_str());
    assert_eq!((status, shown.map(|row| &row["hash"])), (200, Some(&json!(chain.tip()))), "{body}");
    // So does deleting.
    let (status, body) = server.rest("DELETE", "/namespaces/t/repos/main", &Value::Null);
    assert!((200..300).contains(&status), "{status} {body}");
    assert_eq!(server.rest("GET", "/namespaces/t/repos/main", &Value::Null).0, 404);

    drop(ballast);
    std::fs::remove_file(server.data().join("ballast")).unwrap();
    // The file of a deleted repository goes at the next start at the latest.
    server.kill();
    server.restart();
    assert_eq!(server.rest("POST", commits, &commit).0, 201, "there is room again");
    server.terminate();
    assert!(server.wait().success());
    assert_sound(server.data());
    // Unmounted before the folder itself goes.
    drop(small);
}
