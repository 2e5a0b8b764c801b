//! Stock git as judge: it refuses and takes the same request bodies, and its client reads what we write.

#[path = "support/stock_git.rs"]
mod stock_git;

use std::{fs, process::Output};

use cairn_protocol::{
    object::{HashAlgo, ObjectId},
    pktline::{BAND_DATA_MAX, write_band, write_data, write_flush, write_line},
    receive_pack::{Outcome, Parsed, Report, parse_push, write_report},
    refs::RefName,
    upload_pack::{
        AdvertisedRef, Service, advertise_v0, advertise_v2, parse_v0, parse_v2, write_ls_refs_line,
    },
};
use stock_git::{git, packets, repository, run};

/// Git refuses by its exit status, and some things by an `ERR` alone.
fn takes(git: &Output) -> bool {
    git.status.success() && !git.stdout.windows(4).any(|bytes| bytes == b"ERR ")
}

#[test]
fn stock_git_takes_and_refuses_the_same_v2_bodies() {
    let (dir, id) = repository();
    let (want, have) = (format!("want {id}"), format!("have {id}"));
    let cases: Vec<Vec<&str>> = vec![
        vec!["0000"],
        vec!["command=ls-refs", "0000"],
        vec!["command=ls-refs", "agent=x", "session-id=x", "server-option=x", "0001", "peel", "0000"],
        vec!["server-option=x", "command=ls-refs", "0000"],
        vec!["command=ls-refs", "object-format=sha1", "0001", "symrefs", "unborn", "ref-prefix ", "0000"],
        vec!["command=ls-refs", "object-format=sha256", "0000"],
        vec!["command=ls-refs", "object-format=md5", "0000"],
        vec!["command=ls-refs", "0001", "ref-prefix", "0000"],
        vec!["command=ls-refs", "0001", "peel", "0001", "0000"],
        vec!["command=ls-refs", "0001", "peel"],
        vec!["command=ls-refs", "command=ls-refs", "0000"],
        vec!["command=push", "0000"],
        vec!["command", "0000"],
        vec!["agent=x", "0000"],
        vec!["0001", "0000"],
        vec!["command=fetch", "color=red", "0000"],
        vec!["command=fetch", "0001", &want, "done", "0000"],
        vec!["command=fetch", "0001", &want, &want, &have, "wait-for-done", "sideband-all", "0000"],
        vec!["command=fetch", "0001", "want 11", "done", "0000"],
        vec!["command=fetch", "0001", "want-ref refs/heads/main", "done", "0000"],
        vec!["command=fetch", "0001", "want-ref refs/heads/main", "want-ref refs/heads/main", "done", "0000"],
        vec!["command=fetch", "0001", "want-ref a..b", "done", "0000"],
        vec!["command=fetch", "0001", &want, "deepen 1", "deepen-relative", "done", "0000"],
        vec!["command=fetch", "0001", &want, "deepen 0", "done", "0000"],
        vec!["command=fetch", "0001", &want, "deepen 1", "deepen-since 1", "done", "0000"],
        vec!["command=fetch", "0001", &want, "deepen-since 1", "done", "0000"],
        vec!["command=fetch", "0001", &want, "deepen-since x", "done", "0000"],
        vec!["command=fetch", "0001", &want, "filter blob:none", "done", "0000"],
        vec!["command=fetch", "0001", &want, "filter combine:blob:limit=1k+tree:3", "done", "0000"],
        vec!["command=fetch", "0001", &want, "filter blob:all", "done", "0000"],
        vec!["command=fetch", "0001", &want, "filter combine:blob:none+", "done", "0000"],
        vec!["command=fetch", "0001", &want, "filter object:type=blobs", "done", "0000"],
        vec![
            "command=fetch",
            "0001",
            &want,
            "ofs-delta",
            "thin-pack",
            "include-tag",
            "no-progress",
            "done",
            "0000",
        ],
        vec!["command=fetch", "0001", &want, "packfile-uris https", "done", "0000"],
        vec!["command=fetch", "0001", &want, "have 11", "done", "0000"],
        vec!["command=fetch", "0001", &want, "shallow 11", "done", "0000"],
        vec!["command=object-info", "0001", "size", "0000"],
        vec!["command=object-info", "0001", "oid 11", "0000"],
    ];
    for lines in cases {
        let body = packets(&lines);
        let theirs = run(git(dir.path(), 2).args(["upload-pack", "--stateless-rpc", "."]), &body);
        let ours = parse_v2(&body, HashAlgo::Sha1);
        let why = String::from_utf8_lossy(&theirs.stderr);
        assert_eq!(ours.is_ok(), takes(&theirs), "{lines:?}: {ours:?}, git says: {why}");
    }
}

#[test]
fn stock_git_takes_and_refuses_the_same_v0_bodies() {
    let (dir, id) = repository();
    let (want, have) = (format!("want {id}"), format!("have {id}"));
    let caps = format!(
        "{want} multi_ack_detailed no-done side-band-64k ofs-delta filter agent=x object-format=sha1"
    );
    let cases: Vec<Vec<&str>> = vec![
        vec!["0000"],
        vec![&want, "0000", "done"],
        vec![&want, "0000"],
        vec![&want, "0000", "0000"],
        vec![&caps, &want, "0000", &have, "0000"],
        vec![&caps, "filter blob:none", "0000", "done"],
        vec![&caps, "filter blob:all", "0000", "done"],
        vec![&want, "filter blob:none", "0000", "done"],
        vec![&caps, "deepen 1", "0000"],
        vec![&caps, "deepen 1", "0000", "done"],
        vec![&caps, "deepen 1", "deepen-since 1", "0000", "done"],
        vec![&caps, "deepen -1", "0000", "done"],
        vec![&caps, "deepen-since x", "0000", "done"],
        vec![&caps, "shallow 11", "0000", "done"],
        vec![&caps, "0000", "have 11", "done"],
        vec![&caps, "0000", "hello", "done"],
        vec![&caps, "hello", "0000", "done"],
        vec!["want 11", "0000", "done"],
        vec![&want],
        vec!["done"],
    ];
    for lines in cases {
        let body = packets(&lines);
        let theirs = run(git(dir.path(), 0).args(["upload-pack", "--stateless-rpc", "."]), &body);
        let ours = parse_v0(&body, HashAlgo::Sha1);
        let why = String::from_utf8_lossy(&theirs.stderr);
        assert_eq!(ours.is_ok(), takes(&theirs), "{lines:?}: {ours:?}, git says: {why}");
    }
}

/// What `git ls-remote --symref` prints for a remote that says `said`, then reads no more.
fn listed(version: u8, said: &[u8]) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("said"), said).expect("the folder can be written");
    // It must not end before git has written its request.
    fs::write(dir.path().join("remote.sh"), "cat said\ncat >/dev/null\n").expect("the folder can be written");
    let mut client = git(dir.path(), version);
    client.args(["ls-remote", "--symref", "--upload-pack=sh remote.sh #", "ext"]);
    fs::create_dir(dir.path().join("ext")).expect("the folder can be written");
    let done = run(&mut client, b"");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("names are UTF-8")
}

fn id(digit: char, algo: HashAlgo) -> ObjectId {
    ObjectId::from_hex(algo, digit.to_string().repeat(2 * algo.bytes()).as_bytes()).expect("hex")
}

#[test]
fn the_stock_client_reads_our_advertisements() {
    for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
        let [one, two, three] = ['1', '2', '3'].map(|digit| id(digit, algo));
        let main = RefName::new(b"refs/heads/main").unwrap();
        let refs = [
            AdvertisedRef { name: b"HEAD", id: one, peeled: None },
            AdvertisedRef { name: b"refs/heads/main", id: one, peeled: None },
            AdvertisedRef { name: b"refs/tags/v1", id: two, peeled: Some(three) },
        ];
        let want = format!(
            "ref: refs/heads/main\tHEAD\n{one}\tHEAD\n{one}\trefs/heads/main\n{two}\trefs/tags/v1\n{three}\trefs/tags/v1^{{}}\n"
        );
        for version in [0, 1] {
            let mut said = Vec::new();
            advertise_v0(&mut said, Service::UploadPack, version == 1, &refs, Some(&main), &[], algo);
            assert_eq!(listed(version, &said), want, "version {version}");
            said.clear();
            advertise_v0(&mut said, Service::UploadPack, version == 1, &[], Some(&main), &[], algo);
            assert_eq!(listed(version, &said), "", "empty, version {version}");
        }
        let mut said = Vec::new();
        advertise_v2(&mut said, algo);
        write_ls_refs_line(&mut said, b"HEAD", Some(&one), Some(main.as_bytes()), None);
        write_ls_refs_line(&mut said, &main, Some(&one), None, None);
        write_ls_refs_line(&mut said, "refs/tags/v1", Some(&two), None, Some(&three));
        write_flush(&mut said);
        assert_eq!(listed(2, &said), want);
    }
}

#[test]
fn the_push_advertisement_shows_neither_head_nor_peeled_values() {
    let [one, two] = ['1', '2'].map(|digit| id(digit, HashAlgo::Sha1));
    let refs = [
        AdvertisedRef { name: b"HEAD", id: one, peeled: None },
        AdvertisedRef { name: b"refs/tags/v1", id: one, peeled: Some(two) },
    ];
    let mut said = Vec::new();
    let main = RefName::new(b"refs/heads/main").unwrap();
    advertise_v0(&mut said, Service::ReceivePack, false, &refs, Some(&main), &[], HashAlgo::Sha1);
    let text = String::from_utf8(said).unwrap();
    assert!(text.contains("refs/tags/v1\0report-status report-status-v2 delete-refs"), "{text}");
    assert!(!text.contains("HEAD") && !text.contains("^{}"), "{text}");
}

#[test]
fn the_stock_client_pushes_to_us_and_reads_our_report() {
    let (dir, head) = repository();
    let mut said = Vec::new();
    advertise_v0(&mut said, Service::ReceivePack, false, &[], None, &[], HashAlgo::Sha1);
    let mut report = Vec::new();
    let refused = Outcome::Refused("not today".into());
    write_report(
        &mut report,
        Ok(()),
        &[(b"refs/heads/a".to_vec(), Outcome::Ok), (b"refs/heads/b".to_vec(), refused)],
    );
    write_flush(&mut said);
    said.truncate(said.len() - 4);
    fs::write(dir.path().join("said"), &said).unwrap();
    let mut answer = Vec::new();
    write_band(&mut answer, 1, &report, BAND_DATA_MAX);
    write_flush(&mut answer);
    fs::write(dir.path().join("answer"), &answer).unwrap();
    // The pack's end is told only by its content: one second of silence is enough for a pack of one commit.
    let script = "cat said\ntimeout 1 cat >heard\ncat answer\n";
    fs::write(dir.path().join("remote.sh"), script).unwrap();
    fs::create_dir(dir.path().join("ext")).unwrap();
    let mut client = git(dir.path(), 0);
    client.args(["push", "--porcelain", "-o", "ci.skip", "--receive-pack=sh remote.sh #", "ext"]);
    client.args(["HEAD:refs/heads/a", "HEAD:refs/heads/b"]);
    let done = run(&mut client, b"");
    let shown = String::from_utf8_lossy(&done.stdout);
    assert!(shown.contains("*\tHEAD:refs/heads/a\t[new branch]"), "{shown}");
    assert!(shown.contains("!\tHEAD:refs/heads/b\t[remote rejected] (not today)"), "{shown}");
    let heard = fs::read(dir.path().join("heard")).unwrap();
    let Ok(Parsed::Done { value, used }) = parse_push(&heard, HashAlgo::Sha1) else { panic!("a push") };
    assert!(heard[used..].starts_with(b"PACK"));
    assert_eq!(value.options, [b"ci.skip"]);
    let commands: Vec<_> = value.commands.iter().map(|c| (c.name.as_slice(), c.new.to_string())).collect();
    assert_eq!(commands, [(&b"refs/heads/a"[..], head.clone()), (b"refs/heads/b", head)]);
    assert!(value.side_band && value.report != Report::None);
}

#[test]
fn lines_beyond_a_packet_are_told_from_data() {
    let mut out = Vec::new();
    write_line(&mut out, &[&[b'a'; 65_515]]);
    write_data(&mut out, &[b'a'; 65_517]);
    assert!(out.starts_with(b"fff0a"));
    assert!(out.ends_with(b"0005a"));
}
