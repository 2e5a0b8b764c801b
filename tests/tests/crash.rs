//! The process is killed at any moment; what was acknowledged stays, the rest is whole or absent.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cairn_conformance::host::Remote;
use cairn_conformance::http;
use cairn_tests::Server;
use cairn_tests::chain::{Chain, Step};
use cairn_tests::server::{Random, assert_clones, assert_sound};
use std::thread;
use std::time::Duration;

const SEED: u64 = 20_240_229;
const ROUNDS: u64 = 24;
/// Kills fall within this many milliseconds of the first push.
const KILL_MS_MAX: u64 = 250;
/// Large enough that kills also meet pushes in the middle of their upload.
const BLOB_BYTES: usize = 300_000;

/// Pushes until the server dies; returns the step that was not acknowledged.
fn push_until_it_dies(chain: &mut Chain, remote: &Remote) -> Step {
    loop {
        let step = chain.next_step();
        if !chain.push(remote, &step) {
            return step;
        }
    }
}

#[test]
fn acknowledged_pushes_survive_kill_and_others_leave_no_half() {
    let mut server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let mut remote = server.create("crash");
    let mut random = Random::new(SEED);
    let mut chains: Vec<Chain> =
        (0..3).map(|at| Chain::new(&format!("refs/heads/b{at}"), at, BLOB_BYTES)).collect();
    let mut acknowledged = false;
    for round in 0..ROUNDS {
        let pause = Duration::from_millis(random.below(KILL_MS_MAX));
        let in_flight: Vec<Step> = thread::scope(|scope| {
            let remote = &remote;
            let pushers: Vec<_> = chains
                .iter_mut()
                .map(|chain| scope.spawn(move || push_until_it_dies(chain, remote)))
                .collect();
            // The moment itself is what is tried here.
            thread::sleep(pause);
            server.kill();
            pushers.into_iter().map(|pusher| pusher.join().unwrap()).collect()
        });
        assert_sound(server.data());
        server.restart();
        remote = server.again(&remote);
        let git = server.git(dir.path(), &[&remote]);
        let listed = git.run(dir.path(), &["ls-remote", &remote.url]);
        assert!(listed.ok(), "round {round}: {}", listed.errors());
        let listed = listed.text();
        for (chain, step) in chains.iter_mut().zip(&in_flight) {
            let stands = |oid: &str| listed.contains(&format!("{oid}\t{}", chain.name()));
            let whole = stands(&step.new);
            let absent =
                stands(chain.tip()) || (step.old.starts_with("0000000") && !listed.contains(chain.name()));
            assert!(
                whole || absent,
                "round {round}: {} is neither {} nor {}:\n{listed}",
                chain.name(),
                step.new,
                step.old
            );
            acknowledged |= !step.old.starts_with("0000000");
            if whole {
                chain.stands_at(&step.new);
            }
        }
        let name = format!("clone-{round}");
        assert_clones(&git, dir.path(), &remote.url, &name);
        std::fs::remove_dir_all(dir.path().join(name)).unwrap();
    }
    assert!(acknowledged, "some push must have got through, or nothing was tried");
    server.terminate();
    assert!(server.wait().success());
    assert_sound(server.data());
}

#[test]
fn acknowledged_rest_commits_survive_kill() {
    let mut server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let mut remote = server.create("rest");
    let mut random = Random::new(SEED);
    // What each writer was told: its files, in order, and the number of the first that it was not told of.
    let mut next = [0_u32; 3];
    for round in 0..6 {
        let pause = Duration::from_millis(50 + random.below(KILL_MS_MAX));
        let origin = server.origin().to_owned();
        thread::scope(|scope| {
            for (writer, next) in next.iter_mut().enumerate() {
                let url =
                    format!("{origin}/client/v4/accounts/local/artifacts/namespaces/t/repos/rest/commits");
                scope.spawn(move || {
                    let token = format!("Bearer {}", cairn_conformance::host::API_TOKEN);
                    loop {
                        let path = format!("w{writer}/{next}");
                        let body = serde_json::json!({ "message": path, "allow_empty": true,
                            "changes": [{ "path": path, "content": path }] });
                        let headers = [("Authorization", token.as_str())];
                        let answer = http::request("POST", &url, &headers, body.to_string().as_bytes());
                        match answer {
                            Ok(answer) if answer.status == 201 => *next += 1,
                            Ok(answer) if !answer.text().is_empty() => panic!("{}", answer.text()),
                            _ => break,
                        }
                    }
                });
            }
            // The moment itself is what is tried here.
            thread::sleep(pause);
            server.kill();
        });
        assert_sound(server.data());
        server.restart();
        remote = server.again(&remote);
        let git = server.git(dir.path(), &[&remote]);
        let name = format!("rest-{round}");
        assert_clones(&git, dir.path(), &remote.url, &name);
        let listed = git.run(&dir.path().join(&name), &["ls-tree", "-r", "--name-only", "main"]).text();
        let there: std::collections::HashSet<&str> = listed.lines().collect();
        for (writer, count) in next.iter().enumerate() {
            for file in 0..*count {
                assert!(
                    there.contains(format!("w{writer}/{file}").as_str()),
                    "round {round}: w{writer}/{file}"
                );
            }
        }
    }
    assert!(next.iter().sum::<u32>() > 0, "some commit must have got through, or nothing was tried");
}
