//! Every URL.

use axum::Router;
use axum::routing::{delete, get, post};

use crate::app::App;
use crate::rest::{diagnose, forks, namespaces, repos, tokens};
use crate::smart_http;

/// The table of routes; `edge::Edge` goes around it.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/healthz", get(diagnose::health))
        .route("/docs/errors", get(diagnose::errors))
        .route("/client/v4/user", get(diagnose::user))
        .route("/client/v4/user/tokens/verify", get(diagnose::verify))
        .route("/client/v4/accounts", get(diagnose::accounts))
        .route("/client/v4/memberships", get(diagnose::memberships))
        .nest("/client/v4/accounts/{account}/artifacts", artifacts())
        .nest("/v1/api", artifacts())
        // /git/{ns}/{repo}[.git]/info/refs, /git-upload-pack, /git-receive-pack
        .merge(smart_http::routes())
        .fallback(diagnose::missing)
        .method_not_allowed_fallback(diagnose::method)
        .with_state(app)
}

fn artifacts() -> Router<App> {
    Router::new()
        .route("/namespaces", get(namespaces::list).post(namespaces::create))
        .route("/namespaces/{ns}", get(namespaces::get).delete(namespaces::delete))
        .route("/namespaces/{ns}/repos", get(repos::list).post(repos::create))
        .route("/namespaces/{ns}/repos/{name}", get(repos::get).patch(repos::change).delete(repos::delete))
        .route("/namespaces/{ns}/repos/{name}/fork", post(forks::create))
        .route("/namespaces/{ns}/repos/{name}/tokens", get(tokens::list))
        .route("/namespaces/{ns}/tokens", post(tokens::issue))
        .route("/namespaces/{ns}/tokens/{id}", delete(tokens::revoke))
}
