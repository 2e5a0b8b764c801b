//! Repositories.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::Fields;
use super::envelope;
use super::page::{Paging, Query};
use super::path::Names;
use crate::app::App;
use crate::auth::{Edit, Grant, View};
use crate::clock::rfc3339;
use crate::error::{Error, Result};
use crate::limits::{PAGE_ITEMS_MAX, REPO_PAGE_ITEMS, SEARCH_BYTES_MAX};
use crate::ops;
use crate::ops::create::Created;
use crate::store::RepoId;
use crate::store::catalog::{Direction, RepoChange, RepoPage, RepoRow, Sort};

/// The shape `Repo`.
pub fn shape(app: &App, row: &RepoRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "name": row.name,
        "description": row.description,
        "default_branch": row.default_branch,
        "object_format": row.object_format.name(),
        "created_at": rfc3339(row.created_at_ms),
        "updated_at": rfc3339(row.updated_at_ms),
        "last_push_at": row.last_push_at_ms.map(rfc3339),
        "source": row.source,
        "read_only": row.read_only,
        "remote": app.remote(row),
    })
}

/// The shape `Create`.
pub fn created_shape(app: &App, created: &Created) -> Value {
    let row = &created.row;
    json!({
        "id": row.id.to_string(),
        "name": row.name,
        "description": row.description,
        "default_branch": row.default_branch,
        "remote": app.remote(row),
        "token": created.token,
    })
}

/// `POST /namespaces/{ns}/repos`
pub async fn create(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    fields: Fields,
) -> Result<Response<Body>> {
    let wish = ops::create::Wish {
        namespace: names.ns,
        name: fields.text("/name")?,
        description: fields.text("/description")?,
        default_branch: fields.text("/default_branch")?.filter(|branch| !branch.is_empty()),
        object_format: fields.text("/object_format")?,
        read_only: fields.flag("/read_only")?.unwrap_or(false),
    };
    let created = ops::create::create(&app, grant, wish).await?;
    Ok(envelope::one(StatusCode::CREATED, created_shape(&app, &created)))
}

/// `GET /namespaces/{ns}/repos`
pub async fn list(
    State(app): State<App>,
    _grant: Grant<View>,
    names: Names,
    query: Query,
) -> Result<Response<Body>> {
    let paging = Paging::new(&query, REPO_PAGE_ITEMS, PAGE_ITEMS_MAX)?;
    let sort = match query.get("sort") {
        None | Some("created_at") => Sort::CreatedAt,
        Some("updated_at") => Sort::UpdatedAt,
        Some("last_push_at") => Sort::LastPushAt,
        Some("name") => Sort::Name,
        Some(_) => {
            return Err(Error::input("/sort", "sort is created_at, updated_at, last_push_at or name"));
        }
    };
    let direction = match query.get("direction") {
        Some("asc") => Direction::Asc,
        Some("desc") => Direction::Desc,
        None if sort == Sort::Name => Direction::Asc,
        None => Direction::Desc,
        Some(_) => return Err(Error::input("/direction", "direction is asc or desc")),
    };
    let search = query.get("search").map(str::to_owned);
    if search.as_ref().is_some_and(|text| text.len() > SEARCH_BYTES_MAX) {
        return Err(Error::input("/search", format!("a search text may have {SEARCH_BYTES_MAX} bytes")));
    }
    let after = match &paging.after {
        Some(id) => Some(RepoId::parse(id).ok_or_else(|| Error::input("/cursor", "Invalid cursor"))?),
        None => None,
    };
    let page = RepoPage {
        namespace: names.ns,
        search,
        sort,
        direction,
        after,
        window: paging.window(),
        before: paging.before(),
    };
    let listed = app.catalog.repos(page).await?;
    let last = listed.items.last().map(|row| row.id.to_string());
    let info = paging.info(listed.items.len(), listed.total, last.as_deref());
    let items = listed.items.iter().map(|row| {
        let mut item = shape(&app, row);
        if let Some(fields) = item.as_object_mut() {
            fields.insert("status".into(), "ready".into());
        }
        item
    });
    Ok(envelope::list(items.collect(), info))
}

/// `GET /namespaces/{ns}/repos/{name}`
pub async fn get(State(app): State<App>, _grant: Grant<View>, names: Names) -> Result<Response<Body>> {
    let row = app.catalog.resolve(&names.ns, &names.name).await?.ok_or_else(Error::repo_missing)?;
    Ok(envelope::one(StatusCode::OK, shape(&app, &row)))
}

/// `PATCH /namespaces/{ns}/repos/{name}`
pub async fn change(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    fields: Fields,
) -> Result<Response<Body>> {
    let description = fields.text("/description")?;
    let change = RepoChange {
        description: fields.has("/description").then_some(description),
        default_branch: fields.text("/default_branch")?,
        read_only: fields.flag("/read_only")?,
    };
    let row = ops::change::change(&app, grant, &names.ns, &names.name, change).await?;
    Ok(envelope::one(StatusCode::OK, shape(&app, &row)))
}

/// `DELETE /namespaces/{ns}/repos/{name}`
pub async fn delete(State(app): State<App>, grant: Grant<Edit>, names: Names) -> Result<Response<Body>> {
    let id = ops::delete::delete(&app, grant, &names.ns, &names.name).await?;
    Ok(envelope::one(StatusCode::ACCEPTED, json!({ "id": id.to_string() })))
}
