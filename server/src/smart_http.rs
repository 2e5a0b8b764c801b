//! Git's smart HTTP routes.

use axum::Router;

use crate::app::App;

/// The routes under `/git/`; merged into the table of `router`.
pub fn routes(_app: &App) -> Router<App> {
    Router::new()
}
