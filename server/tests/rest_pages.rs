//! Pagination over 60 repositories.

#[path = "support/server.rs"]
mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use support::Server;

async fn sixty() -> Server {
    let server = Server::new();
    for at in 0..60 {
        server.now.fetch_add(1, Ordering::SeqCst);
        // Names run against the order of creation.
        server.repo("many", &format!("r{:02}-{}", 59 - at, if at % 3 == 0 { "x_y" } else { "xzy" })).await;
    }
    server
}

fn names(body: &Value) -> Vec<String> {
    let items = body["result"].as_array().expect("a list").iter();
    items.map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
}

fn info_keys(body: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> =
        body["result_info"].as_object().expect("info").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

const OFFSET: [&str; 5] = ["count", "page", "per_page", "total_count", "total_pages"];

#[tokio::test]
async fn page_numbers_walk_the_list_newest_first() {
    let server = sixty().await;
    let mut seen = Vec::new();
    for page in 1.. {
        let answer = server.get(&format!("/namespaces/many/repos?page={page}")).await;
        assert_eq!(info_keys(&answer.body), OFFSET);
        seen.extend(names(&answer.body));
        let info = &answer.body["result_info"];
        if page * info["per_page"].as_u64().expect("a number")
            >= info["total_count"].as_u64().expect("a number")
        {
            break;
        }
    }
    assert_eq!(seen.len(), 60);
    assert!(seen[0].starts_with("r00") && seen[59].starts_with("r59"));
    let last = server.get("/namespaces/many/repos?page=9&per_page=7").await;
    assert_eq!(names(&last.body).len(), 4);
    let info = json!({"page": 9, "per_page": 7, "total_pages": 9, "count": 4, "total_count": 60});
    assert_eq!(last.body["result_info"], info);
    let beyond = server.get("/namespaces/many/repos?page=10&per_page=7").await;
    assert_eq!((beyond.status, beyond.result()), (200, &json!([])));
}

#[tokio::test]
async fn cursors_walk_every_order_without_gap_or_repeat() {
    let server = sixty().await;
    for order in [
        "",
        "&sort=name",
        "&sort=name&direction=desc",
        "&sort=updated_at",
        "&sort=last_push_at",
        "&direction=asc",
        "&search=R",
        "&search=-X&sort=name",
    ] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let answer = server.get(&format!("/namespaces/many/repos?limit=17&cursor={cursor}{order}")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            seen.extend(names(&answer.body));
            match answer.body["result_info"]["cursor"].as_str() {
                Some(next) => {
                    assert_eq!(info_keys(&answer.body), ["count", "cursor", "per_page"]);
                    cursor = next.to_owned();
                }
                None => {
                    assert_eq!(info_keys(&answer.body), OFFSET);
                    assert_eq!(answer.body["result_info"]["page"], 4, "{order}");
                    break;
                }
            }
        }
        assert_eq!(seen.len(), 60, "{order}");
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 60, "{order}");
        let up = order.contains("name") && !order.contains("desc");
        let falls = order.contains("desc") || order.contains("asc");
        assert!(
            if falls && !up { seen.is_sorted_by(|a, b| a > b) } else { seen.is_sorted() },
            "{order} {seen:?}"
        );
    }
}

#[tokio::test]
async fn a_plain_list_has_both_kinds_of_info_and_search_takes_signs_as_they_are() {
    let server = sixty().await;
    let plain = server.get("/namespaces/many/repos").await;
    assert_eq!(names(&plain.body).len(), 50);
    assert!(plain.body["result_info"]["cursor"].is_string());
    assert_eq!(plain.body["result_info"]["total_count"], 60);
    let cursor = plain.body["result_info"]["cursor"].as_str().expect("a cursor");
    let rest = server.get(&format!("/namespaces/many/repos?cursor={cursor}")).await;
    assert_eq!(names(&rest.body).len(), 10);

    let found = server.get("/namespaces/many/repos?search=X_Y").await;
    assert_eq!((names(&found.body).len(), &found.body["result_info"]["total_count"]), (20, &json!(20)));
    assert_eq!(server.get("/namespaces/many/repos?search=%25").await.result(), &json!([]));
    let missing = server.get("/namespaces/none/repos").await;
    assert_eq!((missing.status, missing.result()), (200, &json!([])));
}

#[tokio::test]
async fn namespaces_are_paged_too() {
    let server = Server::new();
    for at in 0..5 {
        server.post("/namespaces", &format!(r#"{{"namespace":"n{at}"}}"#)).await;
    }
    let first = server.get("/namespaces?limit=2").await;
    assert_eq!(first.result()[0]["namespace"], "n4");
    let cursor = first.body["result_info"]["cursor"].as_str().expect("a cursor");
    let second = server.get(&format!("/namespaces?limit=2&cursor={cursor}")).await;
    assert_eq!(second.result()[0]["namespace"], "n2");
    assert_eq!(server.get("/namespaces").await.body["result_info"]["total_count"], 5);
}
