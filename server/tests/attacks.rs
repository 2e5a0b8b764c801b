//! What strangers and holders of tokens may try: each attack by its name. Others are in `tests/tests/hostile.rs` and
//! `conformance/tests/hostile.rs`; `docs/threats.md` has the whole list.

#[path = "model/objects.rs"]
#[allow(dead_code, reason = "the packs of this file are made by hand")]
mod objects;
#[path = "support/process.rs"]
mod process;
#[path = "support/server.rs"]
mod support;
#[path = "model/wire.rs"]
#[allow(dead_code, reason = "this file only pushes")]
mod wire;

use std::io::{BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use cairn_conformance::pack::{self, Kind, Pack, ZERO, pkt, tree_entry};
use process::{address, serving};
use serde_json::Value;
use support::{API_TOKEN, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer that must come may take: far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(origin: &str) -> TcpStream {
    TcpStream::connect(origin.trim_start_matches("http://")).await.expect("it listens")
}

/// What comes back until the server closes or has said `until`.
async fn said(stream: &mut TcpStream, until: &str) -> String {
    let mut answer = Vec::new();
    let read = async {
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains(until) {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(count) => answer.extend_from_slice(&piece[..count]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn assert_alive(origin: &str) {
    let mut stream = connect(origin).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it reads");
    assert!(said(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200"), "others are served");
}

#[tokio::test(flavor = "multi_thread")]
async fn abused_heads_and_uris_get_an_error_and_harm_nobody() {
    let server = Server::new();
    let origin = server.listen().await;
    let head = |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let many: String = (0..1_000).map(|at| format!("x-{at}: y\r\n")).collect();
    let cases = [
        ("a thousand fields", head("GET /healthz", &many)),
        ("a field of a megabyte", head("GET /healthz", &format!("x: {}\r\n", "y".repeat(1 << 20)))),
        ("a path of 100 KB", head(&format!("GET /{}", "a".repeat(100_000)), "")),
        (
            "a query of 100 KB",
            head(&format!("GET /git/a/b.git/info/refs?service={}", "a".repeat(100_000)), ""),
        ),
        ("a method that is none", head("G<T /healthz", "")),
        ("a NUL in a field", head("GET /healthz", "x: a\0b\r\n")),
        ("a line break in a field", head("GET /healthz", "x: a\rb: c\r\n")),
        (
            "two lengths",
            head("POST /git/a/b.git/git-upload-pack", "Content-Length: 1\r\nContent-Length: 2\r\n"),
        ),
        ("a length that is no number", head("POST /git/a/b.git/git-upload-pack", "Content-Length: -1\r\n")),
        (
            "a coding after chunked",
            head("POST /git/a/b.git/git-upload-pack", "Transfer-Encoding: chunked, x\r\n"),
        ),
        ("a path that is no path", head("GET http://[::1", "")),
        ("no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03 and so on\r\n\r\n".into()),
    ];
    for (what, sent) in cases {
        let mut stream = connect(&origin).await;
        // The server may refuse before it has read everything.
        let _ = stream.write_all(sent.as_bytes()).await;
        let _ = stream.shutdown().await;
        let answer = said(&mut stream, "\r\n\r\n").await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
        assert_alive(&origin).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_smuggles_no_second_request() {
    let server = Server::new();
    let origin = server.listen().await;
    let inner = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let body = format!("0\r\n\r\n{inner}");
    let sent = format!(
        "POST /git/a/b.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n{body}",
        body.len()
    );
    let mut stream = connect(&origin).await;
    stream.write_all(sent.as_bytes()).await.expect("it reads");
    stream.shutdown().await.expect("half of it closes");
    let answer = said(&mut stream, "no server says this").await;
    assert!(!answer.contains("HTTP/1.1 200"), "a proxy would take this for one request: {answer}");
    assert_alive(&origin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_that_say_nothing_keep_nobody_out() {
    let server = Server::new();
    let origin = server.listen().await;
    let mut idle = Vec::new();
    for at in 0..1_000 {
        let mut stream = connect(&origin).await;
        if at % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nx-slow: ").await.expect("it reads");
        }
        idle.push(stream);
    }
    assert_alive(&origin).await;
    drop(idle);
    assert_alive(&origin).await;
}

#[tokio::test]
async fn no_name_leads_out_of_the_data_folder() {
    let server = Server::new();
    let token = server.repo("a", "r").await;
    let above = server.folder.path().join("secret");
    std::fs::write(&above, "secret").expect("a file");
    let bad = [
        "..",
        "%2e%2e",
        "%2e%2e%2f",
        "..%2f..%2fsecret",
        "a%00b",
        "%2fetc%2fpasswd",
        "a%5cb",
        ".git",
        "%c0%ae",
        "a.lock",
    ];
    for name in bad {
        for path in [
            format!("/namespaces/{name}/repos/r"),
            format!("/namespaces/a/repos/{name}"),
            format!("/namespaces/a/repos/r/file?path={name}/secret&ref=main"),
            format!("/namespaces/a/repos/r/raw/main/{name}/secret"),
            format!("/namespaces/a/repos/r/archive/{name}.tar.gz"),
            format!("/namespaces/a/repos/r/refs/{name}"),
        ] {
            let answer = server.get(&path).await;
            assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
            assert!(!answer.body.to_string().contains("secret\""), "{path}");
        }
        let text = percent(name);
        for (path, body) in [
            ("/namespaces", serde_json::json!({ "namespace": text })),
            ("/namespaces/a/repos", serde_json::json!({ "name": text })),
            ("/namespaces/a/repos/r/fork", serde_json::json!({ "name": text })),
            ("/namespaces/a/repos/r/fork", serde_json::json!({ "name": "f", "namespace": text })),
        ] {
            let answer = server.post(path, &body.to_string()).await;
            assert_eq!(answer.status, 400, "{path} {text:?}: {}", answer.body);
        }
    }
    assert_eq!(server.get("/namespaces/a/repos/r").await.status, 200);
    assert!(!token.is_empty() && above.exists());
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(b'?');
        out.push(char::from(code));
        rest = after.get(2..).unwrap_or("");
    }
    out + rest
}

/// Pushes a commit of a root tree with what it needs, as `refs/heads/{branch}`.
async fn push_tree(server: &Server, token: &str, branch: &str, mut pack: Pack, root: &str) {
    let commit = pack.add(Kind::Commit, &pack::commit(root, &[], branch));
    let moved = (format!("refs/heads/{branch}"), None, Some(commit));
    let taken = wire::push(&server.edge, "a", ("r", token), &[moved], &pack.bytes(), false).await;
    assert_eq!(taken, Ok(vec![true]), "{branch}");
}

/// Every read that walks trees. It ends, and says too much where it is too much.
async fn assert_reads_end(server: &Server, branch: &str) {
    for path in [
        format!("/tree?ref={branch}&recursive=true"),
        format!("/tree?ref={branch}&recursive=true&page=1000000"),
        format!("/log?ref={branch}&path=d/d/d/f"),
        format!("/compare/plain...{branch}"),
    ] {
        let whole = format!("/namespaces/a/repos/r{path}");
        let asked = server.get(&whole);
        let answer = tokio::time::timeout(PATIENCE, asked).await.expect("an end");
        assert!(
            [200, 400, 404, 413, 422, 507].contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
    }
    let body = serde_json::json!({ "base": "plain", "head": branch, "expected_base": ZERO }).to_string();
    let merged = server.post("/namespaces/a/repos/r/merges", &body).await;
    assert!((400..600).contains(&merged.status), "{}", merged.body);
    assert_eq!(server.get("/namespaces/a/repos/r").await.status, 200);
}

async fn with_plain() -> (Server, String) {
    let server = Server::new();
    let token = server.repo("a", "r").await;
    let mut pack = Pack::default();
    pack.add(Kind::Blob, b"x\n");
    let root = pack.add(Kind::Tree, &tree_entry("100644", b"f", &pack::raw_oid(Kind::Blob, b"x\n")));
    push_tree(&server, &token, "plain", pack, &root).await;
    (server, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_ten_thousand_levels_overflows_no_stack() {
    let (server, token) = with_plain().await;
    let mut pack = Pack::default();
    pack.add(Kind::Blob, b"deep\n");
    let mut body = tree_entry("100644", b"f", &pack::raw_oid(Kind::Blob, b"deep\n"));
    let mut root = pack.add(Kind::Tree, &body);
    for _ in 0..10_000 {
        body = tree_entry("40000", b"d", &pack::raw_oid(Kind::Tree, &body));
        root = pack.add(Kind::Tree, &body);
    }
    push_tree(&server, &token, "deep", pack, &root).await;
    assert_reads_end(&server, "deep").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_trees_that_name_a_billion_files_are_walked_no_further_than_the_limit() {
    let (server, token) = with_plain().await;
    let mut pack = Pack::default();
    pack.add(Kind::Blob, b"bomb\n");
    let mut entry = ("100644", pack::raw_oid(Kind::Blob, b"bomb\n"));
    let mut root = String::new();
    for _ in 0..9 {
        let body: Vec<u8> = (b'a'..=b'j').flat_map(|name| tree_entry(entry.0, &[name], &entry.1)).collect();
        root = pack.add(Kind::Tree, &body);
        entry = ("40000", pack::raw_oid(Kind::Tree, &body));
    }
    push_tree(&server, &token, "bomb", pack, &root).await;
    assert_reads_end(&server, "bomb").await;
}

#[tokio::test]
async fn a_flood_of_commands_is_refused_before_it_is_judged() {
    let server = Server::new();
    let token = server.repo("a", "r").await;
    // A command of the longest name, far more often than one push may have.
    let mut body = Vec::new();
    for at in 0..200_000 {
        body.extend(pkt(format!("{ZERO} {} refs/heads/{at:0>400}", "1".repeat(40))));
    }
    body.extend_from_slice(b"0000");
    let answer = wire::post(&server.edge, ("a", "r"), &token, "receive-pack", body).await;
    assert!(!String::from_utf8_lossy(&answer.1).contains("\nok "), "nothing is taken");
    let refs = server.get("/namespaces/a/repos/r/refs").await;
    assert_eq!(refs.result(), &Value::Array(Vec::new()));
}

/// Runs the real server with everything logged, uses tokens rightly and wrongly, and looks wherever texts go.
#[test]
fn tokens_are_in_no_log_no_metric_no_answer_and_no_list_of_processes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command
        .env_clear()
        .env("CAIRN_DATA", folder.path())
        .env("CAIRN_LOG", "cairn=trace,cairn_server=trace,debug")
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped());
    let (mut child, first) = serving(&mut command);
    let address = address(&first);
    let log = child.stderr.take().expect("a pipe");
    let log = std::thread::spawn(move || {
        let mut text = String::new();
        BufReader::new(log).read_to_string(&mut text).map(|_| text)
    });
    let file = first["api_token_file"].as_str().map(str::to_owned);
    let file = file.unwrap_or_else(|| panic!("the first line names the file of the token: {first}"));
    let api = std::fs::read_to_string(file).expect("the token").trim().to_owned();
    let ask = |method: &str, path: &str, credentials: &str, body: &str| {
        let mut stream = std::net::TcpStream::connect(&address).expect("it listens");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {credentials}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    };
    let base = "/client/v4/accounts/local/artifacts";
    let bearer = format!("Bearer {api}");
    let made = ask("POST", &format!("{base}/namespaces/a/repos"), &bearer, r#"{"name":"r"}"#);
    let start = made.find("art_v1_").expect("a token");
    let repo = made[start..start + 47].to_owned();
    let wrong = "art_v1_0123456789abcdef0123456789abcdef01234567";
    let mut answers = String::new();
    for (method, path, credentials, body) in [
        ("GET", "/git/a/r.git/info/refs?service=git-upload-pack", format!("Bearer {repo}"), "".to_owned()),
        ("GET", "/git/a/r.git/info/refs?service=git-upload-pack", format!("Bearer {wrong}"), String::new()),
        (
            "GET",
            "/git/a/other.git/info/refs?service=git-upload-pack",
            format!("Bearer {repo}"),
            String::new(),
        ),
        ("POST", "/git/a/r.git/git-receive-pack", format!("Bearer {repo}"), "zzzz".to_owned()),
        ("GET", &format!("{base}/namespaces/a/repos"), format!("Bearer {repo}"), String::new()),
        ("GET", &format!("{base}/namespaces/a/repos"), format!("Bearer {wrong}"), String::new()),
        ("POST", &format!("{base}/namespaces/a/repos"), bearer.clone(), "{".to_owned()),
        ("GET", "/metrics", bearer.clone(), String::new()),
        ("GET", &format!("{base}/namespaces/a/tokens/x"), bearer.clone(), String::new()),
        ("GET", &format!("{base}/namespaces/a/repos/r/tokens"), bearer.clone(), String::new()),
        ("GET", &format!("{base}/namespaces/a/repos/r/activity"), bearer.clone(), String::new()),
    ] {
        answers += &ask(method, path, &credentials, &body);
    }
    let arguments = std::fs::read(format!("/proc/{}/cmdline", child.id())).expect("a running process");
    let variables = std::fs::read(format!("/proc/{}/environ", child.id())).expect("a running process");
    child.kill().expect("the child is ours");
    child.wait().expect("the child is ours");
    let log = log.join().expect("it ends").expect("text");
    assert!(log.len() > 500, "something was logged: {log}");
    let lists = String::from_utf8_lossy(&[arguments, variables].concat()).into_owned();
    for (place, text) in [("the log", &log), ("an answer", &answers), ("the list of processes", &lists)] {
        for secret in [api.as_str(), repo.as_str(), wrong, &repo[7..], &wrong[7..]] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{place} tells a token");
        }
    }
    assert_ne!(api, API_TOKEN);
}
