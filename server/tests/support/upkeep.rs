//! What tests of maintenance share: time that passes, the state of a repository, a clone that is taken slowly.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use cairn_conformance::pack::{DELIM, FLUSH, pkt};
use cairn_server::store::repo::fsck::fsck;
use tower_service::Service;

use crate::support::Server;

pub fn pass(server: &Server, ms: u64) {
    server.now.fetch_add(i64::try_from(ms).expect("a time"), Ordering::SeqCst);
}

pub async fn assert_sound(server: &Server, name: &str) {
    let row = server.app.catalog.resolve("t", name).await.expect("an answer").expect("a repository");
    assert_eq!(fsck(&server.app.files, row.object_format, &row.pins), Vec::<String>::new());
}

/// Begins a clone of `x`; its answer comes as it is taken.
pub async fn clone_begun(server: &Server, token: &str, tip: &str) -> Body {
    let mut body = pkt("command=fetch\n");
    body.extend_from_slice(DELIM);
    body.extend(pkt("no-progress\n"));
    body.extend(pkt("ofs-delta\n"));
    body.extend(pkt(format!("want {tip}\n")));
    body.extend(pkt("done\n"));
    body.extend_from_slice(FLUSH);
    let request = Request::post("/git/t/x.git/git-upload-pack")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/x-git-upload-pack-request")
        .header("git-protocol", "version=2");
    let answer = server.edge.clone().call(request.body(Body::from(body)).expect("a request")).await;
    let answer = answer.expect("edges do not fail");
    assert_eq!(answer.status(), 200);
    answer.into_body()
}
