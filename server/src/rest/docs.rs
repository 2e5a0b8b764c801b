//! The document of all routes (OpenAPI 3.1), the page for people that shows it, and the table of errors.
//!
//! The handlers say what is theirs; what holds for every route (who may ask, the envelope of errors, the rules for
//! names) is added here, so that none can lack it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use axum::{Extension, response::IntoResponse};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use crate::config::Config;
use crate::error::code;
use crate::limits::NAME_BYTES_MAX;
use crate::router;

/// What is served, made once.
#[derive(Clone)]
pub struct Pages(Arc<Texts>);

struct Texts {
    openapi: Bytes,
    page: Bytes,
    errors: Bytes,
}

/// The page, with holes for the document and for the table of errors.
const PAGE: &str = include_str!("docs/page.html");
/// The methods that a path of the document may have.
const METHODS: [&str; 6] = ["get", "put", "post", "delete", "patch", "head"];

impl Pages {
    /// For a server with these settings.
    pub fn new(config: &Config) -> Self {
        let document = document(config);
        // A text in the document must not end the element that holds it.
        let inline = document.to_string().replace('<', "\\u003c");
        let page = |inline: &str| {
            let page = PAGE.replacen("<!--ERRORS-->", &error_rows(), 1);
            Bytes::from(page.replacen("<!--DOCUMENT-->", inline, 1))
        };
        Self(Arc::new(Texts {
            openapi: Bytes::from(document.to_string()),
            page: page(&inline),
            errors: page("null"),
        }))
    }
}

/// `GET /openapi.json`
pub async fn openapi(Extension(pages): Extension<Pages>) -> Response<Body> {
    ([(header::CONTENT_TYPE, "application/json")], pages.0.openapi.clone()).into_response()
}

/// `GET /docs`
pub async fn page(Extension(pages): Extension<Pages>) -> Response<Body> {
    html(pages.0.page.clone())
}

/// `GET /docs/errors`: the table alone, to which the errors' `documentation_url` leads.
pub async fn errors(Extension(pages): Extension<Pages>) -> Response<Body> {
    html(pages.0.errors.clone())
}

fn html(page: Bytes) -> Response<Body> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'";
    let mut answer = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    answer
}

fn error_rows() -> String {
    let row = |code: &code::Code| {
        let (number, retry) = (code.number, if code.retry { "yes" } else { "no" });
        format!(
            "<tr id=\"{number}\"><td>{number}</td><td>{}</td><td>{}</td><td>{retry}</td><td>{}</td></tr>\n",
            code.name, code.status, code.meaning
        )
    };
    code::ALL.iter().map(row).collect()
}

/// The table of errors as `docs/errors.md` has it.
pub fn errors_markdown() -> String {
    let row = |code: &code::Code| {
        let retry = if code.retry { "yes" } else { "no" };
        format!("| {} | {} | {} | {retry} | {} |\n", code.number, code.name, code.status, code.meaning)
    };
    let rows: String = code::ALL.iter().map(row).collect();
    format!(
        "# Error codes\n\nCodes are never renamed and never used again. Retry: whether the same request may succeed \
         later.\n\n| code | name | status | retry | meaning |\n|---|---|---|---|---|\n{rows}"
    )
}

/// The whole document.
pub fn document(config: &Config) -> Value {
    let (artifacts, fixed) = router::documents();
    let origin = &config.public_url;
    let base = format!("{origin}/client/v4/accounts/{{account}}/artifacts");
    let servers = json!([{
        "url": base,
        "variables": { "account": { "default": config.account, "description": "the one account of this server" } },
    }]);
    let mut schemas = Map::new();
    let (mut paths, mut ids) = (Map::new(), BTreeSet::new());
    for (part, servers) in [(artifacts, None), (fixed, Some(json!([{ "url": origin }])))] {
        let (part_paths, part_schemas) = parts(part);
        schemas.extend(part_schemas);
        for (path, mut item) in part_paths {
            // OpenAPI has no sign for "slashes included".
            let path = path.replace("{*", "{");
            complete(&path, &mut item);
            name_operations(&path, &mut item, &mut ids);
            if let (Some(servers), Some(item)) = (&servers, item.as_object_mut()) {
                item.insert("servers".into(), servers.clone());
            }
            paths.insert(path, item);
        }
    }
    schemas.insert("Failure".into(), failure());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Cairn",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Versioned storage for agents that speaks git",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": servers,
        "security": [{ "bearer": [] }, { "key": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "an API token" },
                "key": { "type": "apiKey", "in": "header", "name": "X-Auth-Key", "description": "an API token" },
            },
        },
    })
}

/// The paths and the schemas of a part.
fn parts(part: OpenApi) -> (Map<String, Value>, Map<String, Value>) {
    let mut part = serde_json::to_value(part).unwrap_or_default();
    let mut take = |pointer: &str| match part.pointer_mut(pointer).map(Value::take) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    (take("/paths"), take("/components/schemas"))
}

/// Gives operations whose name is taken one from their path: a handler that says none is called like its function.
fn name_operations(path: &str, item: &mut Value, ids: &mut BTreeSet<String>) {
    let Some(item) = item.as_object_mut() else { return };
    for (method, operation) in item.iter_mut().filter(|(method, _)| METHODS.contains(&method.as_str())) {
        let said = operation["operationId"].as_str().unwrap_or_default().to_owned();
        let words = path.split(|sign: char| !sign.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let own = words.fold(method.clone(), |name, word| {
            let (first, rest) = word.split_at(1);
            name + &first.to_ascii_uppercase() + rest
        });
        let id = if said.is_empty() || ids.contains(&said) { own } else { said };
        ids.insert(id.clone());
        operation["operationId"] = id.into();
    }
}

/// Adds to the operations of a path what holds for all routes.
fn complete(path: &str, item: &mut Value) {
    let Some(item) = item.as_object_mut() else { return };
    for (_, operation) in item.iter_mut().filter(|(method, _)| METHODS.contains(&method.as_str())) {
        let Some(operation) = operation.as_object_mut() else { continue };
        let is_open = operation.get("security").is_some();
        let takes_body = operation.contains_key("requestBody");
        let mut takes_parameters = false;
        if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
            takes_parameters = !parameters.is_empty();
            parameters.iter_mut().for_each(describe_parameter);
        }
        let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { continue };
        let common = [
            ("400", takes_body || takes_parameters, "10100: a parameter or the body breaks a rule"),
            ("401", !is_open, "10000: the API token is missing or wrong"),
            ("403", !is_open, "10107: the API token is good, but not for this"),
            ("404", path.contains('{'), "10200: there is no such thing"),
            ("413", takes_body, "10100: the body is too large"),
            ("429", !is_open, "10429: too many requests; Retry-After says when to come back"),
            ("500", true, "10400: the server failed"),
        ];
        for (status, _, text) in common.iter().filter(|(_, applies, _)| *applies) {
            responses.entry(*status).or_insert_with(|| json!({ "description": text }));
        }
        for (status, response) in responses.iter_mut() {
            let is_error = status.starts_with('4') || status.starts_with('5');
            if let (true, Some(response)) = (is_error, response.as_object_mut()) {
                let content =
                    json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Failure" } } });
                response.entry("content").or_insert(content);
            }
        }
    }
}

/// The rules that a parameter's name tells.
fn describe_parameter(parameter: &mut Value) {
    let of_path = parameter["in"] == "path";
    let (name, text) = match parameter["name"].as_str() {
        Some("ns") if of_path => ("ns", "the namespace, in any case"),
        Some("name") if of_path => ("name", "the repository, in any case"),
        Some("page") => ("page", "number of the page"),
        _ => return,
    };
    if name == "page" {
        parameter["schema"]["minimum"] = 1.into();
    } else {
        let pattern = "^[a-zA-Z0-9][a-zA-Z0-9._-]*$";
        parameter["schema"] =
            json!({ "type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX, "pattern": pattern });
    }
    if parameter.get("description").is_none_or(|known| known.as_str() == Some("")) {
        parameter["description"] = text.into();
    }
}

/// What every error looks like.
fn failure() -> Value {
    let numbers: Vec<u32> = code::ALL.iter().map(|code| code.number).collect();
    json!({
        "type": "object",
        "description": "An error. `code` says what to do about it: see /docs/errors.",
        "required": ["result", "success", "errors", "messages"],
        "properties": {
            "result": { "type": "null" },
            "success": { "const": false },
            "messages": { "type": "array", "maxItems": 0 },
            "errors": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["code", "message", "documentation_url"],
                    "properties": {
                        "code": { "type": "integer", "enum": numbers },
                        "message": { "type": "string" },
                        "documentation_url": { "type": "string" },
                        "source": {
                            "type": "object",
                            "properties": { "pointer": { "type": "string", "description": "the field at fault" } },
                        },
                    },
                },
            },
        },
    })
}
