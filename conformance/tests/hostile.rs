//! Pushes that no well-behaved client makes: broken packs, wrong objects.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cairn_conformance::facts::Facts;
use cairn_conformance::host::Remote;
use cairn_conformance::judge::{NEWEST, judge};
use cairn_conformance::pack::{self, Kind, Pack, tree_entry};
use cairn_conformance::wire::{self, Command, Report};

const MAIN: &str = "refs/heads/main";

/// Pushes a pack that creates `refs/heads/main`; notes the report.
fn push(facts: &mut Facts, what: &str, remote: &Remote, tip: &str, pack: &[u8]) {
    let report = wire::push(remote, &[Command::create(MAIN, tip)], pack);
    facts.put(what, report.map_or_else(|error| error.kind().to_string(), |report| verdict(&report)));
}

/// Whether the ref moved: how a refusal is split between the pack and the refs is each server's own.
fn verdict(report: &Report) -> String {
    let taken = report.refs.iter().any(|line| line.starts_with("ok"));
    if taken { "taken".to_owned() } else { "refused".to_owned() }
}

/// A pack with one commit of one file, and the commit's id.
fn small() -> (Pack, String) {
    let mut pack = Pack::default();
    let body = b"hello\n";
    pack.add(Kind::Blob, body);
    let tip = commit_on(&mut pack, &tree_entry("100644", b"file", &pack::raw_oid(Kind::Blob, body)));
    (pack, tip)
}

fn commit_on(pack: &mut Pack, tree: &[u8]) -> String {
    let tree = pack.add(Kind::Tree, tree);
    pack.add(Kind::Commit, &pack::commit(&tree, &[], "one"))
}

#[test]
fn broken_packs_are_refused_and_leave_nothing() {
    judge("broken-packs", NEWEST, |ctx, facts| {
        let remote = ctx.create("broken-packs");
        let (good, tip) = small();
        let bytes = good.bytes();
        let mut flipped = bytes.clone();
        flipped[40] ^= 0x55;
        let mut trailer = bytes.clone();
        *trailer.last_mut().unwrap() ^= 1;
        let mut version = bytes.clone();
        version[7] = 9;
        let mut magic = bytes.clone();
        magic[0] = b'K';
        let with = |kind: u8, size: u64, data: &[u8]| {
            let mut pack = good.clone();
            pack.raw_entry(kind, size, data);
            pack.bytes()
        };
        let packs: Vec<(&str, Vec<u8>)> = vec![
            ("flipped byte", flipped),
            ("wrong trailer", trailer),
            ("unknown version", version),
            ("wrong magic", magic),
            ("truncated in the middle", bytes[..bytes.len() / 2].to_vec()),
            ("without trailer", bytes[..bytes.len() - 20].to_vec()),
            ("header alone", bytes[..12].to_vec()),
            ("nothing", Vec::new()),
            ("count too high", good.bytes_claiming(9)),
            ("count too low", good.bytes_claiming(1)),
            ("huge count", good.bytes_claiming(u32::MAX)),
            ("size too small", with(3, 1, &pack::zlib(b"four"))),
            ("size too large", with(3, 9, &pack::zlib(b"four"))),
            ("kind 0", with(0, 4, &pack::zlib(b"four"))),
            ("kind 5", with(5, 4, &pack::zlib(b"four"))),
            ("not zlib", with(3, 4, b"\x00\x11\x22\x33")),
            (
                "ofs-delta beyond the start",
                with(6, 4, &[&[0xff, 0xff, 0x7f][..], &pack::zlib(b"four")].concat()),
            ),
            ("ofs-delta onto itself", with(6, 4, &[&[0][..], &pack::zlib(b"four")].concat())),
            ("ref-delta without base", with(7, 4, &[&[7; 20][..], &pack::zlib(b"\x01\x01\x01x")].concat())),
        ];
        for (what, pack) in packs {
            push(facts, what, &remote, &tip, &pack);
        }
        ctx.observe_remote(facts, "after the bad", &remote);
        push(facts, "good", &remote, &tip, &bytes);
        ctx.observe_remote(facts, "after the good", &remote);
    });
}

#[test]
fn bad_deltas_are_refused() {
    judge("bad-deltas", NEWEST, |ctx, facts| {
        let remote = ctx.create("bad-deltas");
        let base = pack::raw_oid(Kind::Blob, b"hello\n");
        // Base size, result size, then instructions; the base has six bytes.
        let deltas: &[(&str, &[u8])] = &[
            ("good copy", &[6, 12, 0x90, 6, 0x90, 6]),
            ("repeats its base", &[6, 6, 0x90, 6]),
            ("wrong base size", &[7, 6, 0x90, 6]),
            ("wrong result size", &[6, 9, 0x90, 6]),
            ("copy past the base", &[6, 8, 0x91, 4, 8]),
            ("reserved instruction", &[6, 1, 0]),
            ("insert past the end", &[6, 5, 5, b'x']),
            ("empty", &[]),
            ("endless size", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ];
        for (at, (what, delta)) in deltas.iter().enumerate() {
            let (mut good, tip) = small();
            good.raw_entry(7, delta.len() as u64, &[&base[..], &pack::zlib(delta)].concat());
            let name = format!("refs/heads/b{at}");
            let report = wire::push(&remote, &[Command::create(&name, &tip)], &good.bytes());
            facts.put(*what, report.map_or_else(|e| e.kind().to_string(), |r| verdict(&r)));
        }
        facts.put("fsck", ctx.clone(&mut Facts::default(), "whole", &remote, &["--mirror"]).exists());
    });
}

#[test]
fn histories_with_holes_are_refused() {
    judge("holes", NEWEST, |ctx, facts| {
        let remote = ctx.create("holes");
        let absent = vec![7u8; 20];
        let mut no_blob = Pack::default();
        let tip = commit_on(&mut no_blob, &tree_entry("100644", b"file", &absent));
        push(facts, "missing blob", &remote, &tip, &no_blob.bytes());
        let mut no_subtree = Pack::default();
        let tip = commit_on(&mut no_subtree, &tree_entry("40000", b"dir", &absent));
        push(facts, "missing subtree", &remote, &tip, &no_subtree.bytes());
        let mut no_tree = Pack::default();
        let tip = no_tree.add(Kind::Commit, &pack::commit(&pack::hex(&absent), &[], "x"));
        push(facts, "missing tree", &remote, &tip, &no_tree.bytes());
        let (mut no_parent, _) = small();
        let tree =
            pack::oid(Kind::Tree, &tree_entry("100644", b"file", &pack::raw_oid(Kind::Blob, b"hello\n")));
        let tip = no_parent.add(Kind::Commit, &pack::commit(&tree, &[&pack::hex(&absent)], "x"));
        push(facts, "missing parent", &remote, &tip, &no_parent.bytes());
        let (other, _) = small();
        push(facts, "missing tip", &remote, &pack::hex(&absent), &other.bytes());
        let mut gitlink = Pack::default();
        let tip = commit_on(&mut gitlink, &tree_entry("160000", b"module", &absent));
        push(facts, "gitlink to nowhere is fine", &remote, &tip, &gitlink.bytes());
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn objects_of_the_wrong_kind_are_refused() {
    judge("wrong-kinds", NEWEST, |ctx, facts| {
        let remote = ctx.create("wrong-kinds");
        let blob = pack::raw_oid(Kind::Blob, b"hello\n");
        let tree = tree_entry("100644", b"file", &blob);
        let tree_oid = pack::oid(Kind::Tree, &tree);
        let (small, tip) = small();
        let bytes = small.bytes();
        let tag = |object: &str, kind: &str| {
            format!("object {object}\ntype {kind}\ntag x\ntagger A <a@b> 1700000000 +0000\n\nx\n")
                .into_bytes()
        };
        let mut cases: Vec<(&str, &str, String, Vec<u8>)> = vec![
            ("branch to blob", "refs/heads/blob", pack::hex(&blob), bytes.clone()),
            ("branch to tree", "refs/heads/tree", tree_oid.clone(), bytes.clone()),
            ("tag to blob", "refs/tags/blob", pack::hex(&blob), bytes.clone()),
            ("tag to tree", "refs/tags/tree", tree_oid.clone(), bytes.clone()),
            ("other to blob", "refs/other/blob", pack::hex(&blob), bytes),
        ];
        let mut with = |what, name, kind: Kind, body: &[u8]| {
            let mut pack = small.clone();
            let oid = pack.add(kind, body);
            cases.push((what, name, oid, pack.bytes()));
        };
        with("branch to tag", "refs/heads/tag", Kind::Tag, &tag(&tip, "commit"));
        with("tag with a wrong type", "refs/tags/liar", Kind::Tag, &tag(&tip, "blob"));
        with(
            "commit whose tree is a blob",
            "refs/heads/c1",
            Kind::Commit,
            &pack::commit(&pack::hex(&blob), &[], "x"),
        );
        with(
            "commit whose parent is a tree",
            "refs/heads/c2",
            Kind::Commit,
            &pack::commit(&tree_oid, &[&tree_oid], "x"),
        );
        for (what, name, oid, bytes) in cases {
            let report = wire::push(&remote, &[Command::create(name, &oid)], &bytes);
            facts.put(what, report.map_or_else(|e| e.kind().to_string(), |r| verdict(&r)));
        }
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn trees_that_fsck_dislikes_are_judged_alike() {
    judge("bad-trees", NEWEST, |ctx, facts| {
        let remote = ctx.create("bad-trees");
        let blob = pack::raw_oid(Kind::Blob, b"hello\n");
        let file = |mode: &str, name: &[u8]| tree_entry(mode, name, &blob);
        let trees: Vec<(&str, Vec<u8>)> = vec![
            (".git", file("100644", b".git")),
            (".GIT", file("100644", b".GIT")),
            (".git on HFS", file("100644", b".g\xe2\x80\x8cit")),
            (".git on NTFS", file("100644", b"git~1")),
            (".git with spaces", file("100644", b".git ")),
            (".git with a stream", file("100644", b".git::$INDEX_ALLOCATION")),
            ("dot", file("100644", b".")),
            ("dot dot", file("100644", b"..")),
            ("slash", file("100644", b"a/b")),
            ("backslash", file("100644", b"a\\b")),
            ("empty name", file("100644", b"")),
            ("duplicate", [file("100644", b"a"), file("100644", b"a")].concat()),
            ("unsorted", [file("100644", b"b"), file("100644", b"a")].concat()),
            ("odd mode", file("100600", b"a")),
            ("group writable", file("100664", b"a")),
            ("zero-padded mode", file("0100644", b"a")),
            ("letters as mode", file("abc", b"a")),
            ("null oid", tree_entry("100644", b"a", &[0; 20])),
            ("cut short", file("100644", b"a")[..20].to_vec()),
            ("symlinked .gitmodules", file("120000", b".gitmodules")),
            ("symlinked .gitattributes", file("120000", b".gitattributes")),
            ("blob as directory", file("40000", b"a")),
            ("empty tree", Vec::new()),
        ];
        for (at, (what, tree)) in trees.iter().enumerate() {
            let mut pack = Pack::default();
            pack.add(Kind::Blob, b"hello\n");
            let tip = commit_on(&mut pack, tree);
            let name = format!("refs/heads/t{at}");
            let report = wire::push(&remote, &[Command::create(&name, &tip)], &pack.bytes());
            facts.put(*what, report.map_or_else(|e| e.kind().to_string(), |r| verdict(&r)));
        }
    });
}

#[test]
fn commits_and_submodule_settings_that_fsck_dislikes_are_judged_alike() {
    judge("bad-commits", NEWEST, |ctx, facts| {
        let remote = ctx.create("bad-commits");
        let tree =
            pack::oid(Kind::Tree, &tree_entry("100644", b"file", &pack::raw_oid(Kind::Blob, b"hello\n")));
        let who = "A <a@b> 1700000000 +0000";
        let text = |author: &str, committer: &str| {
            format!("tree {tree}\nauthor {author}\ncommitter {committer}\n\nx\n")
        };
        let commits = [
            ("no author", format!("tree {tree}\ncommitter {who}\n\nx\n")),
            ("no committer", format!("tree {tree}\nauthor {who}\n\nx\n")),
            ("no tree", format!("author {who}\ncommitter {who}\n\nx\n")),
            ("no email", text("A 1700000000 +0000", who)),
            ("bad date", text("A <a@b> soon +0000", who)),
            ("date overflow", text("A <a@b> 99999999999999999999 +0000", who)),
            ("zero-padded date", text("A <a@b> 01700000000 +0000", who)),
            ("bad zone", text("A <a@b> 1700000000 0000", who)),
            ("no name", text("<a@b> 1700000000 +0000", who)),
            ("no space before email", text("A<a@b> 1700000000 +0000", who)),
            ("two authors", format!("tree {tree}\nauthor {who}\nauthor {who}\ncommitter {who}\n\nx\n")),
            ("NUL in message", format!("tree {tree}\nauthor {who}\ncommitter {who}\n\na\0b\n")),
            ("NUL in header", format!("tree {tree}\nauthor {who}\0\ncommitter {who}\n\nx\n")),
            ("no message", format!("tree {tree}\nauthor {who}\ncommitter {who}\n")),
            ("short tree id", format!("tree {}\nauthor {who}\ncommitter {who}\n\nx\n", &tree[..39])),
        ];
        let mut pushes: Vec<(String, Pack, String)> = Vec::new();
        for (what, body) in &commits {
            let (mut pack, _) = small();
            let tip = pack.add(Kind::Commit, body.as_bytes());
            pushes.push(((*what).to_owned(), pack, tip));
        }
        for (what, line) in [
            ("url with dash", "url = -u./payload"),
            ("path with dash", "path = -x"),
            ("command update", "update = !sh"),
            ("newline url", "url = \"https://a/\\nb\""),
            ("plain", "url = https://example.com/a.git"),
        ] {
            let body = format!("[submodule \"x\"]\n\tpath = x\n\t{line}\n");
            let mut pack = Pack::default();
            pack.add(Kind::Blob, body.as_bytes());
            let tree = tree_entry("100644", b".gitmodules", &pack::raw_oid(Kind::Blob, body.as_bytes()));
            let tip = commit_on(&mut pack, &tree);
            pushes.push((format!(".gitmodules {what}"), pack, tip));
        }
        for (at, (what, pack, tip)) in pushes.iter().enumerate() {
            let name = format!("refs/heads/c{at}");
            let report = wire::push(&remote, &[Command::create(&name, tip)], &pack.bytes());
            facts.put(what, report.map_or_else(|e| e.kind().to_string(), |r| verdict(&r)));
        }
    });
}
