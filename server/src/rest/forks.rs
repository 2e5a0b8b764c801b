//! Forks.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde_json::Value;

use super::body::Fields;
use super::envelope;
use super::path::Names;
use super::repos::created_shape;
use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::error::{Error, Result};
use crate::ops;

/// `POST /namespaces/{ns}/repos/{name}/fork`
pub async fn create(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    fields: Fields,
) -> Result<Response<Body>> {
    if fields.flag("/default_branch_only")?.unwrap_or(false) {
        return Err(Error::input("/default_branch_only", "not supported: forks have all branches and tags"));
    }
    let wish = ops::fork::Wish {
        base_namespace: names.ns,
        base_name: names.name,
        namespace: fields.text("/namespace")?,
        name: fields.text("/name")?,
        description: fields.text("/description")?,
        read_only: fields.flag("/read_only")?.unwrap_or(false),
        at: seq(fields.get("/at"))?,
    };
    let (created, objects) = ops::fork::fork(&app, grant, wish).await?;
    let mut result = created_shape(&app, &created);
    if let Some(result) = result.as_object_mut() {
        result.insert("objects".into(), objects.into());
    }
    Ok(envelope::one(StatusCode::CREATED, result))
}

/// A seq, as a number or its digits.
fn seq(value: Option<&Value>) -> Result<Option<u64>> {
    let seq = match value {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    seq.map(Some).ok_or_else(|| Error::input("/at", "must be the number of an entry"))
}
