//! Stopping and copying a server that is in use.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cairn_conformance::wire::{self, Command as RefCommand};
use cairn_conformance::{host, http};
use cairn_tests::Server;
use cairn_tests::chain::Chain;
use cairn_tests::server::{assert_clones, assert_sound, cairn};
use std::io::{BufReader, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn sigterm_lets_a_push_under_way_finish_and_exits_with_zero() {
    let mut server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let remote = server.create("drain");
    let mut chain = Chain::new("refs/heads/main", 1, 400_000);
    let step = chain.next_step();
    let command = RefCommand { old: &step.old, new: &step.new, name: b"refs/heads/main" };
    let body = wire::push_body(&[command], "report-status", &step.pack);
    let (authority, path) = http::split_url(&remote.url).unwrap();
    let mut stream = http::connect(authority).unwrap();
    let head = format!(
        "POST {path}/git-receive-pack HTTP/1.1\r\nHost: {authority}\r\nAuthorization: {}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\nConnection: close\r\n\
         Expect: 100-continue\r\n\r\n",
        remote.authorization().unwrap(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    // The interim answer says that the server has taken the request on.
    assert_eq!(http::read_head(&mut reader).unwrap().status, 100);
    let (first, second) = body.split_at(body.len() / 2);
    stream.write_all(first).unwrap();
    server.terminate();
    stream.write_all(second).unwrap();
    let report = wire::read_report(&http::read_response(&mut reader).unwrap());
    assert_eq!(report.refs, ["ok refs/heads/main"]);
    drop((stream, reader));
    assert!(server.wait().success());
    assert_sound(server.data());
    server.restart();
    let remote = server.again(&remote);
    assert_clones(&server.git(dir.path(), &[&remote]), dir.path(), &remote.url, "clone");
}

#[test]
fn sigterm_on_an_idle_server_exits_with_zero() {
    let mut server = Server::start();
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn a_backup_taken_while_pushing_restores_to_a_state_that_was() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let place = copy.path().join("backup");
    let remote = server.create("busy");
    let mut chain = Chain::new("refs/heads/main", 3, 20_000);
    let step = chain.next_step();
    assert!(chain.push(&remote, &step));
    let before = chain.tip().to_owned();
    let stop = AtomicBool::new(false);
    let pushed = thread::scope(|scope| {
        let pusher = scope.spawn(|| {
            let mut pushed = vec![before.clone()];
            while !stop.load(Ordering::SeqCst) {
                let step = chain.next_step();
                assert!(chain.push(&remote, &step));
                pushed.push(step.new);
            }
            pushed
        });
        let (status, text) = cairn(&["backup", &place.to_string_lossy()], server.data());
        stop.store(true, Ordering::SeqCst);
        let pushed = pusher.join().unwrap();
        assert!(status.success(), "{text}");
        pushed
    });
    let restored = tempfile::tempdir().unwrap();
    let args = ["restore", &place.to_string_lossy(), &restored.path().to_string_lossy()].map(str::to_owned);
    let out = Command::new(host::cairn_binary()).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_sound(restored.path());
    let restored = Server::start_on(restored);
    let remote = restored.again(&remote);
    let git = restored.git(dir.path(), &[&remote]);
    let listed = git.run(dir.path(), &["ls-remote", &remote.url, "refs/heads/main"]).text();
    let tip = listed.split('\t').next().unwrap_or_default().to_owned();
    assert!(pushed.contains(&tip), "{tip} was never pushed");
    assert_clones(&git, dir.path(), &remote.url, "clone");
}

#[test]
fn top_shows_what_a_server_did() {
    let server = Server::start();
    let remote = server.create("watched");
    let mut chain = Chain::new("refs/heads/main", 3, 20_000);
    let step = chain.next_step();
    assert!(chain.push(&remote, &step));
    for place in [server.origin().to_owned(), server.data().to_string_lossy().into_owned()] {
        let mut top = Command::new(host::cairn_binary());
        top.args(["top", "--once", &place]).env("CAIRN_API_TOKEN", host::API_TOKEN);
        let out = top.output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
        assert!(text.contains("repositories 1 "), "{text}");
        let row = text.lines().find(|line| line.ends_with("git-receive-pack") && line.contains("POST"));
        assert!(row.is_some_and(|row| row.trim_start().starts_with("1.0 ")), "{text}");
        assert!(!text.contains("resident 0.0"), "{text}");
    }
}
