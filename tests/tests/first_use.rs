//! What a newcomer does first.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cairn_tests::Server;
use cairn_tests::server::{assert_clones, assert_sound};
use serde_json::{Value, json};

#[test]
fn a_new_repository_takes_a_push_and_gives_it_back() {
    let mut server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let remote = server.create("hello");
    let git = server.git(dir.path(), &[&remote]);
    let ok = |place: &str, args: &[&str]| {
        let out = git.run(&dir.path().join(place), args);
        assert!(out.ok(), "git {args:?}: {}", out.errors());
        out.text()
    };
    ok("", &["init", "--quiet", "work"]);
    std::fs::write(dir.path().join("work/README"), "hello\n").unwrap();
    ok("work", &["add", "."]);
    ok("work", &["commit", "--quiet", "-m", "first"]);
    ok("work", &["push", "--quiet", &remote.url, "main"]);
    ok("", &["clone", "--quiet", &remote.url, "clone"]);
    assert_eq!(std::fs::read_to_string(dir.path().join("clone/README")).unwrap(), "hello\n");
    assert_eq!(ok("clone", &["rev-parse", "HEAD"]), ok("work", &["rev-parse", "HEAD"]));

    server.kill();
    server.restart();
    let remote = server.again(&remote);
    assert_clones(&server.git(dir.path(), &[&remote]), dir.path(), &remote.url, "after");
    server.terminate();
    assert!(server.wait().success());
    assert_sound(server.data());
}

#[test]
fn without_a_token_nothing_is_served() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let remote = server.create("closed");
    let stranger = server.git(dir.path(), &[]);
    assert!(!stranger.run(dir.path(), &["ls-remote", &remote.url]).ok());
    let url = format!("{}/info/refs?service=git-upload-pack", remote.url);
    let answer = cairn_conformance::http::request("GET", &url, &[], b"").unwrap();
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Basic")));
}

#[test]
fn a_token_in_the_url_works_as_a_password() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let remote = server.create("password");
    let out = server.git(dir.path(), &[]).run(dir.path(), &["ls-remote", &remote.url_with_password()]);
    assert!(out.ok(), "{}", out.errors());
}

#[test]
fn a_fork_sees_what_its_base_had_and_outlives_it() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let base = server.create("base");
    let mut chain = cairn_tests::chain::Chain::new("refs/heads/main", 1, 1000);
    for _ in 0..3 {
        let step = chain.next_step();
        assert!(chain.push(&base, &step));
    }
    let forked_at = chain.tip().to_owned();
    let (status, answer) = server.rest("POST", "/namespaces/t/repos/base/fork", &json!({ "name": "fork" }));
    assert_eq!(status, 201, "{answer}");
    let fork = cairn_conformance::host::remote_of(&answer);

    let later = chain.next_step();
    assert!(chain.push(&base, &later));
    let git = server.git(dir.path(), &[&base, &fork]);
    let listed = git.run(dir.path(), &["ls-remote", &fork.url, "refs/heads/main"]).text();
    assert!(listed.starts_with(&forked_at), "the fork stays where the base was: {listed}");
    assert_clones(&git, dir.path(), &fork.url, "before");
    git.run(dir.path(), &["init", "--quiet", "--bare", "curious"]);
    let out = git.run(&dir.path().join("curious"), &["fetch", &fork.url, &later.new]);
    assert!(!out.ok(), "the fork does not serve what only its base got later");

    let (status, answer) = server.rest("DELETE", "/namespaces/t/repos/base", &Value::Null);
    assert_eq!(status, 202, "{answer}");
    assert!(!git.run(dir.path(), &["ls-remote", &base.url]).ok(), "the base is gone");
    assert_clones(&git, dir.path(), &fork.url, "after");

    let mut own = cairn_tests::chain::Chain::new("refs/heads/main", 2, 1000);
    own.stands_at(&forked_at);
    let step = own.next_step();
    assert!(own.push(&fork, &step), "the fork takes pushes on top of what its base had");
    assert_clones(&git, dir.path(), &fork.url, "own");
}
