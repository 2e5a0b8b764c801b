//! Requests by hand: wrong URLs, wrong HTTP, wrong commands, and right ones that clients rarely send.

use cairn_conformance::fixture;
use cairn_conformance::host::Remote;
use cairn_conformance::http::{self, Framing};
use cairn_conformance::judge::{Ctx, ENDS, NEWEST, judge};
use cairn_conformance::pack::{self, DELIM, FLUSH, ZERO, pkt};
use cairn_conformance::wire;

/// Served or refused: which refusal (400, 403, 404, or stock git's 500) is each server's own.
fn verdict(answer: std::io::Result<http::Response>) -> &'static str {
    match answer {
        Ok(answer) if answer.class() == 2 => "served",
        Ok(_) => "refused",
        Err(_) => "no answer",
    }
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
            facts.put(path, verdict(wire::get(&remote, path, 2)));
        }
        for name in ["absent", "..", "%2e%2e", "%2e%2e%2furls-v2"] {
            let url = format!("{}/git/t/{name}.git", ctx.host.origin());
            let remote = Remote { url, token: remote.token.clone() };
            let answer = wire::get(&remote, "/info/refs?service=git-upload-pack", 2);
            facts.put(format!("repository {name}"), verdict(answer));
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
            facts.put(format!("{service} announced"), first.starts_with(b"# service="));
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
