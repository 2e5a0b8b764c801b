//! Repositories.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Input;
use super::envelope::{self, Envelope, ListEnvelope};
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

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, change, delete))
}

/// A repository.
#[derive(Serialize, ToSchema)]
pub struct Repo {
    /// Its id: 16 of `[0-9a-z]`, never used again.
    id: String,
    /// Its name, as it was spelled.
    name: String,
    /// What it is for.
    description: Option<String>,
    /// The branch that HEAD names, without `refs/heads/`.
    default_branch: String,
    /// `sha1` or `sha256`.
    object_format: &'static str,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    updated_at: String,
    /// RFC 3339, UTC; null before the first push.
    #[schema(format = DateTime)]
    last_push_at: Option<String>,
    /// Where it came from: `artifacts:<ns>/<repo>`, `git:<url>`, or null.
    source: Option<String>,
    /// Whether pushes and REST writes are refused.
    read_only: bool,
    /// Where git finds it.
    remote: String,
}

impl Repo {
    /// As `app` shows it.
    pub fn new(app: &App, row: &RepoRow) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name.clone(),
            description: row.description.clone(),
            default_branch: row.default_branch.clone(),
            object_format: row.object_format.name(),
            created_at: rfc3339(row.created_at_ms),
            updated_at: rfc3339(row.updated_at_ms),
            last_push_at: row.last_push_at_ms.map(rfc3339),
            source: row.source.clone(),
            read_only: row.read_only,
            remote: app.remote(row),
        }
    }
}

/// A repository as lists show it.
#[derive(Serialize, ToSchema)]
pub struct RepoInList {
    /// What is shown of it alone.
    #[serde(flatten)]
    repo: Repo,
    /// `ready`, `importing` or `forking`.
    status: &'static str,
}

/// A new repository.
#[derive(Serialize, ToSchema)]
pub struct CreatedRepo {
    /// Its id.
    id: String,
    /// Its name, as it was spelled.
    name: String,
    /// What it is for.
    description: Option<String>,
    /// The branch that HEAD names.
    default_branch: String,
    /// Where git finds it.
    remote: String,
    /// A write token for git, which lives a day.
    token: String,
}

impl CreatedRepo {
    /// As `app` shows it.
    pub fn new(app: &App, created: &Created) -> Self {
        let row = &created.row;
        Self {
            id: row.id.to_string(),
            name: row.name.clone(),
            description: row.description.clone(),
            default_branch: row.default_branch.clone(),
            remote: app.remote(row),
            token: created.token.clone(),
        }
    }
}

/// The shape `Repo` as JSON.
pub fn shape(app: &App, row: &RepoRow) -> Value {
    serde_json::to_value(Repo::new(app, row)).unwrap_or_default()
}

/// The shape `CreatedRepo` as JSON.
pub fn created_shape(app: &App, created: &Created) -> Value {
    serde_json::to_value(CreatedRepo::new(app, created)).unwrap_or_default()
}

/// A repository to be made.
#[derive(Deserialize, ToSchema)]
pub struct NewRepo {
    /// Its name; not ending in `.git` or `.lock`.
    #[schema(min_length = 1, max_length = 63, pattern = "^[a-zA-Z0-9][a-zA-Z0-9._-]*$")]
    name: Option<String>,
    /// What it is for. Up to 4096 bytes.
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// The branch that HEAD names, with or without `refs/heads/`; `main` if absent.
    #[schema(max_length = 244)]
    default_branch: Option<String>,
    /// `sha1` or `sha256`; `sha1` if absent.
    #[schema(pattern = "^(sha1|sha256)$")]
    object_format: Option<String>,
    /// Whether pushes and REST writes are refused; false if absent.
    read_only: Option<bool>,
}

/// What of a repository is changed; what is absent stays.
#[derive(Deserialize, ToSchema)]
pub struct ChangedRepo {
    /// What it is for; null takes it away. Up to 4096 bytes.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 1024)]
    description: Option<Option<String>>,
    /// The branch that HEAD names, with or without `refs/heads/`.
    #[schema(max_length = 244)]
    default_branch: Option<String>,
    /// Whether pushes and REST writes are refused.
    read_only: Option<bool>,
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(reader: D) -> std::result::Result<Option<Option<String>>, D::Error> {
    Deserialize::deserialize(reader).map(Some)
}

/// The id of what was deleted.
#[derive(Serialize, ToSchema)]
pub struct Deleted {
    /// It is never used again.
    id: String,
}

/// Makes an empty repository, and its namespace where there is none.
#[utoipa::path(post, path = "/namespaces/{ns}/repos", operation_id = "createRepo", tag = "repositories",
    params(("ns" = String, Path)), request_body = NewRepo,
    responses((status = 201, body = Envelope<CreatedRepo>), (status = 400, description = "10101: a bad name"),
        (status = 409, description = "10201: the name is taken")))]
async fn create(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    Input(new): Input<NewRepo>,
) -> Result<Response<Body>> {
    let wish = ops::create::Wish {
        namespace: names.ns,
        name: new.name,
        description: new.description,
        default_branch: new.default_branch.filter(|branch| !branch.is_empty()),
        object_format: new.object_format,
        read_only: new.read_only.unwrap_or(false),
    };
    let created = ops::create::create(&app, grant, wish).await?;
    Ok(envelope::one(StatusCode::CREATED, CreatedRepo::new(&app, &created)))
}

/// Lists repositories, the newest first where nothing else is asked for. A namespace that does not exist is empty.
#[utoipa::path(get, path = "/namespaces/{ns}/repos", operation_id = "listRepos", tag = "repositories",
    params(("ns" = String, Path),
        ("search" = Option<String>, Query, max_length = 63, description = "part of the name, in any case"),
        ("sort" = Option<String>, Query, pattern = "^(created_at|updated_at|last_push_at|name)$",
            description = "created_at, updated_at, last_push_at or name; created_at if absent"),
        ("direction" = Option<String>, Query, pattern = "^(asc|desc)$",
            description = "asc or desc; asc for names and desc for times if absent"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 200, description = "repositories on a page; 50 if absent"),
        ("cursor" = Option<String>, Query, max_length = 512, description = "where the last page ended, from its result_info"),
        ("page" = Option<u64>, Query, minimum = 1, description = "number of the page")),
    responses((status = 200, body = ListEnvelope<RepoInList>)))]
async fn list(
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
    if let Some(text) = search.as_ref().filter(|text| text.len() > SEARCH_BYTES_MAX) {
        let text = format!("a search text of {} bytes, {SEARCH_BYTES_MAX} are allowed", text.len());
        return Err(Error::input("/search", text));
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
    let items = listed.items.iter().map(|row| RepoInList {
        repo: Repo::new(&app, row),
        status: if row.importing { "importing" } else { "ready" },
    });
    Ok(envelope::list(items.collect(), info))
}

/// Shows a repository.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}", operation_id = "getRepo", tag = "repositories",
    params(("ns" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Envelope<Repo>), (status = 404, description = "10200: there is none"),
        (status = 409, description = "10302, 10303: it is not ready yet")))]
async fn get(State(app): State<App>, grant: Grant<View>, names: Names) -> Result<Response<Body>> {
    let row = ops::viewed(&app, &grant, &names.ns, &names.name).await?;
    Ok(envelope::one(StatusCode::OK, Repo::new(&app, &row)))
}

/// Changes a repository's settings.
#[utoipa::path(patch, path = "/namespaces/{ns}/repos/{name}", operation_id = "changeRepo", tag = "repositories",
    params(("ns" = String, Path), ("name" = String, Path)), request_body = ChangedRepo,
    responses((status = 200, body = Envelope<Repo>), (status = 404, description = "10200: there is none")))]
async fn change(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    Input(changed): Input<ChangedRepo>,
) -> Result<Response<Body>> {
    let change = RepoChange {
        description: changed.description,
        default_branch: changed.default_branch,
        read_only: changed.read_only,
    };
    let row = ops::change::change(&app, grant, &names.ns, &names.name, change).await?;
    Ok(envelope::one(StatusCode::OK, Repo::new(&app, &row)))
}

/// Deletes a repository, and its tokens with it; doing so twice is no error. Forks stay whole.
#[utoipa::path(delete, path = "/namespaces/{ns}/repos/{name}", operation_id = "deleteRepo", tag = "repositories",
    params(("ns" = String, Path), ("name" = String, Path)),
    responses((status = 202, body = Envelope<Deleted>), (status = 404, description = "10200: there never was one")))]
async fn delete(State(app): State<App>, grant: Grant<Edit>, names: Names) -> Result<Response<Body>> {
    let id = ops::delete::delete(&app, grant, &names.ns, &names.name).await?;
    Ok(envelope::one(StatusCode::ACCEPTED, Deleted { id: id.to_string() }))
}
