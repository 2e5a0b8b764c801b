//! The v4 envelope of answers that are not errors.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// What every answer with a result looks like.
#[derive(Serialize, ToSchema)]
pub struct Envelope<T> {
    /// What was asked for.
    result: T,
    /// Always true beside a result.
    success: bool,
    /// Always empty beside a result.
    errors: Vec<Value>,
    /// Always empty.
    messages: Vec<Value>,
}

/// What every list looks like.
#[derive(Serialize, ToSchema)]
pub struct ListEnvelope<T> {
    /// The items of the page; empty, never null.
    result: Vec<T>,
    /// Always true beside a result.
    success: bool,
    /// Always empty beside a result.
    errors: Vec<Value>,
    /// Always empty.
    messages: Vec<Value>,
    /// `page, per_page, total_pages, count, total_count`, or `cursor, per_page, count`, or both.
    result_info: Value,
}

/// One result.
pub fn one<T: Serialize>(status: StatusCode, result: T) -> Response<Body> {
    answer(status, &Envelope { result, success: true, errors: Vec::new(), messages: Vec::new() })
}

/// A list with `result_info`.
pub fn list<T: Serialize>(result: Vec<T>, result_info: Value) -> Response<Body> {
    let (errors, messages) = (Vec::new(), Vec::new());
    answer(StatusCode::OK, &ListEnvelope { result, success: true, errors, messages, result_info })
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let bytes = serde_json::to_vec(body).unwrap_or_else(|_| json!({ "success": false }).to_string().into());
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
