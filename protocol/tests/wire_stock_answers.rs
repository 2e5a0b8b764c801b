//! Stock git as judge: the text parts of our answers are its own, byte for byte.

#[path = "support/stock_git.rs"]
mod stock_git;

use std::path::Path;

use cairn_protocol::{
    object::{HashAlgo, ObjectId},
    pktline::{write_delim, write_flush, write_on_band},
    refs::RefName,
    upload_pack::{
        Ack, V2Request, parse_v2, write_ack, write_acknowledgments, write_final_ack, write_ls_refs_line,
        write_nak, write_object_info, write_section, write_shallow_info, write_shallow_v0, write_wanted_refs,
    },
};
use stock_git::{git, packets, repository, run};

/// Git's answer to a body, up to where its pack starts.
fn answered(dir: &Path, version: u8, body: &[u8]) -> String {
    let out = run(git(dir, version).args(["upload-pack", "--stateless-rpc", "."]), body).stdout;
    let pack = out.windows(4).position(|bytes| bytes == b"PACK").unwrap_or(out.len());
    String::from_utf8_lossy(&out[..pack]).into_owned()
}

#[test]
fn text_answers_are_byte_for_byte_those_of_stock_git() {
    let (dir, head) = repository();
    let dir = dir.path();
    let head_id = ObjectId::from_hex(HashAlgo::Sha1, head.as_bytes()).unwrap();
    let main = RefName::new(b"refs/heads/main").unwrap();
    let (want, have) = (format!("want {head}"), format!("have {head}"));
    let mut ours = Vec::new();

    write_ls_refs_line(&mut ours, b"HEAD", Some(&head_id), Some(main.as_bytes()), None);
    write_ls_refs_line(&mut ours, &main, Some(&head_id), None, None);
    write_flush(&mut ours);
    let body = packets(&["command=ls-refs", "0001", "symrefs", "peel", "0000"]);
    assert_eq!(String::from_utf8_lossy(&ours), answered(dir, 2, &body), "ls-refs");

    ours.clear();
    write_acknowledgments(&mut ours, &[], false);
    write_flush(&mut ours);
    let absent = format!("have {}", "1".repeat(40));
    let body = packets(&["command=fetch", "0001", &want, &absent, "0000"]);
    assert_eq!(String::from_utf8_lossy(&ours), answered(dir, 2, &body), "nothing common");

    ours.clear();
    write_acknowledgments(&mut ours, &[head_id], true);
    write_delim(&mut ours);
    write_section(&mut ours, "packfile");
    let body = packets(&["command=fetch", "0001", &want, &have, "0000"]);
    let theirs = answered(dir, 2, &body);
    assert!(theirs.starts_with(&*String::from_utf8_lossy(&ours)), "common and ready: {theirs}");

    ours.clear();
    write_wanted_refs(&mut ours, &[(head_id, main.clone())]);
    write_delim(&mut ours);
    write_section(&mut ours, "packfile");
    let mut banded = Vec::new();
    write_on_band(&mut banded, &ours).unwrap();
    let lines = ["command=fetch", "0001", "want-ref refs/heads/main", "done", "0000"];
    let theirs = answered(dir, 2, &packets(&lines));
    assert!(theirs.starts_with(&*String::from_utf8_lossy(&ours)), "wanted-refs: {theirs}");
    let lines = ["command=fetch", "0001", "sideband-all", "want-ref refs/heads/main", "done", "0000"];
    let theirs = answered(dir, 2, &packets(&lines));
    assert!(theirs.starts_with(&*String::from_utf8_lossy(&banded)), "sideband-all: {theirs}");
}

#[test]
fn shallow_lists_are_byte_for_byte_those_of_stock_git() {
    let (dir, root) = repository();
    let dir = dir.path();
    assert!(run(git(dir, 2).args(["commit", "-q", "--allow-empty", "-m", "y"]), b"").status.success());
    let head = run(git(dir, 2).args(["rev-parse", "HEAD"]), b"").stdout;
    let head = String::from_utf8(head).unwrap().trim().to_owned();
    let head_id = ObjectId::from_hex(HashAlgo::Sha1, head.as_bytes()).unwrap();
    let (want, shallow) = (format!("want {head}"), format!("shallow {head}"));

    let mut ours = Vec::new();
    write_shallow_v0(&mut ours, &[head_id], &[]);
    let body = packets(&[&want, "deepen 1", "0000"]);
    assert_eq!(String::from_utf8_lossy(&ours), answered(dir, 0, &body), "v0, and nothing behind the list");
    write_nak(&mut ours);
    let body = packets(&[&want, "deepen 1", "0000", "0000"]);
    assert_eq!(String::from_utf8_lossy(&ours), answered(dir, 0, &body), "v0, with another flush");

    ours.clear();
    // A root at the last depth is called shallow too.
    let root_id = ObjectId::from_hex(HashAlgo::Sha1, root.as_bytes()).unwrap();
    write_shallow_info(&mut ours, &[root_id], &[head_id]);
    write_delim(&mut ours);
    write_section(&mut ours, "packfile");
    let body = packets(&["command=fetch", "0001", &want, &shallow, "deepen 2", "done", "0000"]);
    let theirs = answered(dir, 2, &body);
    assert!(theirs.starts_with(&*String::from_utf8_lossy(&ours)), "v2, unshallow: {theirs}");
}

#[test]
fn acks_of_v0_are_byte_for_byte_those_of_stock_git() {
    let (dir, head) = repository();
    let dir = dir.path();
    let head_id = ObjectId::from_hex(HashAlgo::Sha1, head.as_bytes()).unwrap();
    let have = format!("have {head}");
    let answer = |caps: &str, last: &str| {
        answered(dir, 0, &packets(&[&format!("want {head}{caps}"), "0000", &have, last]))
    };
    let made = |acks: &[Ack], end: fn(&mut Vec<u8>, &ObjectId)| {
        let mut out = Vec::new();
        acks.iter().for_each(|ack| write_ack(&mut out, &head_id, *ack));
        end(&mut out, &head_id);
        String::from_utf8(out).unwrap()
    };
    let nak = |out: &mut Vec<u8>, _: &ObjectId| write_nak(out);
    assert_eq!(answer("", "done"), made(&[], write_final_ack), "plain");
    assert_eq!(answer(" multi_ack", "0000"), made(&[Ack::Continue], nak), "multi_ack");
    assert_eq!(answer(" multi_ack", "done"), made(&[Ack::Continue], write_final_ack), "multi_ack, done");
    let both = [Ack::Common, Ack::Ready];
    assert_eq!(answer(" multi_ack_detailed", "0000"), made(&both, nak), "detailed");
    assert_eq!(
        answer(" multi_ack_detailed no-done", "0000"),
        {
            let mut out = made(&both, nak).into_bytes();
            write_final_ack(&mut out, &head_id);
            String::from_utf8(out).unwrap()
        },
        "detailed, no-done"
    );
    assert_eq!(answer(" multi_ack_detailed", "done"), made(&both[..1], write_final_ack), "detailed, done");
}

#[test]
fn object_sizes_are_answered_byte_for_byte_as_by_stock_git() {
    let (dir, id) = repository();
    let absent = "1".repeat(40);
    let size = run(git(dir.path(), 2).args(["cat-file", "-s", "HEAD"]), b"").stdout;
    let size: u64 = String::from_utf8(size).unwrap().trim().parse().unwrap();
    let (first, second) = (format!("oid {id}"), format!("oid {absent}"));
    let body = packets(&["command=object-info", "0001", "size", &first, &second, "0000"]);
    let theirs = run(git(dir.path(), 2).args(["upload-pack", "--stateless-rpc", "."]), &body).stdout;
    let Ok(Some(V2Request::ObjectInfo(asked))) = parse_v2(&body, HashAlgo::Sha1) else {
        panic!("object-info")
    };
    let mut ours = Vec::new();
    write_object_info(&mut ours, &[(asked.ids[0], Some(size)), (asked.ids[1], None)]);
    assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs));
}
