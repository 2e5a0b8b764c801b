//! The v4 envelope of answers that are not errors.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// One result.
pub fn one(status: StatusCode, result: Value) -> Response<Body> {
    answer(status, &json!({ "result": result, "success": true, "errors": [], "messages": [] }))
}

/// A list with `result_info`.
pub fn list(items: Vec<Value>, info: Value) -> Response<Body> {
    let body = json!({ "result": items, "success": true, "errors": [], "messages": [], "result_info": info });
    answer(StatusCode::OK, &body)
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
