//! Commits over REST, with stock git as the judge.

#[path = "support/server.rs"]
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::body::Body;
use serde_json::{Value, json};
use support::{Answer, Server, git};

const AT: &str = "/namespaces/t/repos/r/commits";
const PERSON: &str = "2023-11-14T22:13:20Z";

/// A commit as stock git makes it in these tests.
fn body(changes: Value) -> Value {
    let person = json!({ "name": "A", "email": "a@x", "date": PERSON });
    json!({ "branch": "main", "message": "m", "author": person, "committer": person, "changes": changes })
}

async fn commit(server: &Server, changes: Value) -> Answer {
    server.post(AT, &body(changes).to_string()).await
}

async fn committed(server: &Server, changes: Value) -> String {
    let answer = commit(server, changes).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.text("hash")
}

/// Clones, checks, and answers the folder.
async fn cloned(server: &Server, token: &str, name: &str) -> std::path::PathBuf {
    let origin = server.listen().await;
    let secret = token.split('?').next().expect("a token");
    let url = format!("{}/git/t/r.git", origin.replacen("http://", &format!("http://x:{secret}@"), 1));
    let folder = server.folder.path();
    git(folder, &["clone", "--quiet", &url, name]).await;
    let clone = folder.join(name);
    git(&clone, &["fsck", "--strict", "--no-dangling"]).await;
    clone
}

fn write(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_what_git_itself_would_have_made() {
    for format in ["sha1", "sha256"] {
        let server = Server::new();
        let made = json!({ "name": "r", "object_format": format }).to_string();
        let token = server.post("/namespaces/t/repos", &made).await.text("token");
        let first = committed(
            &server,
            json!([
                { "path": "a.txt", "content": "a\n" }, { "path": "a-b", "content": "" },
                { "path": "a/x", "content": "not below a.txt" }, { "path": "dir/deep/er/f", "content": "f" },
                { "path": "dir/keep", "content_base64": "AAEC\n/w==" }, { "path": "run", "content": "#!", "mode": "100755" },
                { "path": "link", "content": "a.txt", "mode": "120000" }, { "path": "é/ü", "content": "utf-8" },
            ]),
        )
        .await;
        let second = committed(
            &server,
            json!([
                { "path": "a.txt", "from": "a-b" }, { "path": "a.txt", "delete": true },
                { "path": "a-b", "from": "run" }, { "path": "moved", "from": "dir/deep" },
                { "path": "twin", "from": "dir/keep", "copy": true }, { "path": "link", "delete": true },
                { "path": "link/inside", "content": "x" }, { "path": "a/x", "mode": "100755" },
                { "path": "é/ü", "content": "changed" },
            ]),
        )
        .await;
        let work = server.folder.path().join("work");
        std::fs::create_dir(&work).expect("made");
        git(&work, &["init", "--quiet", "-b", "main", &format!("--object-format={format}")]).await;
        for (path, bytes) in [
            ("a.txt", &b"a\n"[..]),
            ("a-b", b""),
            ("a/x", b"not below a.txt"),
            ("dir/deep/er/f", b"f"),
            ("dir/keep", b"\0\x01\x02\xff"),
            ("run", b"#!"),
            ("é/ü", b"utf-8"),
        ] {
            write(&work, path, bytes);
        }
        let run = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(work.join("run"), run.clone()).expect("set");
        std::os::unix::fs::symlink("a.txt", work.join("link")).expect("linked");
        git(&work, &["add", "-A"]).await;
        git(&work, &["commit", "--quiet", "-m", "m"]).await;
        assert_eq!(git(&work, &["rev-parse", "HEAD"]).await, first, "{format}");
        git(&work, &["rm", "--quiet", "a.txt", "link"]).await;
        for (from, to) in [("a-b", "a.txt"), ("run", "a-b"), ("dir/deep", "moved")] {
            git(&work, &["mv", from, to]).await;
        }
        write(&work, "twin", b"\0\x01\x02\xff");
        write(&work, "link/inside", b"x");
        write(&work, "é/ü", b"changed");
        std::fs::set_permissions(work.join("a/x"), run).expect("set");
        git(&work, &["add", "-A"]).await;
        git(&work, &["commit", "--quiet", "-m", "m"]).await;
        assert_eq!(git(&work, &["rev-parse", "HEAD"]).await, second, "{format}");
        let clone = cloned(&server, &token, "clone").await;
        assert_eq!(git(&clone, &["rev-parse", "HEAD"]).await, second);
        assert_eq!(
            git(&clone, &["log", "--format=%an %ae %at %s"]).await,
            ["A a@x 1700000000 m"; 2].join("\n")
        );
    }
}

#[tokio::test]
async fn the_answer_is_a_commit_and_the_repository_was_pushed_to() {
    let server = Server::new();
    server.repo("t", "r").await;
    server.now.fetch_add(5_000, std::sync::atomic::Ordering::SeqCst);
    let made = json!({ "message": "hello\n\nworld\n", "changes": [{ "path": "f", "content": "x" }] });
    let answer = server.post(AT, &made.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let owner = json!({ "name": "api:owner", "email": "api-owner@cairn.invalid" });
    let want = json!({
        "hash": answer.text("hash"), "treeHash": answer.text("treeHash"), "message": "hello\n\nworld",
        "author": owner, "committer": owner, "parents": [], "authoredAt": 1_700_000_005, "committedAt": 1_700_000_005,
    });
    assert_eq!(*answer.result(), want);
    let repo = server.get("/namespaces/t/repos/r").await;
    assert_eq!(repo.text("last_push_at"), "2023-11-14T22:13:25.000Z");
    assert_eq!(repo.text("updated_at"), "2023-11-14T22:13:25.000Z");
}

#[tokio::test]
async fn bad_changes_are_refused_where_they_are_and_move_nothing() {
    let server = Server::new();
    server.repo("t", "r").await;
    let head =
        committed(&server, json!([{ "path": "f", "content": "x" }, { "path": "d/g", "content": "y" }])).await;
    let long = "x".repeat(5_000);
    let cases = [
        (json!([{ "path": "a//b", "content": "" }]), "/changes/0/path", "empty part"),
        (json!([{ "path": "/a", "content": "" }]), "/changes/0/path", "leading slash"),
        (
            json!([{ "path": "f", "content": "ok" }, { "path": "a/../b", "content": "" }]),
            "/changes/1/path",
            "dots",
        ),
        (json!([{ "path": "d/.GIT/config", "content": "" }]), "/changes/0/path", "a spelling of .git"),
        (json!([{ "path": "git~1", "content": "" }]), "/changes/0/path", "a short name of .git"),
        (
            json!([{ "path": ".gitmodules", "content": "x", "mode": "120000" }]),
            "/changes/0/path",
            "linked modules",
        ),
        (json!([{ "path": long, "content": "" }]), "/changes/0/path", "too long"),
        (json!([{ "path": "f/below", "content": "" }]), "/changes/0/path", "a file is no folder"),
        (json!([{ "path": "d", "content": "" }]), "/changes/0/path", "a folder is no file"),
        (
            json!([{ "path": "n", "content": "" }, { "path": "n/m", "content": "" }]),
            "/changes/1/path",
            "both",
        ),
        (
            json!([{ "path": "f", "content": "1" }, { "path": "f", "content": "2" }]),
            "/changes/1/path",
            "twice",
        ),
        (json!([{ "path": "nowhere", "delete": true }]), "/changes/0/path", "nothing to delete"),
        (json!([{ "path": "new", "from": "nowhere" }]), "/changes/0/from", "nothing to move"),
        (json!([{ "path": "d/g", "from": "f" }]), "/changes/0/path", "a move overwrites nothing"),
        (json!([{ "path": "n", "mode": "100755" }]), "/changes/0/path", "no file to change the mode of"),
        (json!([{ "path": "f", "content": "", "mode": "777" }]), "/changes/0/mode", "no such mode"),
        (json!([{ "path": "f", "content": "", "blob": head }]), "/changes/0", "two contents"),
        (json!([{ "path": "f", "blob": head }]), "/changes/0/blob", "a commit is no blob"),
        (json!([{ "path": "f", "content_base64": "#" }]), "/changes/0/content_base64", "not base64"),
        (json!([{ "path": "f" }]), "/changes/0", "says nothing"),
        (json!([{ "path": "f", "delete": true, "content": "" }]), "/changes/0/delete", "says two things"),
        (json!([{ "path": 7, "content": "" }]), "/changes/0/path", "wrong type"),
        (json!([{ "path": "f", "content": "x" }]), "/changes", "changes nothing"),
        (json!([]), "/changes", "nothing at all"),
    ];
    for (changes, pointer, why) in cases {
        let answer = commit(&server, changes).await;
        assert_eq!(answer.error(), (400, 10100, pointer), "{why}: {}", answer.body);
    }
    let expected = json!({ "expected_head": head, "message": "m", "changes": [], "allow_empty": true });
    let answer = server.post(AT, &expected.to_string()).await;
    assert_eq!(
        answer.status, 201,
        "the head has not moved, and empty commits can be asked for: {}",
        answer.body
    );
    assert_eq!(answer.result()["parents"], json!([head]));
}

#[tokio::test]
async fn heads_start_points_and_branches_are_as_asked() {
    let server = Server::new();
    server.repo("t", "r").await;
    let first = committed(&server, json!([{ "path": "f", "content": "1" }])).await;
    let second = committed(&server, json!([{ "path": "f", "content": "2" }])).await;
    let ask = |more: Value| {
        let mut body = body(json!([{ "path": "g", "content": "x" }]));
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        body.to_string()
    };
    let stale = server.post(AT, &ask(json!({ "expected_head": first }))).await;
    assert_eq!(stale.error(), (409, 10304, "/expected_head"));
    assert_eq!(stale.body["errors"][0]["meta"]["current"], json!(second));
    let missing = server.post(AT, &ask(json!({ "branch": "b", "expected_head": first }))).await;
    assert_eq!(missing.body["errors"][0]["meta"], json!({ "current": null }));
    assert_eq!(server.post(AT, &ask(json!({ "branch": "b" }))).await.error(), (404, 10200, "/branch"));
    assert_eq!(
        server.post(AT, &ask(json!({ "branch": "b", "start_point": "no" }))).await.error(),
        (404, 10200, "/start_point")
    );
    let made = server.post(AT, &ask(json!({ "branch": "b", "start_point": first }))).await;
    assert_eq!((made.status, &made.result()["parents"]), (201, &json!([first])), "{}", made.body);
    let by_name = server.post(AT, &ask(json!({ "branch": "refs/heads/c", "start_point": "main" }))).await;
    assert_eq!(by_name.result()["parents"], json!([second]));
    let exists = server.post(AT, &ask(json!({ "branch": "b", "start_point": first }))).await;
    assert_eq!(exists.error(), (409, 10201, "/start_point"));
    let orphan = server.post(AT, &ask(json!({ "branch": "o", "expected_head": null }))).await;
    assert_eq!((orphan.status, &orphan.result()["parents"]), (201, &json!([])), "{}", orphan.body);
    let below = server.post(AT, &ask(json!({ "branch": "b/c", "start_point": "main" }))).await;
    assert_eq!(below.error(), (409, 10201, "/branch"), "a branch cannot be a folder of branches");
    for (field, value) in
        [("branch", json!("a..b")), ("message", json!(" ")), ("expected_head", json!("abc"))]
    {
        let at = format!("/{field}");
        assert_eq!(server.post(AT, &ask(json!({ field: value }))).await.error(), (400, 10100, at.as_str()));
    }
    server.ask("PATCH", "/namespaces/t/repos/r", r#"{"read_only":true}"#).await;
    assert_eq!(server.post(AT, &ask(json!({}))).await.error().0, 403, "read-only");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_writers_who_expect_the_same_head_wins_and_all_who_do_not_care_land() {
    let server = std::sync::Arc::new(Server::new());
    server.repo("t", "r").await;
    let head = committed(&server, json!([{ "path": "f", "content": "0" }])).await;
    let race = |expect: bool, round: u32| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let mut ask = body(json!([{ "path": format!("{round}/{writer}"), "content": "x" }]));
                if expect {
                    ask["expected_head"] = json!(head);
                }
                let server = std::sync::Arc::clone(&server);
                tokio::spawn(async move { server.post(AT, &ask.to_string()).await })
            })
            .collect();
        async move {
            let mut answers = Vec::new();
            for writer in writers {
                answers.push(writer.await.expect("an answer"));
            }
            answers
        }
    };
    let answers = race(true, 0).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(won.len(), 1);
    let now = won[0].text("hash");
    for lost in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(lost.error(), (409, 10304, "/expected_head"));
        assert_eq!(lost.body["errors"][0]["meta"]["current"], json!(now));
    }
    for answer in race(false, 1).await {
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    let mut seen = 0;
    for writer in 0..8 {
        // A file that is there cannot be made again unchanged.
        let again = commit(&server, json!([{ "path": format!("1/{writer}"), "content": "x" }])).await;
        seen += u32::from(again.error() == (400, 10100, "/changes"));
    }
    assert_eq!(seen, 8, "all eight files are there");
}

/// A multipart body, all of it there to be read at once.
fn multipart(parts: Vec<(&str, Vec<u8>)>) -> Body {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for (name, data) in parts {
        pieces.push(
            format!("\r\n--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").into_bytes(),
        );
        pieces.extend(data.chunks(60_000).map(<[u8]>::to_vec));
    }
    pieces.push(b"\r\n--XX--\r\n".to_vec());
    Body::from(pieces.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_come_as_parts_named_by_changes_or_by_their_paths() {
    let server = Server::new();
    let token = server.repo("t", "r").await;
    let mut seed = 1_u64;
    let big: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(24 << 20)
    .collect();
    let json =
        body(json!([{ "path": "dir/big.bin", "part": "f1", "mode": "100755" }])).to_string().into_bytes();
    let parts = vec![("commit", json.clone()), ("f1", big.clone()), ("plain.txt", b"text\r\n--X".to_vec())];
    let headers = [("content-type", "multipart/form-data; boundary=XX")];
    let answer = server.send_body("POST", AT, &headers, multipart(parts)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let clone = cloned(&server, &token, "clone").await;
    assert!(std::fs::read(clone.join("dir/big.bin")).expect("there") == big);
    assert_eq!(std::fs::read(clone.join("plain.txt")).expect("there"), b"text\r\n--X");
    assert_eq!(git(&clone, &["ls-files", "-s", "dir"]).await.split(' ').next(), Some("100755"));
    let cases = [
        (vec![("f1", b"x".to_vec())], ""),
        (vec![("commit", json.clone())], "/changes/0/part"),
        (vec![("commit", json.clone()), ("f1", vec![]), ("f1", vec![])], ""),
        (vec![("commit", json), ("f1", vec![]), ("../up", vec![])], "/parts/1/path"),
    ];
    for (parts, pointer) in cases {
        let answer = server.send_body("POST", AT, &headers, multipart(parts)).await;
        assert_eq!(answer.error(), (400, 10100, pointer), "{}", answer.body);
    }
}

#[tokio::test]
async fn json_stops_at_its_limit() {
    let server = Server::new();
    server.repo("t", "r").await;
    let fits = body(json!([{ "path": "f", "content": "x".repeat(4 << 20) }])).to_string();
    assert_eq!(server.post(AT, &fits).await.status, 201, "beyond the limit of other bodies");
    let mut exact = body(json!([{ "path": "g", "content": "" }])).to_string();
    exact.push_str(&" ".repeat((32 << 20) - exact.len()));
    assert_eq!(server.post(AT, &exact).await.status, 201, "at the limit");
    exact.push(' ');
    assert_eq!(server.post(AT, &exact).await.error(), (413, 10100, ""), "one byte past it");
}
