//! JSON bodies, read field by field: unknown fields are passed over, null is absent, a wrong type is named.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use crate::app::App;
use crate::error::{Error, code};
use crate::limits::JSON_BODY_BYTES_MAX;

/// The fields of a JSON object; an empty body has none. The content type is not looked at.
#[derive(Debug, Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// A text.
    pub fn text(&self, pointer: &'static str) -> Result<Option<String>, Error> {
        match self.get(pointer) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Error::input(pointer, "must be a string")),
        }
    }

    /// Yes or no.
    pub fn flag(&self, pointer: &'static str) -> Result<Option<bool>, Error> {
        match self.get(pointer) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Error::input(pointer, "must be a boolean")),
        }
    }

    /// The value as it stands; `None` for null too.
    pub fn get(&self, pointer: &'static str) -> Option<&Value> {
        self.0.get(pointer.trim_start_matches('/')).filter(|value| !value.is_null())
    }

    /// Whether the field is there, be it null.
    pub fn has(&self, pointer: &'static str) -> bool {
        self.0.contains_key(pointer.trim_start_matches('/'))
    }
}

impl FromRequest<App> for Fields {
    type Rejection = Error;

    async fn from_request(request: Request<Body>, _app: &App) -> Result<Self, Error> {
        let body = Limited::new(request.into_body(), JSON_BODY_BYTES_MAX).collect().await;
        let bytes = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => Error::new(code::INVALID_INPUT, format!("a body may have {JSON_BODY_BYTES_MAX} bytes"))
                .with_status(413),
            false => Error::new(code::INVALID_INPUT, "the body broke off"),
        })?;
        let bytes = bytes.to_bytes();
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Error::new(code::INVALID_INPUT, "the body must be a JSON object")),
            Err(error) => Err(Error::new(code::INVALID_INPUT, format!("the body is not JSON: {error}"))),
        }
    }
}
