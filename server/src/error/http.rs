//! Errors as REST answers in the v4 envelope.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::Error;

/// Where the codes are explained, behind the public URL.
pub const DOCS_PATH: &str = "/docs/errors";

impl IntoResponse for Error {
    /// Carries the error as an extension; the body is written by `finish`, which knows the public URL.
    fn into_response(self) -> Response<Body> {
        let status = self.status.unwrap_or(self.code.status);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the envelope of the error that `response` carries, if it does.
pub fn finish(response: &mut Response<Body>, public_url: &str, request_id: &str) {
    let Some(error) = response.extensions_mut().remove::<Error>() else {
        return;
    };
    if let Some(cause) = &error.cause {
        tracing::error!(request_id, code = error.code.number, cause, "request failed");
    }
    let number = error.code.number;
    let mut entry = json!({
        "code": number,
        "message": error.message,
        "documentation_url": format!("{public_url}{DOCS_PATH}#{number}"),
    });
    if let (Some(pointer), Some(fields)) = (&error.pointer, entry.as_object_mut()) {
        fields.insert("source".into(), json!({ "pointer": pointer }));
    }
    if let (Some(meta), Some(fields)) = (error.meta, entry.as_object_mut()) {
        fields.insert("meta".into(), meta);
    }
    let envelope = json!({ "result": null, "success": false, "errors": [entry], "messages": [] });
    *response.body_mut() = Body::from(envelope.to_string());
    // The router has already noted the length of the empty body.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
}
