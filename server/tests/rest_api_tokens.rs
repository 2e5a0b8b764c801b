//! API tokens: what each right opens, namespaces, ends, revocation, and who may hand them out.

#[path = "support/server.rs"]
mod support;

use std::process::Command;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use support::{API_TOKEN, Answer, BASE, Server};

async fn make(server: &Server, body: &str) -> (String, String) {
    let made = server.post("/api-tokens", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    (made.text("id"), made.text("plaintext"))
}

/// Asks with another token than the owner's.
async fn ask_as(server: &Server, token: &str, method: &str, path: &str, body: &str) -> Answer {
    let path = if path.starts_with("/client") { path.to_owned() } else { format!("{BASE}{path}") };
    let request =
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    server.send(request.body(Body::from(body.to_owned())).expect("a request")).await
}

#[tokio::test]
async fn a_right_opens_what_it_says_and_no_more() {
    let server = Server::new();
    server.repo("a", "b").await;
    let (_, read) = make(&server, r#"{"name":"look"}"#).await;
    let (_, edit) = make(&server, r#"{"name":"ci","right":"edit"}"#).await;
    let cases = [
        ("GET", "/namespaces", "", 200, 200),
        ("GET", "/namespaces/a/repos/b", "", 200, 200),
        ("POST", "/namespaces/a/repos", r#"{"name":"new"}"#, 403, 201),
        ("PATCH", "/namespaces/a/repos/b", r#"{"description":"x"}"#, 403, 200),
        ("POST", "/namespaces/a/tokens", r#"{"repo":"b"}"#, 403, 201),
        ("DELETE", "/namespaces/a/repos/b", "", 403, 202),
        ("GET", "/api-tokens", "", 403, 403),
        ("POST", "/api-tokens", r#"{"name":"more","right":"edit"}"#, 403, 403),
        ("DELETE", "/api-tokens/0000000000000000", "", 403, 403),
    ];
    for (method, path, body, with_read, with_edit) in cases {
        for (token, want) in [(&read, with_read), (&edit, with_edit)] {
            let answer = ask_as(&server, token, method, path, body).await;
            assert_eq!(answer.status, want, "{method} {path}: {}", answer.body);
            if want == 403 {
                assert_eq!(answer.error().1, 10107, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_restricted_token_sees_and_names_only_its_namespaces() {
    let server = Server::new();
    for ns in ["One", "two", "three"] {
        server.repo(ns, "r").await;
    }
    let body = r#"{"name":"t","right":"edit","namespaces":["one","TWO","two","later"]}"#;
    let (id, token) = make(&server, body).await;
    let get = async |path: &str| ask_as(&server, &token, "GET", path, "").await;

    let listed = get("/namespaces").await;
    let names: Vec<&str> = listed
        .result()
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|ns| ns["namespace"].as_str())
        .collect();
    assert_eq!(names, ["two", "One"], "newest first");
    assert_eq!(listed.body["result_info"]["total_count"], 2);
    let second = get("/namespaces?limit=1&page=2").await;
    assert_eq!(second.result()[0]["namespace"], "One");
    assert_eq!(get("/namespaces?page=3&limit=1").await.result(), &Value::Array(Vec::new()));

    for (path, want) in [
        ("/namespaces/ONE", 200),
        ("/namespaces/%6Fne/repos/r", 200),
        ("/namespaces/three", 403),
        ("/namespaces/thr%65e/repos/r", 403),
        ("/namespaces/nowhere/repos", 403),
    ] {
        assert_eq!(get(path).await.status, want, "{path}");
    }
    let post = async |path: &str, body: &str| ask_as(&server, &token, "POST", path, body).await;
    assert_eq!(post("/namespaces", r#"{"namespace":"other"}"#).await.error().1, 10107);
    assert_eq!(post("/namespaces", r#"{"namespace":"Later"}"#).await.status, 201);
    let away = r#"{"name":"f","namespace":"three"}"#;
    assert_eq!(post("/namespaces/one/repos/r/fork", away).await.error().1, 10107, "a namespace in a body");
    assert_eq!(post("/namespaces/one/repos/r/fork", r#"{"name":"f","namespace":"two"}"#).await.status, 201);

    let verified = get("/client/v4/user/tokens/verify").await;
    assert_eq!((verified.text("id"), verified.text("status")), (id, "active".into()));
    assert_eq!(get("/client/v4/memberships").await.status, 200);
    assert_eq!(server.get("/client/v4/user/tokens/verify").await.text("id"), "owner");
}

#[tokio::test]
async fn dead_and_unknown_tokens_open_nothing_from_the_next_request_on() {
    let server = Server::new();
    let (id, token) = make(&server, r#"{"name":"t"}"#).await;
    let (_, brief) = make(&server, r#"{"name":"brief","ttl":60}"#).await;
    let status = async |token: &str| ask_as(&server, token, "GET", "/namespaces", "").await.error_or_status();
    assert_eq!((status(&token).await, status(&brief).await), ((200, 0), (200, 0)));
    let key = Request::get(format!("{BASE}/namespaces")).header("x-auth-key", &token);
    assert_eq!(
        server.send(key.body(Body::empty()).expect("a request")).await.status,
        200,
        "the other header"
    );

    for _ in 0..2 {
        let revoked = server.ask("DELETE", &format!("/api-tokens/{id}"), "").await;
        assert_eq!((revoked.status, revoked.text("id")), (200, id.clone()));
    }
    assert_eq!(status(&token).await, (401, 10000));
    server.now.fetch_add(59_999, Ordering::SeqCst);
    assert_eq!(status(&brief).await, (200, 0));
    server.now.fetch_add(1, Ordering::SeqCst);
    assert_eq!(status(&brief).await, (401, 10000));

    let repo_token = server.repo("a", "b").await;
    let unknown = format!("cairn_v1_{}", "0".repeat(40));
    let long = "x".repeat(2_000);
    for bad in ["", "cairn_v1_", &unknown, &repo_token, &long] {
        assert_eq!(status(bad).await, (401, 10000), "{bad}");
    }
    assert_eq!(server.ask("DELETE", "/api-tokens/0000000000000000", "").await.error().1, 10200);

    let states = server.get("/api-tokens").await;
    let states: Vec<&str> =
        states.result().as_array().expect("a list").iter().filter_map(|row| row["state"].as_str()).collect();
    assert!(states.contains(&"revoked") && states.contains(&"expired") && states.len() == 2, "{states:?}");
    let listed = server.get("/api-tokens").await.body.to_string();
    assert!(!listed.contains("cairn_v1_") && !listed.contains(API_TOKEN), "no text of a token in lists");
    let stored = std::fs::read(server.folder.path().join("catalog.sqlite-wal")).unwrap_or_default();
    let core = token.trim_start_matches("cairn_v1_").as_bytes();
    assert!(
        !stored.is_empty() && !stored.windows(core.len()).any(|part| part == core),
        "stored as a hash alone"
    );
}

#[tokio::test]
async fn bad_wishes_name_the_field() {
    let server = Server::new();
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(101));
    let cases = [
        ("{}", 10100, "/"),
        (r#"{"name":""}"#, 10100, "/name"),
        (r#"{"name":"a\nb"}"#, 10100, "/name"),
        (&long, 10100, "/name"),
        (r#"{"name":"x","right":"admin"}"#, 10100, "/right"),
        (r#"{"name":"x","namespaces":[]}"#, 10100, "/namespaces"),
        (r#"{"name":"x","namespaces":["ok","a/b"]}"#, 10100, "/namespaces/1"),
        (r#"{"name":"x","namespaces":"ok"}"#, 10100, "/namespaces"),
        (r#"{"name":"x","ttl":59}"#, 10103, "/ttl"),
        (r#"{"name":"x","ttl":315360001}"#, 10103, "/ttl"),
    ];
    for (body, code, pointer) in cases {
        let answer = server.post("/api-tokens", body).await;
        assert_eq!((answer.status, answer.error().1), (400, code), "{body}");
        assert!(answer.error().2.starts_with(pointer) || pointer == "/", "{body}: {}", answer.body);
    }
    assert_eq!(server.get("/api-tokens").await.body["result_info"]["total_count"], 0, "nothing was kept");
}

#[tokio::test]
async fn the_command_line_makes_and_takes_back_tokens_beside_the_server() {
    let server = Server::new();
    let cairn = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
        let command = command.env_clear().env("CAIRN_DATA", server.folder.path()).args(args);
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let made = cairn(&[
        "api-token",
        "create",
        "ci",
        "--right",
        "edit",
        "--namespace",
        "a",
        "--ttl",
        "3600",
        "--json",
    ]);
    // The process took the machine's time, the server in this test has its own, which is earlier.
    let token = made["plaintext"].as_str().expect("a text");
    assert_eq!(ask_as(&server, token, "GET", "/namespaces/a/repos", "").await.status, 200);
    let listed = cairn(&["api-token", "list", "--json"]);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["right"], &listed[0]["namespaces"][0]),
        (&"ci".into(), &"edit".into(), &"a".into())
    );
    cairn(&["api-token", "revoke", made["id"].as_str().expect("an id"), "--json"]);
    assert_eq!(ask_as(&server, token, "GET", "/namespaces/a/repos", "").await.status, 401);
}

trait Short {
    fn error_or_status(&self) -> (u16, u64);
}

impl Short for Answer {
    fn error_or_status(&self) -> (u16, u64) {
        (self.status, self.body["errors"][0]["code"].as_u64().unwrap_or(0))
    }
}
