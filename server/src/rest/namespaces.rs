//! Namespaces.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::body::Fields;
use super::envelope;
use super::page::{Paging, Query};
use super::path::Names;
use crate::app::App;
use crate::auth::{Admin, Grant};
use crate::clock::rfc3339;
use crate::error::{Error, Result, code};
use crate::limits::{NAMESPACE_PAGE_ITEMS, PAGE_ITEMS_MAX};
use crate::ops;
use crate::store::catalog::NamespaceRow;

fn shape(row: &NamespaceRow) -> Value {
    json!({
        "namespace": row.name,
        "jurisdiction": "unrestricted",
        "repo_count": row.repo_count,
        "created_at": rfc3339(row.created_at_ms),
        "updated_at": rfc3339(row.updated_at_ms),
    })
}

/// `POST /namespaces`
pub async fn create(State(app): State<App>, _grant: Grant<Admin>, fields: Fields) -> Result<Response<Body>> {
    fields.text("/jurisdiction")?;
    let name = ops::namespace_name(fields.text("/namespace")?.as_deref())?;
    let row = app.catalog.create_namespace(name, app.clock.now_ms()).await?;
    Ok(envelope::one(StatusCode::CREATED, shape(&row)))
}

/// `GET /namespaces`
pub async fn list(State(app): State<App>, _grant: Grant<Admin>, query: Query) -> Result<Response<Body>> {
    let paging = Paging::new(&query, NAMESPACE_PAGE_ITEMS, PAGE_ITEMS_MAX)?;
    let listed = app.catalog.namespaces(paging.window_from_start()).await?;
    let last = listed.items.last().map(|row| row.name.as_str());
    let info = paging.info(listed.items.len(), listed.total, last);
    Ok(envelope::list(listed.items.iter().map(shape).collect(), info))
}

/// `GET /namespaces/{ns}`
pub async fn get(State(app): State<App>, _grant: Grant<Admin>, names: Names) -> Result<Response<Body>> {
    let row = app.catalog.namespace(&names.ns).await?;
    let row = row.ok_or_else(|| Error::new(code::NOT_FOUND, "Namespace not found"))?;
    Ok(envelope::one(StatusCode::OK, shape(&row)))
}

/// `DELETE /namespaces/{ns}`
pub async fn delete(
    State(app): State<App>,
    _grant: Grant<Admin>,
    names: Names,
    query: Query,
) -> Result<Response<Body>> {
    let force = query.get("force") == Some("true");
    app.catalog.delete_namespace(&names.ns, force, app.clock.now_ms()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
