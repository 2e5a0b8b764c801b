//! `GET .../archive/{ref}.tar.gz`, `.zip` or `.tar`: a tree in one file, streamed.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, header};
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ask::Ask;
use super::cond::{self, Freshness, Tag};
use super::sniff;
use super::stream::BatchBody;
use crate::app::App;
use crate::error::{Error, Result, code};
use crate::ops::read::archive::{Archive, Format, folder_name};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get))
}

/// What a commit shows as an archive. Everything is in one folder, `<repository>-<short ref>`. The ref may hold slashes.
#[utoipa::path(get, path = "/namespaces/{ns}/repos/{name}/archive/{*rest}", tag = "reads",
    params(("ns" = String, Path), ("name" = String, Path),
        ("rest" = String, Path, description = "{ref}.tar.gz, {ref}.tgz, {ref}.tar or {ref}.zip"),
        ("at" = Option<String>, Query)),
    responses((status = 200, description = "the archive"), (status = 404, description = "10200: no such ref")))]
async fn get(State(app): State<App>, ask: Ask) -> Result<Response<Body>> {
    let Some((_, format)) = Format::strip(&ask.names.rest) else {
        return Err(Error::input("/format", "an archive is .tar.gz, .tgz, .tar or .zip"));
    };
    ask.read(&app, move |ask, app, reading| {
        let missing = || Error::new(code::NOT_FOUND, "Ref not found");
        let name = Format::strip(&ask.names.rest).map_or("", |(name, _)| name);
        let named = reading.named(name.as_bytes(), b"")?.ok_or_else(missing)?;
        let default = &reading.view.served.default_branch;
        let folder = folder_name(&reading.repo_name, name, default);
        let digest = Sha256::new().chain_update(named.tip.as_bytes()).chain_update(&folder);
        // The number goes up when the bytes of archives change.
        let tag = Tag::strong(&digest.chain_update(format.ending()).chain_update([1]).finalize());
        let freshness = if named.is_hash { Freshness::Immutable } else { ask.freshness(name.as_bytes()) };
        if tag.is_had(&ask.headers) {
            return Ok(cond::not_modified(&tag, freshness));
        }
        let archive =
            Archive::new(reading, named.tip, &folder, format, app.spool_dir())?.ok_or_else(missing)?;
        let mut response = Response::new(Body::new(BatchBody::new(archive, &app.memory, None)));
        cond::set(&mut response, header::CONTENT_TYPE, format.media_type());
        cond::set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        let file = format!("{folder}{}", format.ending());
        let disposition = sniff::disposition(format.media_type(), file.as_bytes());
        cond::set(&mut response, header::CONTENT_DISPOSITION, &disposition);
        cond::mark(&mut response, &tag, freshness);
        Ok(response)
    })
    .await
}
