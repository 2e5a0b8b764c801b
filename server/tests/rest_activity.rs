//! The log of a repository, and how much it holds.

#[path = "support/server.rs"]
mod server;
#[path = "support/stock.rs"]
mod stock;

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use stock::Stock;

fn seqs(result: &Value) -> Vec<u64> {
    result.as_array().expect("a list").iter().filter_map(|entry| entry["seq"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_tells_who_did_what_to_which_ref_and_when() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    assert_eq!(stock.result("x/activity").await, json!([]), "an empty repository");
    let first = local.commit("one", 1_700_000_000);
    stock.push(&local, &["main", "main:refs/heads/b"]).await;
    stock.server.now.fetch_add(1_500, Ordering::SeqCst);
    let second = local.commit("two", 1_700_000_001);
    stock.push(&local, &["main"]).await;
    stock.server.now.fetch_add(1_000, Ordering::SeqCst);
    stock.push(&local, &[":b"]).await;
    let entries = stock.result("x/activity").await;
    assert_eq!(seqs(&entries), [3, 2, 1]);
    assert_eq!(entries[0]["ref_changes"], json!([{ "name": "refs/heads/b", "old": first, "new": null }]));
    assert_eq!(
        entries[1]["ref_changes"],
        json!([{ "name": "refs/heads/main", "old": first, "new": second }])
    );
    let made = json!([
        { "name": "refs/heads/b", "old": null, "new": first },
        { "name": "refs/heads/main", "old": null, "new": first },
    ]);
    assert_eq!((&entries[2]["ref_changes"], &entries[2]["ref_changes_count"]), (&made, &json!(2)));
    assert_eq!(entries[1]["time"], "2023-11-14T22:13:21.500Z");
    assert_eq!(entries[2]["kind"], "push");
    assert!(entries[2]["actor"].as_str().is_some_and(|actor| actor.starts_with("token:")), "{}", entries[2]);

    assert_eq!(seqs(&stock.result("x/activity?at=2").await), [2, 1]);
    assert_eq!(seqs(&stock.result("x/activity?at=2023-11-14T22:13:21.499Z").await), [1]);
    let fixed = stock.get("x/activity?at=2").await;
    assert_eq!(fixed.header("cache-control"), "private, max-age=31536000, immutable");
    let tag = stock.get("x/activity").await.header("etag").to_owned();
    assert_eq!(stock.ask("GET", "x/activity", &[("if-none-match", &tag)]).await.status, 304);
    local.commit("three", 1_700_000_002);
    stock.push(&local, &["main"]).await;
    assert_eq!(stock.ask("GET", "x/activity", &[("if-none-match", &tag)]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_is_paged_and_new_entries_do_not_move_the_others() {
    let stock = Stock::new().await;
    stock.server.repo("team", "x").await;
    stock.server.append("team", "x", 7).await;
    let second = stock.get("x/activity?page=2&per_page=3").await.json();
    assert_eq!(seqs(&second["result"]), [4, 3, 2]);
    let info = &second["result_info"];
    assert_eq!((&info["total_count"], &info["total_pages"]), (&json!(7), &json!(3)));
    assert_eq!(seqs(&stock.result("x/activity?page=9&per_page=3").await), [0_u64; 0]);
    let (mut got, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = stock.get(&format!("x/activity?limit=3&cursor={cursor}")).await.json();
        got.extend(seqs(&page["result"]));
        let Some(next) = page["result_info"]["cursor"].as_str() else { break };
        cursor = next.to_owned();
        stock.server.append("team", "x", 1).await;
    }
    assert_eq!(got, [7, 6, 5, 4, 3, 2, 1]);
    for (query, pointer) in
        [("limit=0", "/limit"), ("limit=101", "/limit"), ("cursor=!", "/cursor"), ("at=x", "/at")]
    {
        assert_eq!(stock.get(&format!("x/activity?{query}")).await.error().3, pointer, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_many_refs_shows_the_first_and_their_number() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    let commit = local.commit("one", 1_700_000_000);
    let updates: String = (0..1_200).map(|n| format!("create refs/tags/{n:04} {commit}\n")).collect();
    std::fs::write(local.path.join(".git/updates"), updates).expect("a file");
    local.git(&["-c", "alias.u=!git update-ref --stdin < .git/updates", "u"]);
    stock.push(&local, &["--tags"]).await;
    let entries = stock.result("x/activity").await;
    assert_eq!(entries[0]["ref_changes"].as_array().map(Vec::len), Some(1_000));
    assert_eq!(entries[0]["ref_changes"][999]["name"], "refs/tags/0999");
    assert_eq!(entries[0]["ref_changes_count"], 1_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_tells_own_and_shared_apart() {
    let stock = Stock::new().await;
    let local = stock.repo("base", "sha1").await;
    let empty = json!({ "bytes": 0, "objects": 0, "packs": 0, "entries": 0 });
    let nothing = stock.result("base/usage").await;
    assert_eq!((&nothing["own"], &nothing["shared"], &nothing["objects"]), (&empty, &empty, &json!(0)));
    local.write("a", "one\n");
    local.commit("one", 1_700_000_000);
    stock.push(&local, &["main"]).await;
    let base = stock.result("base/usage").await;
    assert_eq!(base["own"]["objects"], 3, "a blob, a tree and a commit");
    assert_eq!((&base["own"]["packs"], &base["own"]["entries"]), (&json!(1), &json!(1)));
    assert!(base["bytes"].as_u64().is_some_and(|bytes| (100..1_000).contains(&bytes)), "{base}");

    let made = stock.server.post("/namespaces/team/repos/base/fork", "{\"name\":\"fork\"}").await;
    let fork = stock.result("fork/usage").await;
    assert_eq!((&fork["own"], &fork["shared"]), (&empty, &base["own"]));
    stock.connect(&local, "fork", &made.text("token"));
    local.commit("two", 1_700_000_001);
    stock.push(&local, &["main"]).await;
    let fork = stock.result("fork/usage").await;
    assert_eq!(
        (&fork["own"]["objects"], &fork["own"]["entries"]),
        (&json!(1), &json!(1)),
        "the commit alone"
    );
    assert_eq!((&fork["shared"], &fork["objects"]), (&base["own"], &json!(4)));
    assert_eq!(stock.result("base/usage").await, base, "the base does not see it");
    assert_eq!(stock.result("fork/usage?at=0").await["own"], empty);
    assert_eq!(stock.result("base/usage?at=0").await["own"], empty);
    let activity = stock.result("fork/activity").await;
    assert_eq!(seqs(&activity), [1], "its own log");
}
