//! `GET .../log` beside `git log` and `git rev-list`.

#[path = "support/server.rs"]
mod server;
#[path = "support/stock.rs"]
mod stock;

use serde_json::Value;
use stock::{Local, Stock};

fn hashes(result: &Value) -> Vec<String> {
    let hash = |commit: &Value| commit["hash"].as_str().expect("a hash").to_owned();
    result.as_array().expect("a list").iter().map(hash).collect()
}

/// Two lines of history that meet; each commit a second after the one before.
fn history(local: &Local) {
    for n in 0..6 {
        local.write(&format!("a/{n}.txt"), format!("{n}\n"));
        local.write("a/deep/down.txt", format!("{}\n", n / 3));
        local.commit(&format!("main {n}\n\nbody\n"), 1_700_000_000 + 2 * n);
    }
    local.git(&["checkout", "-q", "-b", "feature/x", "HEAD~3"]);
    for n in 0..4 {
        local.write(&format!("b/{n}.txt"), format!("{n}\n"));
        local.commit(&format!("side {n}"), 1_700_000_005 + 2 * n);
    }
    local.git(&["checkout", "-q", "main"]);
    local.git(&["merge", "-q", "--no-ff", "-m", "meet", "feature/x"]);
    local.git(&["tag", "-a", "-m", "one", "v1", "HEAD~1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_that_of_git_in_both_formats() {
    let stock = Stock::new().await;
    for format in ["sha1", "sha256"] {
        let local = stock.repo(format, format).await;
        history(&local);
        stock.push(&local, &["main", "feature/x", "v1"]).await;
        let first = hashes(&stock.result(&format!("{format}/log?ref=main")).await);
        assert_eq!(first, local.lines(&["rev-list", "--first-parent", "main"]));
        assert_eq!(
            hashes(&stock.result(&format!("{format}/log")).await),
            first,
            "HEAD where no ref is named"
        );
        for name in ["v1", "feature%2Fx", "feature/x", "refs/heads/feature/x", &first[3]] {
            let plain = name.replace("%2F", "/");
            let want = local.lines(&["rev-list", "--first-parent", &plain]);
            assert_eq!(hashes(&stock.result(&format!("{format}/log?ref={name}")).await), want, "{name}");
        }
        let all = hashes(&stock.result(&format!("{format}/log?ref=main&all=true")).await);
        assert_eq!(all, local.lines(&["rev-list", "main"]));

        let pages = [(3, 0), (3, 2), (1000, 4), (1, 99)];
        for (limit, offset) in pages {
            let (count, skip) = (format!("-n{limit}"), format!("--skip={offset}"));
            let path = format!("{format}/log?limit={limit}&offset={offset}");
            let want = local.lines(&["rev-list", "--first-parent", &count, &skip, "main"]);
            assert_eq!(hashes(&stock.result(&path).await), want, "{path}");
            let want = local.lines(&["rev-list", &count, &skip, "main"]);
            assert_eq!(hashes(&stock.result(&format!("{path}&all=true")).await), want, "{path}, all");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_has_the_documented_shape() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    history(&local);
    stock.push(&local, &["main"]).await;
    let result = stock.result("x/log?limit=2").await;
    let merge = &result[0];
    let fields = |format: &str| local.git(&["log", "-1", &format!("--format={format}"), "main"]);
    assert_eq!(merge["treeHash"], fields("%T"));
    assert_eq!(merge["message"], "meet");
    assert_eq!(merge["author"], serde_json::json!({ "name": "A U Thor", "email": "a@example.com" }));
    assert_eq!(merge["committer"]["email"], "a@example.com");
    let parents: Vec<_> = fields("%P").split(' ').map(str::to_owned).collect();
    assert_eq!(merge["parents"], serde_json::json!(parents));
    assert_eq!(merge["authoredAt"], 1_700_000_000);
    assert_eq!(merge["committedAt"].to_string(), fields("%ct"));
    assert_eq!(result[1]["message"], "main 5\n\nbody", "one newline is cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_has_the_commits_that_change_it() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    history(&local);
    local.git(&["rm", "-rq", "a/deep"]);
    local.commit("remove", 1_700_001_000);
    stock.push(&local, &["main"]).await;
    for path in ["a/deep/down.txt", "a/deep", "a", "b", "b/2.txt", "a/4.txt", "none", "a/4.txt/below"] {
        let want = local.lines(&["rev-list", "--first-parent", "main", "--", path]);
        assert_eq!(hashes(&stock.result(&format!("x/log?path={path}")).await), want, "{path}");
        let limited = hashes(&stock.result(&format!("x/log?path={path}&limit=1&offset=1")).await);
        assert_eq!(limited, want.get(1..2).unwrap_or_default(), "{path}");
    }
    assert_eq!(
        hashes(&stock.result("x/log?path=/a//deep/").await).len(),
        3,
        "slashes too many are passed over"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_go_on_in_the_same_history_when_the_ref_moves() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    history(&local);
    stock.push(&local, &["main"]).await;
    for more in ["", "&all=true", "&path=a"] {
        let mut args = vec!["rev-list"];
        if more != "&all=true" {
            args.push("--first-parent");
        }
        args.push("main");
        if more == "&path=a" {
            args.extend(["--", "a"]);
        }
        let want = local.lines(&args);
        let (mut got, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = stock.get(&format!("x/log?limit=2{more}&cursor={cursor}")).await.json();
            got.extend(hashes(&answer["result"]));
            let Some(next) = answer["result_info"]["cursor"].as_str() else { break };
            cursor = next.to_owned();
            local.commit("more", 1_700_002_000);
            stock.push(&local, &["main"]).await;
        }
        assert_eq!(got, want, "{more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_an_empty_log_and_bad_numbers_are_named() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    let empty = stock.get("x/log").await;
    assert_eq!(
        (empty.status, empty.json()["result"].clone()),
        (200, serde_json::json!([])),
        "an empty repository"
    );
    history(&local);
    stock.push(&local, &["main"]).await;
    let unknown = "1".repeat(40);
    for name in ["nothing", unknown.as_str(), "..", "%ff", "main~1"] {
        assert_eq!(stock.result(&format!("x/log?ref={name}")).await, serde_json::json!([]), "{name}");
    }
    assert_eq!(stock.get("none/log").await.error().2, "Repository not found");
    let cases = [
        ("limit=0", "/limit"),
        ("limit=1001", "/limit"),
        ("limit=x", "/limit"),
        ("offset=-1", "/offset"),
        ("all=perhaps", "/all"),
        ("at=yesterday", "/at"),
        ("at=99", "/at"),
        ("cursor=!", "/cursor"),
    ];
    for (query, pointer) in cases {
        let (status, code, _, at) = stock.get(&format!("x/log?{query}")).await.error();
        assert_eq!((status, code, at.as_str()), (400, 10100, pointer), "{query}");
    }
    assert_eq!(
        hashes(&stock.result("x/log?limit=&offset=&cursor=&ref=&at=").await).len(),
        7,
        "empty is absent"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_shows_its_base_as_of_the_fork_and_at_tells_moments() {
    let stock = Stock::new().await;
    let local = stock.repo("base", "sha1").await;
    let first = local.commit("one", 1_700_000_000);
    stock.push(&local, &["main"]).await;
    stock.server.now.fetch_add(60_000, std::sync::atomic::Ordering::SeqCst);
    let made = stock.server.post("/namespaces/team/repos/base/fork", "{\"name\":\"fork\"}").await;
    assert_eq!(made.status, 201, "{}", made.body);
    let second = local.commit("two", 1_700_000_010);
    stock.push(&local, &["main"]).await;

    assert_eq!(hashes(&stock.result("fork/log").await), [first.as_str()]);
    assert_eq!(hashes(&stock.result("base/log").await), [second.clone(), first.clone()]);
    assert_eq!(hashes(&stock.result("base/log?at=1").await), [first.as_str()]);
    assert_eq!(stock.result("base/log?at=0").await, serde_json::json!([]));
    assert_eq!(hashes(&stock.result("fork/log?at=0").await), [first.as_str()], "before its first entry");
    let before = stock.result("fork/log?at=2023-11-14T22:13:30Z").await;
    assert_eq!(hashes(&before), [first.as_str()], "before the fork was made: its base then");
    assert_eq!(stock.result("fork/log?at=2020-01-01T00:00:00Z").await, serde_json::json!([]));
    assert_eq!(
        stock.result(&format!("fork/log?ref={second}")).await,
        serde_json::json!([]),
        "not the fork's"
    );

    let tagged = stock.get("base/log").await;
    let tag = tagged.header("etag").to_owned();
    assert_eq!(tagged.header("cache-control"), "private, no-cache");
    assert_eq!(stock.ask("GET", "base/log", &[("if-none-match", &tag)]).await.status, 304);
    local.commit("three", 1_700_000_020);
    stock.push(&local, &["main"]).await;
    assert_eq!(stock.ask("GET", "base/log", &[("if-none-match", &tag)]).await.status, 200, "it has changed");
    let fixed = stock.get("base/log?ref=main&at=1").await;
    assert_eq!(fixed.header("cache-control"), "private, max-age=31536000, immutable");
    assert_eq!(
        stock.get("base/log?at=1").await.header("cache-control"),
        "private, no-cache",
        "HEAD is a setting"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_are_large_or_strange_are_shown() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    local.write("a", "a\n");
    let first = local.commit("one", 1_700_000_000);
    let tree = local.git(&["rev-parse", "main^{tree}"]);
    let who = "\u{c5}ngstr\u{f6}m <a@b> 1700000001 +0530";
    let large = "line\n".repeat(400_000);
    let text = format!("tree {tree}\nparent {first}\nauthor {who}\ncommitter {who}\n\n{large}");
    let second = local.object("commit", text.as_bytes());
    let head = format!("tree {tree}\nparent {second}\nauthor {who}\ncommitter {who}\nencoding latin1\n\n");
    let third = local.object("commit", &[head.as_bytes(), b"gr\xfcn\n\n"].concat());
    local.git(&["update-ref", "refs/heads/main", &third]);
    stock.push(&local, &["main"]).await;
    let log = stock.result("x/log").await;
    assert_eq!(hashes(&log), [third, second.clone(), first]);
    assert_eq!(
        log[0]["message"], "gr\u{fffd}n\n",
        "bytes that are not UTF-8 are replaced, one newline is cut"
    );
    assert_eq!(log[0]["author"]["name"], "\u{c5}ngstr\u{f6}m");
    assert_eq!(log[1]["message"].as_str().map(str::len), Some(large.len() - 1));
    assert_eq!(
        (&log[1]["authoredAt"], &log[1]["committedAt"]),
        (&1_700_000_001.into(), &1_700_000_001.into())
    );
    assert_eq!(stock.result(&format!("x/commit/{second}")).await, log[1]);
}
