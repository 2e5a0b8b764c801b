//! JSON bodies: unknown fields are passed over, null is absent, a wrong type is named by its pointer.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
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
        let bytes = taken(request.into_body(), JSON_BODY_BYTES_MAX).await?;
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

/// A JSON body as a type: the one that documents it is the one that reads it. An empty body is `{}`.
#[derive(Debug)]
pub struct Input<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Input<T> {
    type Rejection = Error;

    async fn from_request(request: Request<Body>, _app: &App) -> Result<Self, Error> {
        parse(&taken(request.into_body(), JSON_BODY_BYTES_MAX).await?).map(Self)
    }
}

/// The whole body, of at most `bytes_max` bytes.
pub async fn taken(body: Body, bytes_max: usize) -> Result<Bytes, Error> {
    let body = Limited::new(body, bytes_max).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => {
            Error::new(code::INVALID_INPUT, format!("a body may have {bytes_max} bytes")).with_status(413)
        }
        false => Error::new(code::INVALID_INPUT, "the body broke off"),
    })?;
    Ok(body.to_bytes())
}

/// Reads JSON; the pointer of the error names the field at fault.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let bytes = if bytes.trim_ascii().is_empty() { b"{}".as_slice() } else { bytes };
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::new(code::INVALID_INPUT, "the body must be a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer: String = error.path().iter().map(pointer_part).collect();
        let error = error.into_inner();
        match error.is_data() {
            true => Error::input(pointer, error.to_string()),
            false => Error::new(code::INVALID_INPUT, format!("the body is not JSON: {error}")),
        }
    })?;
    reader
        .end()
        .map_err(|error| Error::new(code::INVALID_INPUT, format!("the body is not JSON: {error}")))?;
    Ok(value)
}

fn pointer_part(part: &serde_path_to_error::Segment) -> String {
    match part {
        serde_path_to_error::Segment::Seq { index } => format!("/{index}"),
        part => format!("/{part}"),
    }
}
