//! One client's bad manners are no other client's trouble.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cairn_conformance::http;
use cairn_conformance::pack::{self, DELIM, FLUSH, Kind, Pack, pkt};
use cairn_conformance::wire::{self, Command};
use cairn_tests::Server;
use cairn_tests::chain::Chain;
use cairn_tests::server::{assert_clones, assert_sound};
use std::io::Write;
use std::thread;

/// What the server may hold after all of this, in KiB.
const RSS_KIB_MAX: u64 = 384 << 10;

fn seeded(server: &Server, name: &str) -> cairn_conformance::host::Remote {
    let remote = server.create(name);
    let mut chain = Chain::new("refs/heads/main", 7, 50_000);
    for _ in 0..5 {
        let step = chain.next_step();
        assert!(chain.push(&remote, &step));
    }
    remote
}

fn rss_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn clients_that_stand_still_block_nobody() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let remote = seeded(&server, "slow");
    let (authority, path) = http::split_url(&remote.url).unwrap();
    let token = remote.authorization().unwrap();
    let mut slow = Vec::new();
    for at in 0..64 {
        let mut stream = http::connect(authority).unwrap();
        let (service, length) =
            if at % 2 == 0 { ("receive-pack", 1_000_000) } else { ("upload-pack", 1_000) };
        let head = format!(
            "POST {path}/git-{service} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: {token}\r\n\
             Content-Type: application/x-git-{service}-request\r\nContent-Length: {length}\r\n\r\n0098"
        );
        // Some stop within the head, some within the body.
        let sent = if at % 3 == 0 { &head[..head.len() / 2] } else { &head };
        stream.write_all(sent.as_bytes()).unwrap();
        slow.push(stream);
    }
    let git = server.git(dir.path(), &[&remote]);
    assert_clones(&git, dir.path(), &remote.url, "clone");
    let mut chain = Chain::new("refs/heads/other", 8, 1000);
    let step = chain.next_step();
    assert!(chain.push(&remote, &step), "a push gets through as well");
    drop(slow);
    assert_clones(&git, dir.path(), &remote.url, "again");
}

#[test]
fn a_reader_that_stops_reading_blocks_nobody() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let remote = server.create("reader");
    let mut chain = Chain::new("refs/heads/main", 9, 8 << 20);
    let step = chain.next_step();
    assert!(chain.push(&remote, &step));
    let (authority, path) = http::split_url(&remote.url).unwrap();
    let body = [
        pkt("command=fetch"),
        DELIM.to_vec(),
        pkt(format!("want {}\n", chain.tip())),
        pkt("done\n"),
        FLUSH.to_vec(),
    ]
    .concat();
    let mut stopped = Vec::new();
    for _ in 0..16 {
        let mut stream = http::connect(authority).unwrap();
        let head = format!(
            "POST {path}/git-upload-pack HTTP/1.1\r\nHost: {authority}\r\nAuthorization: {}\r\nGit-Protocol: version=2\r\n\
             Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {}\r\n\r\n",
            remote.authorization().unwrap(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        stopped.push(stream);
    }
    assert_clones(&server.git(dir.path(), &[&remote]), dir.path(), &remote.url, "clone");
    let step = chain.next_step();
    assert!(chain.push(&remote, &step));
    drop(stopped);
}

#[test]
fn bombs_get_an_error_while_others_are_served() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let remote = seeded(&server, "victim");
    let target = server.create("target");
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        ("one terabyte blob", {
            let mut pack = Pack::default();
            pack.raw_entry(3, 1 << 40, &pack::zlib(&vec![0; 1 << 20]));
            pack.bytes()
        }),
        ("largest size that can be written", {
            let mut pack = Pack::default();
            pack.raw_entry(3, u64::MAX, &pack::zlib(b"x"));
            pack.bytes()
        }),
        ("four billion entries", Pack::default().bytes_claiming(u32::MAX)),
        ("delta that promises a terabyte", {
            let mut pack = Pack::default();
            let base = pack.add(Kind::Blob, b"base");
            let raw: Vec<u8> =
                (0..20).map(|at| u8::from_str_radix(&base[at * 2..at * 2 + 2], 16).unwrap()).collect();
            let delta = [4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0x90, 4];
            pack.raw_entry(7, delta.len() as u64, &[&raw[..], &pack::zlib(&delta)].concat());
            pack.bytes()
        }),
        ("garbage", vec![0xff; 4 << 20]),
    ];
    thread::scope(|scope| {
        let bombing = scope.spawn(|| {
            for (why, pack) in &bombs {
                let tip = "1".repeat(40);
                // A closed connection is an answer, too; an accepted ref is not.
                let report = wire::push(&target, &[Command::create("refs/heads/main", &tip)], pack);
                assert!(report.is_ok_and(|r| r.refs.iter().all(|line| line.starts_with("ng"))), "{why}");
            }
        });
        for at in 0..5 {
            let name = format!("clone-{at}");
            assert_clones(&server.git(dir.path(), &[&remote]), dir.path(), &remote.url, &name);
        }
        bombing.join().unwrap();
    });
    assert_clones(&server.git(dir.path(), &[&target]), dir.path(), &target.url, "target");
    assert!(rss_kib(&server) < RSS_KIB_MAX, "peak memory {} KiB", rss_kib(&server));
    assert_sound(server.data());
}

#[test]
fn a_hundred_thousand_bogus_wants_and_haves_are_answered_soon() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let remote = seeded(&server, "wants");
    let lines =
        |verb: &str| -> Vec<u8> { (0..100_000).flat_map(|at| pkt(format!("{verb} {at:040x}\n"))).collect() };
    let head = [pkt("command=fetch"), DELIM.to_vec()].concat();
    for verb in ["want", "have", "shallow", "want-ref refs/heads/"] {
        let body = [head.clone(), lines(verb), pkt("done\n"), FLUSH.to_vec()].concat();
        let answer = wire::post(&remote, "upload-pack", 2, &body);
        // Only the haves make a request that could be served, if it wanted something.
        let pack = answer.is_ok_and(|answer| answer.body.windows(4).any(|window| window == b"PACK"));
        assert!(!pack || verb == "have" || verb == "shallow", "{verb}");
        assert_clones(
            &server.git(dir.path(), &[&remote]),
            dir.path(),
            &remote.url,
            &verb.replace([' ', '/'], "-"),
        );
    }
    assert!(rss_kib(&server) < RSS_KIB_MAX, "peak memory {} KiB", rss_kib(&server));
}

#[test]
fn a_compressed_request_that_swells_is_cut_off() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let remote = seeded(&server, "swell");
    // 1 GiB of zeros behind gzip; gzip(1) makes it, since ours does not compress.
    let script = "head -c 1073741824 /dev/zero | gzip -1";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]);
    let bomb = cairn_conformance::git::run_command(command, b"").stdout;
    for service in ["upload-pack", "receive-pack"] {
        let headers = [("Content-Encoding", "gzip")];
        let answer = wire::post_framed(&remote, service, 2, &bomb, &headers, http::Framing::Length);
        assert!(
            answer.is_err() || answer.is_ok_and(|a| a.status >= 400 || a.text().contains("ERR")),
            "{service}"
        );
    }
    assert_clones(&server.git(dir.path(), &[&remote]), dir.path(), &remote.url, "clone");
    assert!(rss_kib(&server) < RSS_KIB_MAX, "peak memory {} KiB", rss_kib(&server));
}
