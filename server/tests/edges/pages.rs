//! Names, texts and numbers of requests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_server::limits::{
    ACTIVITY_PAGE_ITEMS_MAX, API_TOKEN_NAME_BYTES_MAX, API_TOKEN_NAMESPACES_MAX, API_TOKEN_TTL_SECONDS_MAX,
    BRANCH_BYTES_MAX, CURSOR_BYTES_MAX, DESCRIPTION_BYTES_MAX, LOG_PAGE_ITEMS_MAX, PAGE_ITEMS_MAX,
    PAGE_NUMBER_MAX, REF_PAGE_ITEMS_MAX, SEARCH_BYTES_MAX, TOKEN_PAGE_ITEMS_MAX, TOKEN_TTL_SECONDS_MIN,
    TREE_PAGE_ITEMS_MAX,
};
use serde_json::{Value, json};

use crate::built::{Built, Objects, REPO, refused};
use crate::support::Server;

/// A repository with one commit on `main`.
async fn begun() -> Built {
    let built = Built::new().await;
    let mut objects = Objects::default();
    let blob = objects.blob(b"x\n");
    let tree = objects.files([("f", blob)]);
    let commit = objects.commit(tree, &[], "one\n");
    built.push(objects, &[("refs/heads/main", commit)]).await;
    built
}

#[tokio::test]
async fn pages_have_so_many_items_and_no_more() {
    let built = begun().await;
    let lists = [
        ("/namespaces".to_owned(), PAGE_ITEMS_MAX),
        ("/namespaces/t/repos".to_owned(), PAGE_ITEMS_MAX),
        (format!("{REPO}/compare/main...main"), PAGE_ITEMS_MAX),
        ("/api-tokens".to_owned(), TOKEN_PAGE_ITEMS_MAX),
        (format!("{REPO}/tokens"), TOKEN_PAGE_ITEMS_MAX),
        (format!("{REPO}/tree"), TREE_PAGE_ITEMS_MAX),
        (format!("{REPO}/log"), LOG_PAGE_ITEMS_MAX),
        (format!("{REPO}/refs"), REF_PAGE_ITEMS_MAX),
        (format!("{REPO}/activity"), ACTIVITY_PAGE_ITEMS_MAX),
    ];
    for (path, max) in lists {
        for field in ["limit", "per_page"] {
            let at = built.server.get(&format!("{path}?{field}={max}")).await;
            assert_eq!(at.status, 200, "{path}: {}", at.body);
            let past = built.server.get(&format!("{path}?{field}={}", max + 1)).await;
            assert_eq!(past.error().2, format!("/{field}"), "{path}");
            refused(&past, (400, 10100), max);
        }
    }
}

#[tokio::test]
async fn numbers_of_pages_stop_at_their_limit() {
    let built = begun().await;
    for path in ["/namespaces", "/namespaces/t/repos"] {
        let at = built.server.get(&format!("{path}?page={PAGE_NUMBER_MAX}&per_page={PAGE_ITEMS_MAX}")).await;
        assert_eq!((at.status, at.result()), (200, &json!([])), "{path}");
        let past = built.server.get(&format!("{path}?page={}", PAGE_NUMBER_MAX + 1)).await;
        refused(&past, (400, 10100), PAGE_NUMBER_MAX);
    }
}

#[tokio::test]
async fn cursors_stop_at_their_limit() {
    let built = begun().await;
    // Four characters carry three bytes.
    let with = |bytes: usize| URL_SAFE_NO_PAD.encode(format!("0:{}", "x".repeat(bytes - 2)));
    let (at, past) = (with(CURSOR_BYTES_MAX / 4 * 3), with(CURSOR_BYTES_MAX / 4 * 3 + 1));
    assert!(at.len() == CURSOR_BYTES_MAX && past.len() > CURSOR_BYTES_MAX);
    assert_eq!(built.status(&format!("refs?cursor={at}")).await, 200);
    assert_eq!(built.get(&format!("refs?cursor={past}")).await.error(), (400, 10100, "/cursor"));
}

#[tokio::test]
async fn texts_of_repositories_stop_at_their_limits() {
    let server = Server::new();
    let make = async |body: Value| server.post("/namespaces/t/repos", &body.to_string()).await;
    let text = |bytes: usize| "x".repeat(bytes);
    let at = make(json!({ "name": "a", "description": text(DESCRIPTION_BYTES_MAX) })).await;
    assert_eq!(at.status, 201, "{}", at.body);
    let past = make(json!({ "name": "b", "description": text(DESCRIPTION_BYTES_MAX + 1) })).await;
    assert_eq!(past.error().2, "/description");
    refused(&past, (400, 10100), DESCRIPTION_BYTES_MAX);
    refused(&past, (400, 10100), DESCRIPTION_BYTES_MAX + 1);
    let at = make(json!({ "name": "c", "default_branch": text(BRANCH_BYTES_MAX) })).await;
    assert_eq!(at.status, 201, "{}", at.body);
    let past = make(json!({ "name": "d", "default_branch": text(BRANCH_BYTES_MAX + 1) })).await;
    assert_eq!(past.error(), (400, 10100, "/default_branch"));
    let search = async |bytes| server.get(&format!("/namespaces/t/repos?search={}", text(bytes))).await;
    assert_eq!(search(SEARCH_BYTES_MAX).await.status, 200);
    let past = search(SEARCH_BYTES_MAX + 1).await;
    assert_eq!(past.error().2, "/search");
    refused(&past, (400, 10100), SEARCH_BYTES_MAX);
}

#[tokio::test]
async fn api_tokens_stop_at_their_limits() {
    let server = Server::new();
    let make = async |body: Value| server.post("/api-tokens", &body.to_string()).await;
    let named = |bytes: usize| json!({ "name": "x".repeat(bytes) });
    let of = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("n{n}")).collect();
        json!({ "name": "x", "namespaces": names })
    };
    let living = |seconds: i64| json!({ "name": "x", "ttl": seconds });
    let (name, of_max) = (API_TOKEN_NAME_BYTES_MAX, API_TOKEN_NAMESPACES_MAX);
    let (short, long) = (TOKEN_TTL_SECONDS_MIN, API_TOKEN_TTL_SECONDS_MAX);
    let cases = [
        (named(name), named(name + 1), "/name", 10100, name as i64),
        (of(of_max), of(of_max + 1), "/namespaces", 10100, of_max as i64),
        (living(short), living(short - 1), "/ttl", 10103, short),
        (living(long), living(long + 1), "/ttl", 10103, long),
    ];
    for (at, past, pointer, code, limit) in cases {
        let made = make(at).await;
        assert_eq!(made.status, 201, "{pointer}: {}", made.body);
        let past = make(past).await;
        assert_eq!(past.error().2, pointer);
        refused(&past, (400, code), limit);
    }
}
