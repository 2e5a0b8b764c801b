//! Work that takes too long, or for which nobody waits, stops: the client is told, and no thread is left at it.

#[path = "support/server.rs"]
mod support;

#[path = "support/long.rs"]
mod long;

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response};
use cairn_protocol::object::HashAlgo;
use cairn_protocol::source::ObjectSource;
use cairn_server::config::{Config, Patience};
use cairn_server::metrics::Metrics;
use cairn_server::names::Name;
use cairn_server::ops::OpError;
use cairn_server::ops::push::{By, push};
use cairn_server::ops::spool::Spool;
use cairn_server::stop::{Changed, Stop, Stopped};
use cairn_server::store::StoreError;
use cairn_server::store::repo::EntryKind;
use http_body_util::BodyExt;
use serde_json::Value;
use support::{API_TOKEN, BASE, Server};
use tower_service::Service;

/// Commits of which nobody walks all in a millisecond.
const COMMITS: u32 = 5_000;
/// Files of an archive that takes far longer than its head.
const FILES: u32 = 5_000;

fn hasty() -> Server {
    let patience = Patience { rest_deadline_ms: 1, git_deadline_ms: 1, ..Patience::default() };
    Server::with(|config| Config { patience, ..config })
}

/// Waits until no thread works for a request.
async fn rest(server: &Server) {
    let end = Instant::now() + Duration::from_secs(60);
    while server.app.metrics.work().working.get() > 0 {
        assert!(Instant::now() < end, "{} are at work", server.app.metrics.work().working.get());
        tokio::task::yield_now().await;
    }
}

fn walk_request() -> Request<Body> {
    // Of a path that no commit has: the whole history is looked at before the first byte.
    Request::builder()
        .uri(format!("{BASE}/namespaces/a/repos/b/log?path=nowhere"))
        .header("authorization", format!("Bearer {API_TOKEN}"))
        .body(Body::empty())
        .expect("a request")
}

/// One request of git, as bytes.
async fn git(server: &Server, token: &str, service: &str, body: Vec<u8>) -> (u16, String) {
    let request = Request::builder()
        .method("POST")
        .uri(format!("/git/a/b.git/{service}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", format!("application/x-{service}-request"))
        .header("git-protocol", "version=2")
        .body(Body::from(body))
        .expect("a request");
    let response = server.edge.clone().call(request).await.expect("edges do not fail");
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

fn pkt(line: &str) -> String {
    format!("{:04x}{line}", line.len() + 4)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_past_its_deadline_gets_504_and_its_work_stops() {
    let server = hasty();
    server.repo("a", "b").await;
    long::place(&server, "a", "b", COMMITS).await;
    let answer = server.send(walk_request()).await;
    assert_eq!(answer.error(), (504, 10_408, ""), "{}", answer.body);
    let text = answer.body["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(text.contains("took longer than 1 ms"), "{text}");
    rest(&server).await;
    assert!(server.app.metrics.work().late.get() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_past_its_deadline_is_told_so_and_its_work_stops() {
    let server = hasty();
    let token = server.repo("a", "b").await;
    let tip = long::place(&server, "a", "b", COMMITS).await;
    let body =
        format!("{}0001{}{}0000", pkt("command=fetch\n"), pkt(&format!("want {tip}\n")), pkt("done\n"));
    let (status, text) = git(&server, &token, "git-upload-pack", body.into_bytes()).await;
    assert_eq!(status, 200, "git shows the server's words of a 200 alone");
    let at = text.find("the request took longer than 1 ms").unwrap_or_else(|| panic!("{text}"));
    let before = &text[..at];
    assert!(before.ends_with("ERR ") || before.ends_with('\u{3}'), "{before}");
    rest(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_past_its_deadline_is_told_so_and_changes_nothing() {
    let server = hasty();
    let token = server.repo("a", "b").await;
    let (pack, tip) = long::pack(HashAlgo::Sha1, COMMITS);
    let null = "0".repeat(40);
    let command = format!("{null} {tip} refs/heads/main\0report-status side-band-64k");
    let body = [pkt(&command).as_bytes(), b"0000", &pack].concat();
    let (status, text) = git(&server, &token, "git-receive-pack", body).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("unpack the request took longer than 1 ms"), "{text}");
    assert!(text.contains("ng refs/heads/main"), "{text}");
    rest(&server).await;
    let row = server.app.catalog.resolve("a", "b").await.expect("an answer").expect("a repository");
    let snapshot = server.app.served(&row).expect("opens").snapshot().expect("opens");
    assert_eq!((snapshot.seq(), snapshot.refs_count().expect("a count")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_past_its_deadline_says_whether_it_was_made() {
    // Time is up as soon as anything is waited for, so that whoever looks at a file is told to stop.
    let patience = Patience { rest_deadline_ms: 0, ..Patience::default() };
    let server = Server::with(|config| Config { patience, ..config });
    server.repo("a", "b").await;
    let row = server.app.catalog.resolve("a", "b").await.expect("an answer").expect("a repository");
    let repo = server.app.files.repo(row.object_format, &row.pins).expect("a repository");
    let body = r#"{"message":"m","changes":[{"path":"x","content":""}]}"#;
    let answer = server.post("/namespaces/a/repos/b/commits", body).await;
    assert_eq!(answer.error(), (504, 10_408, ""), "{}", answer.body);
    let error = &answer.body["errors"][0];
    assert_eq!(error["meta"]["changed"], "no", "{error}");
    assert!(error["message"].as_str().unwrap_or_default().ends_with("; nothing was changed"), "{error}");
    rest(&server).await;
    assert_eq!(repo.snapshot(None).expect("a snapshot").seq(), 0);
    let read = server.get("/namespaces/a/repos/b/log").await;
    assert_eq!((read.status, &read.body["errors"][0]["meta"]), (504, &Value::Null), "a read changes nothing");
}

#[tokio::test]
async fn what_is_known_of_a_change_is_what_the_stores_were_asked_to_do() {
    let server = Server::new();
    server.repo("a", "b").await;
    let known = |stop: &Stop| stop.changed();
    let stop = Stop::new(&Metrics::default());
    let made = stop.clone().around(async { server.append("a", "b", 1).await });
    made.await;
    assert_eq!(known(&stop), Changed::Yes, "an entry");
    let stop = Stop::new(&Metrics::default());
    stop.clone().around(async { server.app.catalog.resolve("a", "b").await }).await.expect("an answer");
    assert_eq!(known(&stop), Changed::No, "a look at the catalog");
    let stop = Stop::new(&Metrics::default());
    stop.clone()
        .around(async { server.app.catalog.create_namespace(Name::new("n").expect("a name"), 0).await })
        .await
        .expect("made");
    assert_eq!(known(&stop), Changed::Unknown, "a change of the catalog, which may not be all of it");
}

/// How many requests' work has heard that it is to stop.
fn stopped_works(server: &Server) -> u64 {
    server.app.metrics.work().stopped.get()
}

/// Whether the archive broke off behind a head that was in time. What has the mark of an end must be whole.
async fn breaks_off(server: &Server, whole_bytes: usize) -> bool {
    let request = Request::builder()
        .uri(format!("{BASE}/namespaces/a/repos/b/archive/main.tar"))
        .header("authorization", format!("Bearer {API_TOKEN}"))
        .body(Body::empty())
        .expect("a request");
    let response = server.edge.clone().call(request).await.expect("edges do not fail");
    let status = response.status().as_u16();
    let was_in_time = server.app.metrics.work().late.get() == 0;
    let body = response.into_body().collect().await;
    match (status, body) {
        (504, _) => false,
        (200, Err(_)) => was_in_time,
        (200, Ok(body)) => {
            assert_eq!(body.to_bytes().len(), whole_bytes, "never does a cut archive look whole");
            false
        }
        (other, body) => panic!("{other} {body:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_past_its_deadline_breaks_off_and_its_work_stops() {
    let mut server = Server::new();
    server.repo("a", "b").await;
    long::place_files(&server, "a", "b", FILES).await;
    let whole_bytes = {
        let path = format!("{BASE}/namespaces/a/repos/b/archive/main.tar");
        let request = Request::builder().uri(path).header("authorization", format!("Bearer {API_TOKEN}"));
        let request = request.body(Body::empty()).expect("a request");
        let response = server.edge.clone().call(request).await.expect("edges do not fail");
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.expect("a body").to_bytes().len()
    };
    assert!(whole_bytes > FILES as usize * 1_024, "{whole_bytes} bytes");
    // Time must be up between the head and the end; how long those take is the machine's affair, so all times are tried.
    let end = Instant::now() + Duration::from_secs(60);
    for rest_deadline_ms in (0..8).map(|power| 1 << power).cycle() {
        let patience = Patience { rest_deadline_ms, ..Patience::default() };
        server = server.again(|config| Config { patience, ..config });
        if breaks_off(&server, whole_bytes).await {
            rest(&server).await;
            assert!(stopped_works(&server) > 0, "the work heard that it is to stop");
            return;
        }
        rest(&server).await;
        assert!(Instant::now() < end, "no archive broke off");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_client_went_away_stops() {
    let server = Server::new();
    server.repo("a", "b").await;
    long::place(&server, "a", "b", COMMITS).await;
    // Where the walk is over before its client goes, another is begun.
    let end = Instant::now() + Duration::from_secs(60);
    while stopped_works(&server) == 0 {
        assert!(Instant::now() < end, "no walk stopped when its client went away");
        let mut answer = Box::pin(server.edge.clone().call(walk_request()));
        // Until a thread is at it; then the future is dropped, as it is when the connection ends.
        poll_fn(|cx| {
            let polled: Poll<Result<Response<Body>, _>> = answer.as_mut().poll(cx);
            cx.waker().wake_by_ref();
            let works = server.app.metrics.work().working.get() > 0 || polled.is_ready();
            if works { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        drop(answer);
        rest(&server).await;
    }
}

/// What was opened for a request that is to end.
async fn stopped<T>(why: Stopped, work: impl FnOnce() -> T) -> T {
    let stop = Stop::new(&Metrics::default());
    stop.say(why);
    stop.around(async { work() }).await
}

#[tokio::test]
async fn a_snapshot_of_a_request_that_ends_reads_nothing_more() {
    let server = Server::new();
    server.repo("a", "b").await;
    let tip = long::place(&server, "a", "b", 3).await;
    let row = server.app.catalog.resolve("a", "b").await.expect("an answer").expect("a repository");
    let served = server.app.served(&row).expect("opens");
    let at = served.snapshot().expect("opens").lookup(&tip).expect("reads").expect("it is there");
    let snapshot = stopped(Stopped::Gone, || served.snapshot().expect("opens")).await;
    let name = "the client went away";
    assert_eq!(snapshot.lookup(&tip).expect_err("no more").to_string(), name);
    assert_eq!(snapshot.lookup_many(&[tip]).expect_err("no more").to_string(), name);
    assert_eq!(snapshot.record(at).expect_err("no more").to_string(), name);
    assert_eq!(snapshot.records(0, 0..1, &mut |_, _| {}).expect_err("no more").to_string(), name);
    assert_eq!(snapshot.commit(at).expect_err("no more").to_string(), name);
    assert_eq!(snapshot.pack_bytes(0, 1, 0, &mut [0]).expect_err("no more").to_string(), name);
    let refs = snapshot.refs(b"", &mut |_| true);
    assert!(matches!(refs, Err(StoreError::Stopped(Stopped::Gone))), "{refs:?}");
    assert_eq!(snapshot.to_the_end().refs_count().expect("what must go on goes on"), 1);
}

#[tokio::test]
async fn a_push_that_is_stopped_makes_no_entry_and_the_next_one_does() {
    let server = Server::new();
    server.repo("a", "b").await;
    let row = server.app.catalog.resolve("a", "b").await.expect("an answer").expect("a repository");
    let served = server.app.served(&row).expect("opens");
    let (pack, tip) = long::pack(HashAlgo::Sha1, 3);
    let mut spool = Spool::default();
    spool.write(server.folder.path(), &pack).expect("it is kept");
    let line = format!("{} {tip} refs/heads/main\0report-status", "0".repeat(40));
    let line = format!("{}0000", pkt(&line));
    let parsed =
        cairn_protocol::receive_pack::parse_push(line.as_bytes(), HashAlgo::Sha1).expect("a request");
    let cairn_protocol::receive_pack::Parsed::Done { value: request, .. } = parsed else {
        panic!("not whole")
    };
    let by = || By { kind: EntryKind::Push, actor: "tests".into(), time_ms: 0, nonce: [1; 16] };
    let pushed = stopped(Stopped::Gone, || push(&served, &request, Some(&spool), by(), &mut |_| {})).await;
    assert!(matches!(pushed, Err(OpError::Stopped(Stopped::Gone))), "it is no fault of the pack");
    assert_eq!(served.snapshot().expect("opens").seq(), 0);
    let pushed = push(&served, &request, Some(&spool), by(), &mut |_| {}).expect("nothing stops it");
    assert_eq!((pushed.unpack, pushed.seq), (Ok(()), Some(1)));
}
