//! Refs made, moved and deleted over REST.

#[path = "support/server.rs"]
mod support;

use serde_json::{Value, json};
use support::{Answer, Server};

const REPO: &str = "/namespaces/t/repos/r";

async fn put(server: &Server, name: &str, body: Value) -> Answer {
    server.ask("PUT", &format!("{REPO}/refs/{name}"), &body.to_string()).await
}

async fn delete(server: &Server, name: &str) -> Answer {
    server.ask("DELETE", &format!("{REPO}/refs/{name}"), "").await
}

/// Three commits: `main` has the first two, the third stands beside the second.
async fn history(server: &Server) -> [String; 3] {
    server.repo("t", "r").await;
    let mut made = Vec::new();
    for (branch, start) in [("main", None), ("main", None), ("side", Some(0))] {
        let start: Option<&String> = start.and_then(|at: usize| made.get(at));
        let body = json!({ "branch": branch, "message": "m", "start_point": start,
            "changes": [{ "path": format!("f{}", made.len()), "content": "x" }] });
        let answer = server.post(&format!("{REPO}/commits"), &body.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        made.push(answer.text("hash"));
    }
    made.try_into().expect("three")
}

#[tokio::test]
async fn refs_move_forward_freely_and_otherwise_by_force() {
    let server = Server::new();
    let [first, second, side] = history(&server).await;
    let made = put(&server, "refs/heads/x", json!({ "oid": first })).await;
    assert_eq!((made.status, made.result()), (200, &json!({ "name": "refs/heads/x", "hash": first })));
    assert_eq!(put(&server, "heads/x", json!({ "oid": second })).await.status, 200, "forward, without refs/");
    assert_eq!(put(&server, "heads/x", json!({ "oid": second })).await.status, 200, "no change is no fault");
    for (oid, why) in [(&first, "backward"), (&side, "sideward")] {
        let refused = put(&server, "heads/x", json!({ "oid": oid, "expected": second })).await;
        assert_eq!(refused.error(), (400, 10100, "/oid"), "{why}");
        let forced = put(&server, "heads/x", json!({ "oid": oid, "force": true })).await;
        assert_eq!(forced.status, 200, "{why}");
        put(&server, "heads/x", json!({ "oid": second, "force": true })).await;
    }
    for name in ["tags/v1", "notes/commits", "heads/feature%2Fy"] {
        assert_eq!(put(&server, name, json!({ "oid": first, "expected": null })).await.status, 200, "{name}");
        assert_eq!(delete(&server, name).await.result()["hash"], json!(first), "{name}");
        assert_eq!(delete(&server, name).await.error(), (404, 10200, ""), "{name}");
    }
    server.now.fetch_add(1_000, std::sync::atomic::Ordering::SeqCst);
    put(&server, "heads/z", json!({ "oid": first })).await;
    assert_eq!(server.get(REPO).await.text("last_push_at"), "2023-11-14T22:13:21.000Z");
}

#[tokio::test]
async fn a_ref_that_is_not_as_expected_stays_and_the_answer_says_where_it_is() {
    let server = Server::new();
    let [first, second, _] = history(&server).await;
    let main = format!("{REPO}/refs/heads/main");
    put(&server, "heads/x", json!({ "oid": second })).await;
    let asks = [
        put(&server, "heads/main", json!({ "oid": second, "expected": first })).await,
        put(&server, "heads/main", json!({ "oid": second, "expected": null })).await,
        server.ask("DELETE", &format!("{REPO}/refs/heads/x?expected={first}"), "").await,
        server
            .ask("DELETE", &format!("{REPO}/refs/heads/x"), &json!({ "expected": first }).to_string())
            .await,
    ];
    for answer in asks {
        assert_eq!(answer.error(), (409, 10304, "/expected"));
        assert_eq!(answer.body["errors"][0]["meta"]["current"], json!(second));
    }
    let absent = put(&server, "heads/none", json!({ "oid": second, "expected": first })).await;
    assert_eq!(absent.body["errors"][0]["meta"], json!({ "current": null }));
    assert_eq!(server.ask("DELETE", &main, "").await.error(), (403, 10107, ""), "the default branch");
    let gone = server.ask("DELETE", &format!("{REPO}/refs/heads/x?expected={second}"), "").await;
    assert_eq!(gone.status, 200, "{}", gone.body);
}

#[tokio::test]
async fn what_git_would_not_take_is_refused() {
    let server = Server::new();
    let [first, ..] = history(&server).await;
    let other = "1".repeat(40);
    let cases = [
        ("heads/a..b", json!({ "oid": first }), (400, 10100, "/ref"), "no ref name"),
        ("x", json!({ "oid": first }), (400, 10100, "/ref"), "right below refs"),
        ("heads/x", json!({}), (400, 10100, "/oid"), "no oid"),
        ("heads/x", json!({ "oid": "0".repeat(40) }), (400, 10100, "/oid"), "the null id deletes nothing"),
        ("heads/x", json!({ "oid": other }), (400, 10100, "/oid"), "no such object"),
        ("heads/x", json!({ "oid": first, "expected": "main" }), (400, 10100, "/expected"), "no id"),
        ("heads/main/x", json!({ "oid": first }), (409, 10201, "/ref"), "a ref is no folder of refs"),
    ];
    for (name, body, want, why) in cases {
        let answer = put(&server, name, body).await;
        assert_eq!(answer.error(), want, "{why}: {}", answer.body);
    }
    server.ask("PATCH", REPO, r#"{"read_only":true}"#).await;
    assert_eq!(put(&server, "heads/y", json!({ "oid": first })).await.status, 403, "read-only");
    assert_eq!(delete(&server, "heads/side").await.status, 403, "read-only");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_expect_the_same_value_one_moves_the_ref() {
    let server = std::sync::Arc::new(Server::new());
    let [first, second, side] = history(&server).await;
    put(&server, "heads/x", json!({ "oid": first })).await;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let (server, first) = (std::sync::Arc::clone(&server), first.clone());
            let to = if n % 2 == 0 { second.clone() } else { side.clone() };
            tokio::spawn(async move {
                put(&server, "heads/x", json!({ "oid": to, "expected": first })).await.status
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        let status = task.await.expect("an answer");
        assert!(status == 200 || status == 409);
        won += u32::from(status == 200);
    }
    assert_eq!(won, 1);
}
