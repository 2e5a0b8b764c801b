//! Forks through REST, with stock git as the judge of what they show.

#[path = "support/git.rs"]
mod git;
#[path = "support/server.rs"]
mod support;

use std::path::Path;
use std::sync::atomic::Ordering;

use cairn_server::clock::rfc3339;
use cairn_server::store::maintain;
use git::{Live, commit, facts, git as run, write};
use support::Answer;

const BASE: &str = "/namespaces/a/repos/base/fork";

async fn fork(live: &Live, base: &str, body: &str) -> (Answer, String) {
    let made = live.server.post(&format!("/namespaces/a/repos/{base}/fork"), body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let token = made.text("token");
    (made, token)
}

fn has_file(live: &Live, id: &str) -> bool {
    let id = cairn_server::store::RepoId::parse(id).expect("an id");
    live.server.app.files.path(id).exists()
}

/// `base` with three pushes, a second apart: main at c1; main at c3 (two commits) and `side`; a tag on `side`'s child.
struct Base {
    token: String,
    c: Vec<String>,
    side: String,
    tagged: String,
    /// The moments behind each push.
    times: Vec<i64>,
}

async fn base(live: &Live) -> Base {
    let token = live.server.repo("a", "base").await;
    let dir = live.init("work");
    let url = live.url("a", "base");
    let (mut c, mut times) = (Vec::new(), Vec::new());
    let push = |args: &[&str]| {
        live.server.now.fetch_add(1_000, Ordering::Relaxed);
        let all: Vec<&str> = ["push", "-q", &url].into_iter().chain(args.iter().copied()).collect();
        live.git(&dir, &token, &all);
        live.server.now.fetch_add(1_000, Ordering::Relaxed);
        live.server.now.load(Ordering::Relaxed)
    };
    write(&dir, "a.txt", "one\n");
    c.push(commit(&dir, "c1"));
    times.push(push(&["main"]));
    write(&dir, "a.txt", "two\n");
    c.push(commit(&dir, "c2"));
    write(&dir, "b/c.txt", "three\n");
    c.push(commit(&dir, "c3"));
    run(&dir, &["checkout", "-q", "-b", "side"]);
    write(&dir, "side.txt", "only on side\n");
    let side = commit(&dir, "side");
    times.push(push(&["main", "side"]));
    write(&dir, "side.txt", "only under the tag\n");
    let tagged = commit(&dir, "tagged");
    run(&dir, &["tag", "-a", "-m", "v1", "v1"]);
    times.push(push(&["v1"]));
    Base { token, c, side, tagged, times }
}

fn refused(live: &Live, at: &Path, token: &str, name: &str, id: &str) -> bool {
    !live.try_git(at, token, &["fetch", "-q", &live.url("a", name), id]).status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_shows_what_its_base_shows_and_nothing_that_comes_later() {
    let live = Live::new().await;
    let base = base(&live).await;
    let (one, token) = fork(&live, "base", r#"{"name":"one","description":"d","read_only":false}"#).await;
    assert_eq!(one.result()["description"], "d");
    assert!(!has_file(&live, &one.text("id")), "a fork is a row");
    let before = facts(&live.mirror(&base.token, ("a", "base"), "base-before"));
    assert_eq!(facts(&live.mirror(&token, ("a", "one"), "one")), before);
    assert_eq!(one.result()["objects"], before.1.lines().count(), "everything of the base is reachable");

    // The base moves on, the fork stays; the fork moves on, the base stays.
    let dir = live.dir("work");
    run(&dir, &["checkout", "-q", "main"]);
    write(&dir, "late.txt", "late\n");
    let late = commit(&dir, "late");
    live.git(&dir, &base.token, &["push", "-q", &live.url("a", "base"), "main", ":side"]);
    assert_eq!(facts(&live.mirror(&token, ("a", "one"), "one-later")), before);
    assert!(refused(&live, &live.dir("one"), &token, "one", &late));
    run(&dir, &["checkout", "-q", "-b", "own", &base.c[0]]);
    write(&dir, "own.txt", "own\n");
    commit(&dir, "own");
    live.git(&dir, &token, &["push", "-q", &live.url("a", "one"), "own", ":refs/tags/v1"]);
    assert!(has_file(&live, &one.text("id")), "its first push makes its file");
    let one_now = facts(&live.mirror(&token, ("a", "one"), "one-own"));
    assert!(one_now.0.contains("refs/heads/own") && !one_now.0.contains("refs/tags/v1"), "{}", one_now.0);

    // A fork of the fork, in a namespace of its own, made on the way.
    let (two, two_token) = fork(&live, "one", r#"{"name":"two","namespace":"b"}"#).await;
    assert!(two.text("remote").ends_with("/git/b/two.git"));
    let listed = live.server.get("/namespaces/b/repos/two").await;
    assert_eq!(listed.text("source"), "artifacts:a/one");
    assert_eq!(facts(&live.mirror(&two_token, ("b", "two"), "two")), one_now);
    // Both bases go, with their files as far as nobody needs them: the forks stay whole.
    for name in ["base", "one"] {
        let path = format!("/namespaces/a/repos/{name}");
        assert_eq!(live.server.ask("DELETE", &path, "").await.status, 202);
    }
    let files = live.server.app.files.clone();
    let swept = maintain::sweep_files(&live.server.app.catalog, |id| {
        files.delete(id)?.then_some(()).ok_or_else(|| "in use".into())
    });
    assert_eq!(swept.await.expect("a sweep"), 0, "the fork of the fork stands on both");
    assert_eq!(facts(&live.mirror(&two_token, ("b", "two"), "two-alone")), one_now);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_may_start_at_an_entry_or_at_a_time_even_before_its_base_was_forked() {
    let live = Live::new().await;
    let base = base(&live).await;
    live.server.now.fetch_add(5_000, Ordering::Relaxed);
    let (_, token) = fork(&live, "base", r#"{"name":"one"}"#).await;
    let dir = live.dir("work");
    run(&dir, &["checkout", "-q", "-b", "more", &base.c[2]]);
    write(&dir, "more.txt", "more\n");
    let more = commit(&dir, "more");
    live.server.now.fetch_add(5_000, Ordering::Relaxed);
    live.git(&dir, &token, &["push", "-q", &live.url("a", "one"), "more"]);
    live.server.now.fetch_add(5_000, Ordering::Relaxed);

    let heads = async |body: String, to: &str| {
        let (made, token) = fork(&live, "one", &body).await;
        assert!(!has_file(&live, &made.text("id")));
        run(&live.mirror(&token, ("a", to), to), &["for-each-ref", "--format=%(refname:short) %(objectname)"])
    };
    let [c1, c3, side] = [&base.c[0], &base.c[2], &base.side];
    let first = format!("main {c1}");
    let second = format!("main {c3}\nside {side}");
    // The times of the base's pushes lie before the fork was made: its base's log answers.
    for (at, (time, want)) in base.times.iter().zip([&first, &second]).enumerate() {
        let body = format!(r#"{{"name":"t{at}","at":"{}"}}"#, rfc3339(*time));
        assert_eq!(&heads(body, &format!("t{at}")).await, want);
    }
    let whole = heads(r#"{"name":"s1","at":1}"#.into(), "s1").await;
    assert!(whole.contains(&format!("more {more}")) && whole.contains("v1"), "{whole}");
    let none = heads(r#"{"name":"s0","at":"0"}"#.into(), "s0").await;
    assert!(!none.contains("more") && none.contains("v1"), "before its own first entry: {none}");
    let before = base.times[0] - 10_000;
    let nothing = heads(format!(r#"{{"name":"t9","at":"{}"}}"#, rfc3339(before)), "t9").await;
    assert_eq!(nothing, "", "before the base's first push");
    for bad in ["\"yesterday\"", "2", "-1", "true", "\"abcdef\""] {
        let body = format!(r#"{{"name":"x","at":{bad}}}"#);
        let answer = live.server.post("/namespaces/a/repos/one/fork", &body).await;
        assert_eq!(answer.error(), (400, 10100, "/at"), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_at_a_commit_starts_where_it_was_first_shown_with_its_branch_there() {
    let live = Live::new().await;
    let base = base(&live).await;
    let [c1, c2, c3] = [&base.c[0], &base.c[1], &base.c[2]];
    // c1 and c3 are what main was at; c2 came and went within a push; the side's commit is another branch's.
    for (name, id, want_refs, has_entry) in [
        ("at-c1", c1, format!("refs/heads/main {c1}"), false),
        ("at-c2", c2, format!("refs/heads/main {c2}\nrefs/heads/side {}", base.side), true),
        ("at-c3", c3, format!("refs/heads/main {c3}\nrefs/heads/side {}", base.side), false),
        ("at-side", &base.side, format!("refs/heads/main {0}\nrefs/heads/side {0}", base.side), true),
    ] {
        let (made, token) = fork(&live, "base", &format!(r#"{{"name":"{name}","at":"{id}"}}"#)).await;
        assert_eq!(has_file(&live, &made.text("id")), has_entry, "{name}");
        assert_eq!(facts(&live.mirror(&token, ("a", name), name)).0, want_refs, "{name}");
    }
    // Alone, the commit's branch shows nothing behind it.
    let body = format!(r#"{{"name":"alone","at":"{c2}","default_branch_only":true}}"#);
    let (_, token) = fork(&live, "base", &body).await;
    let alone = live.mirror(&token, ("a", "alone"), "alone");
    assert_eq!(facts(&alone).0, format!("refs/heads/main {c2}"));
    for hidden in [c3, &base.side, &base.tagged] {
        assert!(refused(&live, &alone, &token, "alone", hidden));
    }
    // A fork finds the commits of its bases too.
    let (_, token) = fork(&live, "alone", &format!(r#"{{"name":"below","at":"{c1}"}}"#)).await;
    assert_eq!(facts(&live.mirror(&token, ("a", "below"), "below")).0, format!("refs/heads/main {c1}"));

    let blob = run(&live.dir("work"), &["rev-parse", &format!("{c1}:a.txt")]);
    for unknown in [blob.as_str(), &"0".repeat(40), &"7".repeat(40)] {
        let body = format!(r#"{{"name":"x","at":"{unknown}"}}"#);
        assert_eq!(live.server.post(BASE, &body).await.error(), (400, 10100, "/at"), "{unknown}");
    }
    assert_eq!(live.server.get("/namespaces/a/repos/x").await.status, 404, "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_of_the_default_branch_gives_away_nothing_else() {
    let live = Live::new().await;
    let base = base(&live).await;
    let c3 = &base.c[2];
    let (one, token) = fork(&live, "base", r#"{"name":"one","default_branch_only":true}"#).await;
    assert!(!has_file(&live, &one.text("id")), "narrow forks are rows too");
    let clone = live.mirror(&token, ("a", "one"), "one");
    assert_eq!(facts(&clone).0, format!("refs/heads/main {c3}"));
    let work = live.dir("work");
    let wanted = run(&work, &["rev-list", "--objects", "--no-object-names", c3]);
    let (mut got, mut want): (Vec<_>, Vec<_>) = (Vec::new(), wanted.lines().collect());
    let reachable = facts(&clone).1;
    got.extend(reachable.lines());
    want.sort_unstable();
    assert_eq!(got, want);
    let stored = run(&clone, &["count-objects", "-v"]);
    assert!(stored.contains(&format!("in-pack: {}", want.len())), "no more was sent: {stored}");
    for hidden in [&base.side, &base.tagged] {
        assert!(refused(&live, &clone, &token, "one", hidden), "{hidden}");
    }
    // Naming a hidden object in a push does not open it.
    let send = live.try_git(
        &work,
        &token,
        &["push", "-q", &live.url("a", "one"), &format!("{}:refs/heads/x", base.side)],
    );
    assert!(
        send.status.success(),
        "git sends what the fork does not show: {}",
        String::from_utf8_lossy(&send.stderr)
    );
    assert!(has_file(&live, &one.text("id")));
    assert!(refused(&live, &clone, &token, "one", &base.tagged), "still hidden");
    // Own refs count, and a fork of it is as narrow.
    let now = format!("refs/heads/main {c3}\nrefs/heads/x {}", base.side);
    assert_eq!(facts(&live.mirror(&token, ("a", "one"), "one-own")).0, now);
    let (_, two) = fork(&live, "one", r#"{"name":"two"}"#).await;
    let two_clone = live.mirror(&two, ("a", "two"), "two");
    assert_eq!(facts(&two_clone).0, now);
    assert!(refused(&live, &two_clone, &two, "two", &base.tagged));
    let (_, three) = fork(&live, "one", r#"{"name":"three","at":0}"#).await;
    assert_eq!(facts(&live.mirror(&three, ("a", "three"), "three")).0, format!("refs/heads/main {c3}"));
    // Of a branch that the base never had, its logs show nothing.
    let changed = live.server.ask("PATCH", "/namespaces/a/repos/one", r#"{"default_branch":"x"}"#).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let (_, four) = fork(&live, "one", r#"{"name":"four","default_branch_only":true}"#).await;
    let four_clone = live.mirror(&four, ("a", "four"), "four");
    assert_eq!(facts(&four_clone).0, format!("refs/heads/x {}", base.side));
    let (_, five) = fork(&live, "four", r#"{"name":"five","default_branch_only":true}"#).await;
    assert_eq!(facts(&live.mirror(&five, ("a", "five"), "five")), facts(&four_clone));
    for (name, want) in [("one", 1), ("four", 0)] {
        let row = live.server.app.catalog.resolve("a", name).await.expect("an answer").expect("a row");
        let found =
            cairn_server::store::repo::fsck::fsck(&live.server.app.files, row.object_format, &row.pins);
        assert!(found.is_empty(), "{name}: {found:?}");
        assert_eq!(has_file(&live, row.id.as_str()), want == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_against_a_hidden_object_is_refused() {
    let live = Live::new().await;
    let base = base(&live).await;
    let (_, token) = fork(&live, "base", r#"{"name":"one","default_branch_only":true}"#).await;
    // The client takes the hidden commit for one that the server has, so that it sends a commit alone.
    let work = live.dir("work");
    let parent = &base.tagged;
    let tree = run(&work, &["rev-parse", &format!("{parent}^{{tree}}")]);
    let child = run(&work, &["commit-tree", "-p", parent, "-m", "child", &tree]);
    let list = format!("{child}\n^{parent}\n");
    let mut pack = git::command(&work, &["pack-objects", "--revs", "--thin", "--stdout", "-q"]);
    let made = {
        use std::io::Write;
        let mut running = pack.stdin(std::process::Stdio::piped()).spawn().expect("git runs");
        running.stdin.take().expect("piped").write_all(list.as_bytes()).expect("taken");
        running.wait_with_output().expect("it ends")
    };
    let line = format!("{} {child} refs/heads/y\0report-status\n", "0".repeat(40));
    let body = [format!("{:04x}{line}0000", line.len() + 4).as_bytes(), &made.stdout].concat();
    let request = axum::http::Request::post("/git/a/one.git/git-receive-pack")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/x-git-receive-pack-request")
        .body(axum::body::Body::from(body))
        .expect("a request");
    live.server.send(request).await;
    let refs = live.git(&work, &token, &["ls-remote", &live.url("a", "one")]);
    assert!(!refs.contains("refs/heads/y"), "{refs}");
}

#[tokio::test]
async fn bad_wishes_are_named() {
    let server = support::Server::new();
    server.repo("a", "base").await;
    for (body, want) in [
        (r#"{"name":"x y"}"#, (400, 10101, "/name")),
        ("{}", (400, 10101, "/name")),
        (r#"{"name":"base"}"#, (409, 10201, "/name")),
        (r#"{"name":"x","namespace":"-"}"#, (400, 10100, "/namespace")),
        (r#"{"name":"x","read_only":"yes"}"#, (400, 10100, "/read_only")),
        (r#"{"name":"x","default_branch_only":1}"#, (400, 10100, "/default_branch_only")),
    ] {
        assert_eq!(server.post(BASE, body).await.error(), want, "{body}");
    }
    assert_eq!(server.post("/namespaces/a/repos/no/fork", r#"{"name":"x"}"#).await.error(), (404, 10200, ""));
    let made = server.post(BASE, r#"{"name":"x","read_only":true,"description":null,"more":1}"#).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(server.get("/namespaces/a/repos/x").await.result()["read_only"], true);
}
