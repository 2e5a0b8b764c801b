//! What an operator's monitoring sees.

mod support {
    pub mod server;
}

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use support::server::{API_TOKEN, Server};
use tower_service::Service;

/// The lines of `/metrics` that begin with `name`.
async fn lines(server: &Server, name: &str) -> Vec<String> {
    let request = Request::builder().uri("/metrics").header("authorization", format!("Bearer {API_TOKEN}"));
    let request = request.body(Body::empty()).expect("a request");
    let answer = server.edge.clone().call(request).await.expect("edges do not fail");
    assert_eq!(answer.status(), 200);
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    assert!(text.ends_with("# EOF\n"));
    text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_name() {
    let server = Server::new();
    server.repo("secret-namespace", "secret-name").await;
    server.get("/namespaces/secret-namespace/repos/secret-name").await;
    server.get("/namespaces/secret-namespace/repos/no-such-name").await;
    server.ask("BREW", "/namespaces", "").await;
    server.get("/no/such/route").await;
    let requests = lines(&server, "cairn_requests_total").await;
    let one = "GET /client/v4/accounts/{account}/artifacts/namespaces/{ns}/repos/{name}";
    for (operation, status) in [(one, 200), (one, 404), ("none", 405), ("none", 404)] {
        let want = format!("cairn_requests_total{{operation=\"{operation}\",status=\"{status}\"}} 1");
        assert!(requests.contains(&want), "{want} is not in {requests:#?}");
    }
    assert!(lines(&server, "").await.iter().all(|line| !line.contains("secret") && !line.contains("BREW")));
}

#[tokio::test]
async fn commits_errors_bytes_and_repositories_are_counted() {
    let server = Server::new();
    server.repo("a", "b").await;
    server.append("a", "b", 2).await;
    server.get("/namespaces/a/repos/none").await;
    let value = async |name: &str| -> f64 {
        let found = lines(&server, name).await;
        let [line] = found.as_slice() else { panic!("{name}: {found:?}") };
        line.rsplit_once(' ').and_then(|(_, number)| number.parse().ok()).expect("a number")
    };
    assert!(value("cairn_repo_commit_seconds_count").await >= 2.0);
    assert!(value("cairn_catalog_commit_seconds_count").await >= 1.0);
    assert!((value("cairn_repositories ").await - 1.0).abs() < f64::EPSILON);
    assert!((value("cairn_errors_total{code=\"10200\"}").await - 1.0).abs() < f64::EPSILON);
    assert!(value("cairn_answer_body_bytes_total").await > 100.0);
    assert!(value("cairn_request_body_bytes_total").await >= 12.0);
    assert!(value("cairn_cache_asks_total{cache=\"files\",found=\"miss\"}").await >= 1.0);
    assert!(value("cairn_cache_asks_total{cache=\"files\",found=\"hit\"}").await >= 1.0);
    assert!(value("cairn_resident_bytes ").await > 1e6);
    assert!(value("cairn_open_descriptors ").await > 3.0);
    assert!(value("cairn_stored_bytes ").await >= 0.0);
    assert!((value("cairn_memory_budget_bytes ").await - 268_435_456.0).abs() < f64::EPSILON);
    assert!(value("cairn_commit_graph_bytes ").await < 1e6);
    assert!(value("cairn_commit_graph_evictions_total ").await.abs() < f64::EPSILON);
    assert!(value("cairn_memory_taken_bytes ").await.abs() < f64::EPSILON);
    assert!(value("cairn_memory_waiting ").await.abs() < f64::EPSILON);
    assert!(value("cairn_memory_refused_total ").await.abs() < f64::EPSILON);
    // The request that asks is one itself.
    assert!((value("cairn_requests_in_flight").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn metrics_need_a_token_and_probes_do_not() {
    let server = Server::new();
    let ask = async |path: &str| {
        let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
        server.send(request).await.status
    };
    assert_eq!(ask("/metrics").await, 401);
    assert_eq!((ask("/healthz").await, ask("/readyz").await), (200, 200));
}
