//! Whole requests at the whole server, in process: no answer is a 500, whatever is asked. The first line is method and path
//! below the account, the second a header, the rest the body.

#![no_main]

use std::sync::OnceLock;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request};
use cairn_server::boot;
use cairn_server::clock::Clock;
use cairn_server::config::Config;
use cairn_server::edge::Edge;
use http_body_util::{BodyExt, Limited};
use libfuzzer_sys::{Corpus, fuzz_target};
use tokio::runtime::Runtime;
use tower_service::Service;

const TOKEN: &str = "api-token-of-the-fuzzer";
const BASE: &str = "/client/v4/accounts/local/artifacts";
const ANSWER_BYTES_MAX: usize = 8 << 20;

struct Server {
    runtime: Runtime,
    edge: Edge,
}

fn ask(server: &Server, method: &str, path: &str, header: Option<(&str, &[u8])>, body: &[u8]) -> Option<u16> {
    let mut request = Request::builder().method(method.as_bytes()).uri(path.as_bytes());
    request = request.header("authorization", format!("Bearer {TOKEN}"));
    if let Some((name, value)) = header {
        request = request.header(HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    let request = request.body(Body::from(body.to_vec())).ok()?;
    server.runtime.block_on(async {
        let answer = server.edge.clone().call(request).await.expect("edges do not fail");
        let status = answer.status().as_u16();
        let _body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Some(status)
    })
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        // The folder lives as long as the fuzzer.
        let folder = tempfile::tempdir().expect("a folder").keep();
        let config = Config { data: folder, account: "local".into(), ..Config::default() };
        let app = boot::open_at(config, TOKEN, Clock::System).expect("the folder opens");
        let server = Server { edge: Edge::new(app), runtime };
        let commit = br#"{"branch":"main","message":"m","changes":[{"path":"a/b","content":"x"}]}"#;
        let made = ask(&server, "POST", &format!("{BASE}/namespaces/n/repos"), None, br#"{"name":"r"}"#);
        assert_eq!(made, Some(201));
        ask(&server, "POST", &format!("{BASE}/namespaces/n/repos/r/commits"), None, commit);
        server
    })
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return Corpus::Reject };
    let (Ok(first), Ok(second)) = (std::str::from_utf8(first), std::str::from_utf8(second)) else {
        return Corpus::Reject;
    };
    let Some((method, path)) = first.split_once(' ') else { return Corpus::Reject };
    let header = second.split_once(": ").map(|(name, value)| (name, value.as_bytes()));
    let path = if path.starts_with("/git") { path.to_owned() } else { format!("{BASE}{path}") };
    // Imports would reach for other machines.
    if path.contains("import") {
        return Corpus::Reject;
    }
    let status = ask(server(), method, &path, header, lines.next().unwrap_or_default());
    assert_ne!(status, Some(500), "{first}");
    if status.is_some() { Corpus::Keep } else { Corpus::Reject }
});
