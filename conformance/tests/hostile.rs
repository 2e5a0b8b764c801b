//! Requests that no well-behaved client sends: broken packs, wrong objects, wrong HTTP.

use cairn_conformance::facts::Facts;
use cairn_conformance::fixture;
use cairn_conformance::host::Remote;
use cairn_conformance::http::{self, Framing};
use cairn_conformance::judge::{Ctx, ENDS, NEWEST, judge};
use cairn_conformance::pack::{self, DELIM, FLUSH, Kind, Pack, ZERO, pkt, tree_entry};
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
            ("good copy", &[6, 6, 0x90, 6]),
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
        ctx.observe_remote(facts, "remote", &remote);
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
        facts.put("ls-remote", ctx.run(&ctx.dir, &["ls-remote", &remote.url]).text());
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
        facts.put("ls-remote", ctx.run(&ctx.dir, &["ls-remote", &remote.url]).text());
    });
}

#[test]
fn urls_that_leave_the_repository_are_not_served() {
    judge("urls", NEWEST, |ctx, facts| {
        let remote = ctx.create_from("urls", &fixture::history(ctx, "origin"));
        let classes = [
            "/info/refs?service=git-upload-pack",
            "/info/refs?service=git-evil",
            "/info/refs?service=upload-pack",
            "/info/refs?service=git-upload-archive",
            "/../../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/objects/../config",
            "/config",
            "/hooks/post-receive",
            "/git-upload-pack",
            "/git-receive-pack",
            "/nothing",
        ];
        for path in classes {
            facts.put(path, wire::get(&remote, path, 2).map_or(0, |answer| answer.class()));
        }
        for name in ["absent", "..", "%2e%2e", "a%00b", "%2e%2e%2furls-v2"] {
            let url = format!("{}/git/t/{name}.git", ctx.host.origin());
            let remote = Remote { url, token: remote.token.clone() };
            let answer = wire::get(&remote, "/info/refs?service=git-upload-pack", 2);
            facts.put(format!("repository {name}"), answer.map_or(0, |answer| answer.class()));
        }
    });
}

#[test]
fn services_are_advertised_with_their_types_and_no_caching() {
    judge("advertisement", ENDS, |ctx, facts| {
        let remote = ctx.create_from("advertisement", &fixture::history(ctx, "origin"));
        for service in ["git-upload-pack", "git-receive-pack"] {
            let answer = wire::get(&remote, &format!("/info/refs?service={service}"), ctx.protocol)
                .expect("an answer");
            facts.put(format!("{service} status"), answer.status);
            facts.put(format!("{service} type"), answer.header("content-type").unwrap_or_default());
            let fresh = answer.header("cache-control").is_some_and(|value| value.contains("no-cache"));
            facts.put(format!("{service} not cached"), fresh);
            let first = pack::pkt_lines(&answer.body).first().cloned().unwrap_or_default();
            facts.put(format!("{service} first line"), String::from_utf8_lossy(&first).trim());
        }
    });
}

#[test]
fn posts_are_judged_by_type_encoding_and_framing() {
    judge("posts", NEWEST, |ctx, facts| {
        let remote = ctx.create_from("posts", &fixture::history(ctx, "origin"));
        let body = [pkt("command=ls-refs\n"), DELIM.to_vec(), pkt("peel\n"), FLUSH.to_vec()].concat();
        let mut note = |what: &str, answer: std::io::Result<http::Response>| {
            let told = answer
                .map(|a| (a.class(), if a.class() == 2 { pack::sha1_hex(&a.body) } else { String::new() }));
            facts.put(what, format!("{:?}", told.map_err(|e| e.kind())));
        };
        note("plain", wire::post(&remote, "upload-pack", 2, &body));
        let zipped = pack::gzip(&body);
        let gzip = [("Content-Encoding", "gzip")];
        note("gzip", wire::post_framed(&remote, "upload-pack", 2, &zipped, &gzip, Framing::Length));
        note(
            "gzip in chunks",
            wire::post_framed(&remote, "upload-pack", 2, &zipped, &gzip, Framing::Chunked(7)),
        );
        note(
            "chunks of one byte",
            wire::post_framed(&remote, "upload-pack", 2, &body, &[], Framing::Chunked(1)),
        );
        note("expect", wire::post_framed(&remote, "upload-pack", 2, &body, &[], Framing::Expect));
        let token = remote.authorization().unwrap_or_default();
        let url = format!("{}/git-upload-pack", remote.url);
        let kinds =
            ["text/plain", "application/x-git-receive-pack-request", "application/x-git-upload-pack-result"];
        for kind in kinds {
            let headers =
                [("Content-Type", kind), ("Authorization", token.as_str()), ("Git-Protocol", "version=2")];
            note(kind, http::request("POST", &url, &headers, &body));
        }
    });
}

/// True when no pack and no success came: the shape of a refusal is each server's own.
fn refused(answer: std::io::Result<http::Response>) -> bool {
    answer.map_or(true, |answer| {
        let pack = answer.body.windows(4).any(|window| window == b"PACK");
        !pack
    })
}

#[test]
fn malformed_fetches_get_no_pack() {
    judge("bad-fetches", NEWEST, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create_from("ref-in-want-bad", &origin);
        let tip = ctx.ok(&origin, &["rev-parse", "main"]);
        let fetch = |lines: &[String]| {
            let mut body = [pkt("command=fetch"), pkt("object-format=sha1"), DELIM.to_vec()].concat();
            body.extend(lines.iter().flat_map(pkt));
            body.extend_from_slice(FLUSH);
            wire::post(&remote, "upload-pack", 2, &body)
        };
        let want = format!("want {tip}\n");
        let bodies = [
            ("good", vec![want.clone(), "done\n".into()]),
            ("short oid", vec!["want 1234\n".into(), "done\n".into()]),
            ("not hex", vec![format!("want {}\n", "z".repeat(40)), "done\n".into()]),
            ("unknown oid", vec![format!("want {}\n", "1".repeat(40)), "done\n".into()]),
            ("zero oid", vec![format!("want {ZERO}\n"), "done\n".into()]),
            ("bad depth", vec![want.clone(), "deepen x\n".into(), "done\n".into()]),
            ("bad filter", vec![want.clone(), "filter nonsense:1\n".into(), "done\n".into()]),
            ("bad want-ref", vec!["want-ref refs/heads/absent\n".into(), "done\n".into()]),
            ("good want-ref", vec!["want-ref refs/heads/main\n".into(), "done\n".into()]),
            ("unknown argument", vec![want, "nonsense\n".into(), "done\n".into()]),
            ("no wants", vec!["done\n".into()]),
        ];
        for (what, lines) in bodies {
            facts.put(what, refused(fetch(&lines)));
        }
        let raw: [(&str, &[u8]); 7] = [
            ("no pkt-line", b"hello"),
            ("length 1", b"0001"),
            ("length 3", b"0003x"),
            ("too long", b"fffffffff"),
            ("cut", b"0032want "),
            ("nothing", b""),
            ("unknown command", b"0013command=evil0000"),
        ];
        for (what, body) in raw {
            facts.put(what, refused(wire::post(&remote, "upload-pack", 2, body)));
            facts.put(format!("{what}, version 0"), refused(wire::post(&remote, "upload-pack", 0, body)));
        }
    });
}

#[test]
fn version_two_commands_answer_alike() {
    judge("v2-commands", NEWEST, |ctx: &Ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create_from("v2-commands", &origin);
        let blob = ctx.ok(&origin, &["rev-parse", "main:README"]);
        let mut ask = |what: &str, command: &str, arguments: &[&str]| {
            let mut body =
                [pkt(format!("command={command}")), pkt("object-format=sha1"), DELIM.to_vec()].concat();
            body.extend(arguments.iter().flat_map(pkt));
            body.extend_from_slice(FLUSH);
            let answer = wire::post(&remote, "upload-pack", 2, &body).expect("an answer");
            facts.put(what, answer.text());
        };
        ask("all refs", "ls-refs", &["peel\n", "symrefs\n", "unborn\n"]);
        ask(
            "prefixes",
            "ls-refs",
            &["ref-prefix refs/heads/s\n", "ref-prefix refs/tags/v2\n", "ref-prefix HEAD\n"],
        );
        ask("no match", "ls-refs", &["ref-prefix refs/none\n"]);
        ask("sizes", "object-info", &["size\n", &format!("oid {blob}\n")]);
    });
}
