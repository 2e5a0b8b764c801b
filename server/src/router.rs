//! Every URL: the fixed ones are here, those of a noun in its file under `rest`.

use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::rest::docs::Pages;
use crate::rest::{
    activity, api_tokens, archive, commits, compare, content, diagnose, docs, forks, idempotency, imports,
    listing, log, maintenance, merges, namespaces, objects, ref_writes, refs, repos, tokens, usage,
};
use crate::smart_http;

/// The table of routes; `edge::Edge` goes around it. Those named here are not in the document.
pub fn router(app: App) -> Router {
    let pages = Pages::new(&app.config);
    let (artifacts, _) = artifacts().split_for_parts();
    let artifacts = artifacts.layer(from_fn_with_state(app.clone(), idempotency::layer));
    let (fixed, _) = diagnose::routes().split_for_parts();
    Router::new()
        .nest("/client/v4/accounts/{account}/artifacts", artifacts.clone())
        .nest("/v1/api", artifacts)
        .merge(fixed)
        // /git/{ns}/{repo}[.git]/info/refs, /git-upload-pack, /git-receive-pack
        .merge(smart_http::routes())
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page))
        .route("/docs/errors", get(docs::errors))
        .layer(Extension(pages))
        .route_layer(from_fn(note_route))
        .fallback(diagnose::missing)
        .method_not_allowed_fallback(diagnose::method)
        .with_state(app)
}

/// Tells `edge` which route answered.
async fn note_route(route: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(route);
    response
}

/// The document of the routes under the account's base, and of the fixed ones.
pub fn documents() -> (OpenApi, OpenApi) {
    (artifacts().split_for_parts().1, diagnose::routes().split_for_parts().1)
}

fn artifacts() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(api_tokens::routes())
        .merge(namespaces::routes())
        .merge(imports::routes())
        .merge(activity::routes())
        .merge(archive::routes())
        .merge(content::routes())
        .merge(listing::routes())
        .merge(log::routes())
        .merge(objects::routes())
        .merge(refs::routes())
        .merge(ref_writes::routes())
        .merge(usage::routes())
        .merge(forks::routes())
        .merge(compare::routes())
        .merge(merges::routes())
        .merge(maintenance::routes())
        .merge(commits::routes())
        .merge(repos::routes())
        .merge(tokens::routes())
}
