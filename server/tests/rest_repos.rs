//! Repositories and namespaces over REST: shapes, statuses, names, races, restarts.

#[path = "support/server.rs"]
mod support;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use support::{API_TOKEN, Server};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn create_and_get_have_the_shapes_of_the_contract() {
    let server = Server::new();
    let made =
        server.post("/namespaces/Team/repos", r#"{"name":"My.Repo","description":"d","unknown":1}"#).await;
    assert_eq!(made.status, 201);
    assert_eq!(keys(&made.body), ["errors", "messages", "result", "success"]);
    assert_eq!(keys(made.result()), ["default_branch", "description", "id", "name", "remote", "token"]);
    assert_eq!(made.text("remote"), "http://cairn.test/git/Team/My.Repo.git");
    assert_eq!(made.text("id").len(), 16);
    assert_eq!(made.text("default_branch"), "main");
    assert!(made.headers.contains_key("x-request-id"));

    let got = server.get("/namespaces/team/repos/my.repo").await;
    assert_eq!(got.status, 200);
    let want = json!({
        "id": made.text("id"), "name": "My.Repo", "description": "d", "default_branch": "main",
        "object_format": "sha1", "created_at": "2023-11-14T22:13:20.000Z", "updated_at": "2023-11-14T22:13:20.000Z",
        "last_push_at": null, "source": null, "read_only": false, "remote": made.text("remote"),
    });
    assert_eq!(*got.result(), want);

    let listed = server.get("/namespaces/TEAM/repos").await;
    let mut in_list = want;
    in_list["status"] = "ready".into();
    assert_eq!(listed.body["result"], json!([in_list]));
    let space = server.get("/namespaces/team").await;
    assert_eq!(keys(space.result()), ["created_at", "jurisdiction", "namespace", "repo_count", "updated_at"]);
    assert_eq!((space.text("namespace").as_str(), space.result()["repo_count"].as_u64()), ("Team", Some(1)));
}

#[tokio::test]
async fn errors_carry_the_codes_and_pointers_of_the_contract() {
    let server = Server::new();
    server.repo("a", "taken").await;
    let repos = "/namespaces/a/repos";
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(64));
    let cases = [
        ("POST", repos, r#"{"name":"TAKEN"}"#, (409, 10201, "/name"), "names ignore case"),
        ("POST", repos, r#"{"name":"x.git"}"#, (400, 10101, "/name"), "ending"),
        ("POST", repos, long.as_str(), (400, 10101, "/name"), "64 characters"),
        ("POST", repos, "{}", (400, 10101, "/name"), "no name"),
        ("POST", repos, "", (400, 10101, "/name"), "no body"),
        ("POST", repos, r#"{"name":7}"#, (400, 10100, "/name"), "wrong type"),
        ("POST", repos, r#"{"name":"b","read_only":"x"}"#, (400, 10100, "/read_only"), "wrong type"),
        (
            "POST",
            repos,
            r#"{"name":"b","default_branch":"a..b"}"#,
            (400, 10100, "/default_branch"),
            "bad branch",
        ),
        (
            "POST",
            repos,
            r#"{"name":"b","object_format":"md5"}"#,
            (400, 10100, "/object_format"),
            "unknown hash",
        ),
        ("POST", repos, "{", (400, 10100, ""), "not JSON"),
        ("POST", repos, "[]", (400, 10100, ""), "not an object"),
        ("POST", "/namespaces/-x/repos", r#"{"name":"b"}"#, (400, 10100, "/namespace"), "bad namespace"),
        ("POST", "/namespaces", r#"{"namespace":"A"}"#, (409, 10201, ""), "namespace exists"),
        ("POST", "/namespaces", r#"{"namespace":"a b"}"#, (400, 10100, "/namespace"), "bad namespace"),
        ("GET", "/namespaces/zz", "", (404, 10200, ""), "no namespace"),
        ("GET", "/namespaces/a/repos/zz", "", (404, 10200, ""), "no repository"),
        ("DELETE", "/namespaces/a/repos/zz", "", (404, 10200, ""), "never existed"),
        ("DELETE", "/namespaces/zz", "", (404, 10200, ""), "no namespace"),
        ("DELETE", "/namespaces/a", "", (409, 10100, ""), "holds repositories"),
        ("POST", "/namespaces/a/repos/zz/fork", r#"{"name":"b"}"#, (404, 10200, ""), "no base"),
        (
            "POST",
            "/namespaces/a/repos/taken/fork",
            r#"{"name":"taken"}"#,
            (409, 10201, "/name"),
            "onto itself",
        ),
        ("GET", "/namespaces/a/repos?limit=201", "", (400, 10100, "/limit"), "beyond the limit"),
        ("GET", "/namespaces/a/repos?cursor=%21", "", (400, 10100, "/cursor"), "bad cursor"),
        ("GET", "/namespaces/a/repos?sort=size", "", (400, 10100, "/sort"), "unknown order"),
        ("GET", "/nowhere", "", (404, 10200, ""), "unknown route"),
        ("PUT", "/namespaces", "", (405, 10100, ""), "unknown method"),
        ("GET", "/client/v4/accounts/other/artifacts/namespaces", "", (403, 10107, ""), "another account"),
    ];
    for (method, path, body, want, why) in cases {
        let answer = server.ask(method, path, body).await;
        assert_eq!(answer.error(), want, "{why}: {method} {path} {body} → {}", answer.body);
        assert_eq!((&answer.body["result"], &answer.body["success"]), (&Value::Null, &json!(false)), "{why}");
        assert!(answer.body["messages"].is_array(), "{why}");
        let docs = answer.body["errors"][0]["documentation_url"].as_str().expect("a link");
        assert_eq!(docs, format!("http://cairn.test/docs/errors#{}", want.1), "{why}");
    }
    let taken = server.post(repos, r#"{"name":"TAKEN"}"#).await;
    assert_eq!(taken.body["errors"][0]["message"], "repo already exists: TAKEN");
    let large = format!(r#"{{"name":"b","description":"{}"}}"#, "x".repeat(300_000));
    assert_eq!(server.post(repos, &large).await.status, 413);
}

#[tokio::test]
async fn rest_opens_with_the_api_token_alone() {
    let server = Server::new();
    let repo_token = server.repo("a", "b").await;
    let cases = [
        (None, 401),
        (Some(("authorization", format!("Bearer {API_TOKEN}"))), 200),
        (Some(("authorization", format!("bearer {API_TOKEN}"))), 200),
        (Some(("x-auth-key", API_TOKEN.to_owned())), 200),
        (Some(("authorization", format!("Bearer {API_TOKEN}x"))), 401),
        (Some(("authorization", "Bearer ".to_owned())), 401),
        (Some(("authorization", format!("Bearer {repo_token}"))), 401),
        (Some(("authorization", format!("Basic {API_TOKEN}"))), 401),
    ];
    for (header, want) in cases {
        for path in
            ["/client/v4/accounts/local/artifacts/namespaces", "/v1/api/namespaces", "/client/v4/user"]
        {
            let mut request = Request::builder().uri(path);
            if let Some((name, value)) = &header {
                request = request.header(*name, value);
            }
            let answer = server.send(request.body(Body::empty()).expect("a request")).await;
            assert_eq!(answer.status, want, "{header:?} {path}");
            if want == 401 {
                assert_eq!(answer.error().1, 10000);
                assert_eq!(answer.body["errors"][0]["message"], "Authentication error");
            }
        }
    }
}

#[tokio::test]
async fn clumsy_paths_and_queries_are_understood() {
    let server = Server::new();
    server.repo("a", "b").await;
    for path in [
        "/client/v4//accounts/local/artifacts//namespaces/a//repos/b",
        "/v1/api/namespaces/a/repos/b",
        "/namespaces/%61/repos/%62",
    ] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    let listed =
        server.get("/namespaces/a/repos?cursor=&search=&page=&limit=&sort=&direction=&other=1").await;
    assert_eq!(listed.result().as_array().map(Vec::len), Some(1));
    assert_eq!(server.get("/namespaces/a/repos/%ff").await.status, 400);
    for path in ["user/tokens/verify", "user", "accounts?page=1", "memberships?page=1"] {
        assert_eq!(server.get(&format!("/client/v4/{path}")).await.status, 200, "{path}");
    }
    let accounts = server.get("/client/v4/accounts?page=2").await;
    assert_eq!((accounts.result(), &accounts.body["result_info"]["total_count"]), (&json!([]), &json!(1)));
}

#[tokio::test]
async fn delete_answers_twice_and_a_new_repository_is_another_one() {
    let server = Server::new();
    server.repo("a", "b").await;
    let first = server.ask("DELETE", "/namespaces/a/repos/B", "").await;
    assert_eq!(first.status, 202);
    let again = server.ask("DELETE", "/namespaces/a/repos/b", "").await;
    assert_eq!((again.status, again.text("id")), (202, first.text("id")));
    assert_eq!(server.get("/namespaces/a/repos/b").await.status, 404);
    server.repo("a", "b").await;
    assert_ne!(server.get("/namespaces/a/repos/b").await.text("id"), first.text("id"));

    assert_eq!(server.ask("DELETE", "/namespaces/a", "").await.status, 409);
    let forced = server.ask("DELETE", "/namespaces/a?force=true", "").await;
    assert_eq!((forced.status, forced.body), (204, Value::Null));
    assert_eq!(server.get("/namespaces/a/repos").await.result(), &json!([]));
    server.repo("a", "b").await;
    assert_eq!(server.get("/namespaces/a").await.result()["repo_count"], 1);
}

#[tokio::test]
async fn patch_changes_what_it_names() {
    let server = Server::new();
    server.post("/namespaces/a/repos", r#"{"name":"b","description":"old","object_format":"sha256"}"#).await;
    let path = "/namespaces/a/repos/b";
    let changed = server.ask("PATCH", path, r#"{"default_branch":"dev","read_only":true}"#).await;
    assert_eq!(changed.status, 200);
    let result = changed.result();
    assert_eq!((&result["description"], &result["default_branch"]), (&json!("old"), &json!("dev")));
    assert_eq!((&result["read_only"], &result["object_format"]), (&json!(true), &json!("sha256")));
    let cleared = server.ask("PATCH", path, r#"{"description":null}"#).await;
    assert_eq!(
        (&cleared.result()["description"], &cleared.result()["read_only"]),
        (&Value::Null, &json!(true))
    );
}

#[tokio::test]
async fn of_many_creates_of_one_name_one_wins() {
    let server = Server::new();
    let racers: Vec<_> = (0..32)
        .map(|at| {
            let body = format!(r#"{{"name":"{}"}}"#, if at % 2 == 0 { "same" } else { "SAME" });
            let request = Request::post("/v1/api/namespaces/a/repos").header("x-auth-key", API_TOKEN);
            let request = request.body(Body::from(body)).expect("a request");
            let mut edge = server.edge.clone();
            tokio::spawn(async move {
                tower_service::Service::call(&mut edge, request)
                    .await
                    .expect("edges do not fail")
                    .status()
                    .as_u16()
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for racer in racers {
        statuses.push(racer.await.expect("no panic"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|status| *status == 409), "{statuses:?}");
    assert_eq!(server.get("/namespaces/a").await.result()["repo_count"], 1);
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let server = Server::new();
    server.repo("a", "b").await;
    let before = server.get("/namespaces/a/repos/b").await.body;
    let server = server.restart();
    assert_eq!(server.get("/namespaces/a/repos/b").await.body, before);
    assert_eq!(server.get("/namespaces/a/repos/b/tokens").await.result().as_array().map(Vec::len), Some(1));
}
