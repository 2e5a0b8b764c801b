//! The document of the routes: complete, true of a running server, and the source of the pages for people.

#[path = "support/server.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use cairn_server::rest::docs::errors_markdown;
use http_body_util::BodyExt;
use serde_json::Value;
use support::Server;
use tower_service::Service;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];
/// Routes outside the document: git's, and the document itself.
const NOT_DOCUMENTED: [&str; 3] = ["/docs", "/docs/errors", "/openapi.json"];

async fn text(server: &Server, path: &str) -> (u16, String, String) {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = server.edge.clone().call(request).await.expect("edges do not fail");
    let kind = response.headers()["content-type"].to_str().expect("ASCII").to_owned();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (status, kind, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

async fn document(server: &Server) -> Value {
    let (status, kind, text) = text(server, "/openapi.json").await;
    assert_eq!((status, kind.as_str()), (200, "application/json"));
    serde_json::from_str(&text).expect("JSON")
}

/// Each path with each of its methods, and the operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let mut all = Vec::new();
    for (path, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                all.push((path.clone(), method.to_owned(), operation.clone()));
            }
        }
    }
    all
}

/// Every `$ref` below `value`.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_documented_route_is_there() {
    let server = Server::new();
    let document = document(&server).await;
    let operations = operations(&document);
    assert!(operations.len() >= 20, "{}", operations.len());
    for (path, method, _) in &operations {
        let filled = path.replace("{ns}", "none").replace("{name}", "none").replace("{id}", "0");
        let filled = filled.replace("{*rest}", "x").replace("{rest}", "x");
        let filled = filled.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let filled = filled.collect::<Vec<_>>().join("/");
        let outside = document["paths"][path].get("servers").is_some();
        let whole = if outside { filled } else { format!("{}{filled}", support::BASE) };
        let request = Request::builder().method(method.to_uppercase().as_str()).uri(&whole);
        let request = request.header("authorization", format!("Bearer {}", support::API_TOKEN));
        let answer = server.send(request.body(Body::empty()).expect("a request")).await;
        assert_ne!(answer.status, 405, "{method} {whole}");
        assert_ne!(answer.body["errors"][0]["message"], "Route not found", "{method} {whole}");
        assert!(answer.status < 500, "{method} {whole}: {}", answer.body);
    }
}

#[tokio::test]
async fn every_route_is_documented() {
    let server = Server::new();
    let document = document(&server).await;
    let documented: BTreeSet<(String, String)> =
        operations(&document).into_iter().map(|(path, method, _)| (method, path)).collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut described = BTreeSet::new();
    for file in std::fs::read_dir(source.join("rest")).expect("a folder") {
        let path = file.expect("an entry").path();
        if path.extension().is_none_or(|kind| kind != "rs") {
            continue;
        }
        let code = std::fs::read_to_string(path).expect("a source");
        for handler in code.split("#[utoipa::path(").skip(1) {
            let (method, rest) = handler.split_once(',').expect("a method first");
            let path = rest.split('"').nth(1).expect("a path next");
            // The document has no sign for "slashes included".
            described.insert((method.trim().to_owned(), path.replace("{*", "{")));
        }
    }
    let documented: BTreeSet<_> =
        documented.into_iter().map(|(method, path)| (method, path.replace("{*", "{"))).collect();
    assert_eq!(described, documented, "handlers and document");
    let router = std::fs::read_to_string(source.join("router.rs")).expect("a source");
    let plain: BTreeSet<&str> =
        router.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(plain, BTreeSet::from(NOT_DOCUMENTED), "routes without a description");
}

#[tokio::test]
async fn the_document_is_whole() {
    let server = Server::new();
    let document = document(&server).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["servers"][0]["url"].as_str().is_some_and(|url| url.contains("{account}")));
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.contains("#/components/schemas/Failure"));
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let here = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        assert!(!id.is_empty() && ids.insert(id), "{here}: an operation id of its own");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{here}: one tag");
        assert!(
            operation["summary"].is_string() || operation["description"].is_string(),
            "{here}: what it does"
        );
        let answers = operation["responses"].as_object().expect("answers");
        assert!(answers.keys().any(|status| status.starts_with('2')), "{here}: a good answer");
        for (status, answer) in answers.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
            let schema = &answer["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Failure", "{here} {status}");
        }
        let named: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|part| part["in"] == "path")
            .filter_map(|part| part["name"].as_str())
            .collect();
        let wanted = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        let wanted: BTreeSet<&str> = wanted.map(|name| name.trim_start_matches('*')).collect();
        assert_eq!(named, wanted, "{here}: parameters of the path");
    }
}

#[tokio::test]
async fn errors_lead_to_an_anchor_and_pages_need_no_network() {
    let server = Server::new();
    let missing = server.get("/namespaces/none").await;
    let link = missing.body["errors"][0]["documentation_url"].as_str().expect("a link");
    let (path, anchor) = link.trim_start_matches("http://cairn.test").split_once('#').expect("an anchor");
    for path in [path, "/docs"] {
        let (status, kind, page) = text(&server, path).await;
        assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"));
        assert!(page.contains(&format!("id=\"{anchor}\"")), "{path}");
        for outside in [" src=", "@import", " url(", ":url(", "<link"] {
            assert!(!page.contains(outside), "{path} loads something: {outside}");
        }
    }
    let (_, _, page) = text(&server, "/docs").await;
    let inline = page.split("id=\"document\">").nth(1).and_then(|rest| rest.split("</script>").next());
    let inline: Value = serde_json::from_str(inline.expect("the document")).expect("JSON");
    assert_eq!(inline, document(&server).await, "the page shows the document");
}

#[test]
fn the_table_of_errors_is_printed_from_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let printed = errors_markdown();
    if std::env::var_os("CAIRN_PRINT_DOCS").is_some() {
        std::fs::write(&path, &printed).expect("written");
    }
    let kept = std::fs::read_to_string(&path).expect("docs/errors.md");
    assert_eq!(kept, printed, "CAIRN_PRINT_DOCS=1 cargo test -p cairn-server --test openapi prints it anew");
}
