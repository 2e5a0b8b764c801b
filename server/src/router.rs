//! Every URL: the fixed ones are here, those of a noun in its file under `rest`.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::rest::{
    activity, archive, commits, compare, content, diagnose, forks, idempotency, listing, log, merges,
    namespaces, objects, ref_writes, refs, repos, tokens, usage,
};
use crate::smart_http;

/// The table of routes; `edge::Edge` goes around it.
pub fn router(app: App) -> Router {
    let (artifacts, _) = artifacts().split_for_parts();
    let artifacts = artifacts.layer(from_fn_with_state(app.clone(), idempotency::layer));
    Router::new()
        .route("/healthz", get(diagnose::health))
        .route("/docs/errors", get(diagnose::errors))
        .route("/client/v4/user", get(diagnose::user))
        .route("/client/v4/user/tokens/verify", get(diagnose::verify))
        .route("/client/v4/accounts", get(diagnose::accounts))
        .route("/client/v4/memberships", get(diagnose::memberships))
        .nest("/client/v4/accounts/{account}/artifacts", artifacts.clone())
        .nest("/v1/api", artifacts)
        .route("/readyz", get(diagnose::ready))
        .route("/metrics", get(diagnose::metrics))
        // /git/{ns}/{repo}[.git]/info/refs, /git-upload-pack, /git-receive-pack
        .merge(smart_http::routes())
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

/// The document of the routes under the account's base.
pub fn document() -> OpenApi {
    artifacts().split_for_parts().1
}

fn artifacts() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(namespaces::routes())
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
        .merge(commits::routes())
        .route("/namespaces/{ns}/repos", get(repos::list).post(repos::create))
        .route("/namespaces/{ns}/repos/{name}", get(repos::get).patch(repos::change).delete(repos::delete))
        .route("/namespaces/{ns}/repos/{name}/tokens", get(tokens::list))
        .route("/namespaces/{ns}/tokens", post(tokens::issue))
        .route("/namespaces/{ns}/tokens/{id}", delete(tokens::revoke))
}
