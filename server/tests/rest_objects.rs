//! Commits, trees, blobs, refs and listings beside `git cat-file`, `ls-tree` and `for-each-ref`.

#[path = "support/server.rs"]
mod server;
#[path = "support/stock.rs"]
mod stock;

use serde_json::{Value, json};
use stock::{Local, Stock};

/// A tree with every type of entry.
fn types(local: &Local) {
    local.write("plain.txt", "plain\n");
    local.write("empty", "");
    local.write("dir/run.sh", "#!/bin/sh\n");
    local.write("dir/sub/deep.bin", [0, 1, 2, 255]);
    local.write("dir.txt", "sorts between dir and dir/\n");
    local.write("gr\u{fc}n \"x\".txt", "name\n");
    std::os::unix::fs::symlink("plain.txt", local.path.join("link")).expect("a link");
    local.git(&["add", "-A"]);
    local.git(&["update-index", "--chmod=+x", "dir/run.sh"]);
    let module = if local.git(&["rev-parse", "--show-object-format"]) == "sha1" { 40 } else { 64 };
    local.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{},module", "7".repeat(module))]);
    local.git(&["commit", "-q", "-m", "types"]);
}

/// `git ls-tree` as our entries, with sizes where `-l` is given.
fn ls_tree(local: &Local, args: &[&str]) -> Vec<Value> {
    let out = local.git(&[&["ls-tree", "-z", "-l"], args].concat());
    let entry = |line: &str| {
        let (head, path) = line.split_once('\t').expect("a tab");
        let parts: Vec<&str> = head.split_ascii_whitespace().collect();
        let kind = match parts[0] {
            "100755" => "exec",
            "120000" => "symlink",
            "160000" => "gitlink",
            "040000" => "tree",
            _ => "blob",
        };
        let name = path.rsplit('/').next().expect("a name");
        let mode = parts[0].trim_start_matches('0');
        let mut entry = json!({ "name": name, "path": path, "mode": mode, "hash": parts[2], "type": kind });
        if let Ok(size) = parts[3].parse::<u64>() {
            entry["size"] = size.into();
        }
        entry
    };
    out.split('\0').filter(|line| !line.is_empty()).map(entry).collect()
}

fn without(entries: &[Value], fields: &[&str]) -> Value {
    let mut entries = entries.to_vec();
    for entry in &mut entries {
        fields.iter().for_each(|field| {
            entry.as_object_mut().expect("an object").remove(*field);
        });
    }
    entries.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_those_of_git_in_both_formats() {
    let stock = Stock::new().await;
    for format in ["sha1", "sha256"] {
        let local = stock.repo(format, format).await;
        types(&local);
        stock.push(&local, &["main"]).await;
        let id = |name: &str| local.git(&["rev-parse", name]);

        let commit = stock.result(&format!("{format}/commit/{}", id("main"))).await;
        assert_eq!((&commit["hash"], &commit["treeHash"]), (&json!(id("main")), &json!(id("main^{tree}"))));
        assert_eq!((&commit["message"], &commit["parents"]), (&json!("types"), &json!([])));

        for name in ["main^{tree}", "main:dir"] {
            let want = without(&ls_tree(&local, &[name]), &["path", "size"]);
            assert_eq!(stock.result(&format!("{format}/tree/{}", id(name))).await, want, "{name}");
        }
        for name in ["main:plain.txt", "main:empty", "main:dir/sub/deep.bin", "main:link"] {
            let raw = stock.get(&format!("{format}/blob/{}", id(name))).await;
            assert_eq!(raw.bytes, local.bytes(&["cat-file", "blob", name]), "{name}");
            assert_eq!(raw.header("content-length"), raw.bytes.len().to_string());
            assert_eq!(raw.header("content-type"), "application/octet-stream");
            assert_eq!(raw.header("etag"), format!("\"{}\"", id(name)));
            assert_eq!(raw.header("cache-control"), "private, max-age=31536000, immutable");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_hash_missing_or_of_another_kind_is_told() {
    let stock = Stock::new().await;
    for (format, name, digits) in [("sha1", "SHA-1", 40), ("sha256", "SHA-256", 64)] {
        let local = stock.repo(format, format).await;
        local.write("a", "a\n");
        let commit = local.commit("one", 1_700_000_000);
        let tree = local.git(&["rev-parse", "main^{tree}"]);
        stock.push(&local, &["main"]).await;
        for (kind, word) in [("commit", "Commit"), ("tree", "Tree"), ("blob", "Blob")] {
            let other = if kind == "commit" { &tree } else { &commit };
            for hash in [&"1".repeat(digits), other] {
                let error = stock.get(&format!("{format}/{kind}/{hash}")).await.error();
                assert_eq!(error, (404, 10200, format!("{word} not found"), String::new()));
            }
            for hash in ["main", "1", &"1".repeat(digits - 1), &"1".repeat(digits + 1), &"g".repeat(digits)] {
                let error = stock.get(&format!("{format}/{kind}/{hash}")).await.error();
                assert_eq!(error, (400, 10100, format!("Invalid {name} hash"), "/hash".to_owned()), "{hash}");
            }
        }
        let wrong = stock.ask("POST", &format!("{format}/commit/{commit}"), &[]).await;
        assert_eq!(wrong.status, 405);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_no_ref_shows_are_not_there() {
    let stock = Stock::new().await;
    let local = stock.repo("base", "sha1").await;
    local.write("a", "one\n");
    local.commit("one", 1_700_000_000);
    stock.push(&local, &["main"]).await;
    stock.server.post("/namespaces/team/repos/base/fork", "{\"name\":\"fork\"}").await;
    local.write("a", "secret\n");
    let secret = local.commit("two", 1_700_000_001);
    let blob = local.git(&["rev-parse", "main:a"]);
    stock.push(&local, &["main"]).await;
    assert_eq!(stock.get(&format!("base/blob/{blob}")).await.bytes, b"secret\n");
    for path in
        [format!("fork/blob/{blob}"), format!("fork/commit/{secret}"), format!("base/blob/{blob}?at=1")]
    {
        assert_eq!(stock.get(&path).await.status, 404, "{path}");
    }
    assert_eq!(stock.get(&format!("fork/file?ref={secret}&path=a")).await.status, 404);
    assert_eq!(stock.get(&format!("fork/tree?ref={secret}")).await.status, 404);
    assert_eq!(stock.get(&format!("fork/archive/{secret}.tar")).await.status, 404);

    local.git(&["reset", "-q", "--hard", "HEAD~1"]);
    stock.push(&local, &["+main"]).await;
    for path in [format!("base/blob/{blob}"), format!("base/commit/{secret}")] {
        assert_eq!(stock.get(&path).await.status, 404, "{path}: its only ref moved away");
    }
    assert_eq!(stock.get(&format!("base/blob/{blob}?at=2")).await.bytes, b"secret\n", "it was there then");
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_those_of_ls_tree_on_any_page() {
    let stock = Stock::new().await;
    for format in ["sha1", "sha256"] {
        let local = stock.repo(format, format).await;
        types(&local);
        stock.push(&local, &["main"]).await;
        for (query, args) in [
            ("", &["main"][..]),
            ("&recursive=true", &["-r", "-t", "main"]),
            ("&path=dir", &["main", "dir/"]),
            ("&path=/dir/&recursive=1", &["-r", "-t", "main", "dir/"]),
        ] {
            let want = ls_tree(&local, args);
            // With -t, git names the folder itself too.
            let want: Vec<_> =
                want.into_iter().filter(|entry| !query.contains("path") || entry["path"] != "dir").collect();
            assert_eq!(stock.result(&format!("{format}/tree?ref=main{query}")).await, json!(want), "{query}");
            for limit in 1..=want.len() {
                let (mut by_page, mut by_cursor, mut cursor, mut page) =
                    (Vec::new(), Vec::new(), String::new(), 1);
                loop {
                    let path = format!("{format}/tree?ref=main{query}&limit={limit}&cursor={cursor}");
                    let answer = stock.get(&path).await.json();
                    by_cursor.extend(answer["result"].as_array().expect("a list").clone());
                    let Some(next) = answer["result_info"]["cursor"].as_str() else { break };
                    cursor = next.to_owned();
                }
                loop {
                    let path = format!("{format}/tree?ref=main{query}&per_page={limit}&page={page}");
                    let answer = stock.get(&path).await.json();
                    let info = &answer["result_info"];
                    assert_eq!(info["total_count"], want.len());
                    by_page.extend(answer["result"].as_array().expect("a list").clone());
                    page += 1;
                    if info["count"] == 0 {
                        break;
                    }
                }
                assert_eq!((&by_cursor, &by_page), (&want, &want), "{query} {limit}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_folder_is_listed_in_pages() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    let mut index = String::new();
    let blob = local.object("blob", b"same");
    for n in 0..30_000 {
        index += &format!("100644 blob {blob}\tfile-with-a-long-name-so-that-the-tree-is-large-{n:06}\n");
    }
    let list = local.path.join(".git/list");
    std::fs::write(&list, index).expect("a file");
    let tree = local.git(&["-c", "alias.t=!git mktree < .git/list", "t"]);
    let commit = local.git(&["commit-tree", "-m", "large", &tree]);
    local.git(&["update-ref", "refs/heads/main", &commit]);
    stock.push(&local, &["main"]).await;
    let (mut seen, mut cursor) = (0, String::new());
    loop {
        let answer = stock.get(&format!("x/tree?limit=1000&cursor={cursor}")).await.json();
        for entry in answer["result"].as_array().expect("a list") {
            assert_eq!(entry["name"], format!("file-with-a-long-name-so-that-the-tree-is-large-{seen:06}"));
            assert_eq!(entry["size"], 4);
            seen += 1;
        }
        let Some(next) = answer["result_info"]["cursor"].as_str() else { break };
        cursor = next.to_owned();
    }
    assert_eq!(seen, 30_000);
    let entries = stock.result(&format!("x/tree/{tree}")).await;
    assert_eq!(entries.as_array().map(Vec::len), Some(30_000), "2 MB of tree, which needs the turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_utf8_are_shown_and_found() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    let inner = local.object("blob", b"latin\n");
    let entry = |mode: &str, name: &[u8], hex: &str| {
        let id: Vec<u8> =
            (0..40).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
        [mode.as_bytes(), b" ", name, b"\0", &id].concat()
    };
    let sub = local.object("tree", &entry("100644", b"gr\xfcn +%.txt", &inner));
    let root = local.object("tree", &entry("40000", b"\xff", &sub));
    let commit = local.git(&["commit-tree", "-m", "bytes", &root]);
    local.git(&["update-ref", "refs/heads/main", &commit]);
    stock.push(&local, &["main"]).await;
    let entries = stock.result("x/tree?recursive=true").await;
    assert_eq!((&entries[0]["name"], &entries[0]["name_raw"]), (&json!("\u{fffd}"), &json!("%FF")));
    assert_eq!(entries[1]["path"], "\u{fffd}/gr\u{fffd}n +%.txt");
    let raw = entries[1]["path_raw"].as_str().expect("a raw path");
    assert_eq!(raw, "%FF/gr%FCn%20%2B%25.txt");
    assert_eq!(
        stock.get(&format!("x/file?path={raw}")).await.bytes,
        b"latin\n",
        "what is shown can be sent back"
    );
    assert_eq!(stock.result("x/tree?path=%ff").await[0]["name_raw"], "gr%FCn%20%2B%25.txt");
    let page = stock.get("x/tree?recursive=true&limit=1").await.json();
    let cursor = page["result_info"]["cursor"].as_str().expect("more follow").to_owned();
    assert_eq!(stock.result(&format!("x/tree?recursive=true&cursor={cursor}")).await[0]["path_raw"], raw);
    let log = stock.result("x/log?path=%ff/gr%fcn%20%2b%25.txt").await;
    assert_eq!(log[0]["hash"], commit);
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_of_what_is_not_there_are_404() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    assert_eq!(
        stock.get("x/tree").await.error(),
        (404, 10200, "Tree not found".into(), String::new()),
        "empty"
    );
    local.write("a", "a\n");
    local.commit("one", 1_700_000_000);
    stock.push(&local, &["main"]).await;
    for query in ["ref=none", "path=none", "path=a", "path=a/b", "path=.."] {
        assert_eq!(stock.get(&format!("x/tree?{query}")).await.error().2, "Tree not found", "{query}");
    }
    let tree = local.git(&["rev-parse", "main^{tree}"]);
    assert_eq!(
        stock.result(&format!("x/tree?ref={tree}")).await[0]["name"],
        "a",
        "a tree's hash is a ref too"
    );
    for cursor in ["!", "MDp4", "MDoxMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE6YQ"] {
        assert_eq!(stock.get(&format!("x/tree?cursor={cursor}")).await.error().3, "/cursor", "{cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refs_are_those_of_git() {
    let stock = Stock::new().await;
    for format in ["sha1", "sha256"] {
        let local = stock.repo(format, format).await;
        assert_eq!(stock.result(&format!("{format}/refs")).await, json!([]), "an empty repository");
        assert_eq!(stock.get(&format!("{format}/refs/HEAD")).await.error().2, "Ref not found");
        let commit = local.commit("one", 1_700_000_000);
        for n in 0..5 {
            local.git(&["branch", &format!("topic/{n}")]);
        }
        local.git(&["tag", "light"]);
        local.git(&["tag", "-a", "-m", "t", "heavy"]);
        local.git(&["tag", "-a", "-m", "t", "twice", "heavy"]);
        stock.push(&local, &["--all"]).await;
        stock.push(&local, &["--tags"]).await;
        let lines = local.lines(&["for-each-ref", "--format=%(refname) %(objectname) %(*objectname)"]);
        let mut want = vec![json!({ "name": "HEAD", "hash": commit, "symref": "refs/heads/main" })];
        for line in &lines {
            let parts: Vec<&str> = line.split(' ').collect();
            let mut row = json!({ "name": parts[0], "hash": parts[1] });
            if !parts[2].is_empty() {
                row["peeled"] = local.git(&["rev-parse", &format!("{}^{{}}", parts[0])]).into();
            }
            want.push(row);
        }
        assert_eq!(stock.result(&format!("{format}/refs")).await, json!(want));
        let heads =
            stock.get(&format!("{format}/refs?prefix=refs/heads/topic/&page=2&per_page=2")).await.json();
        assert_eq!(heads["result"], json!(want[4..6]));
        assert_eq!(heads["result_info"]["total_count"], 5);
        let (mut got, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = stock.get(&format!("{format}/refs?limit=2&cursor={cursor}")).await.json();
            got.extend(page["result"].as_array().expect("a list").clone());
            let Some(next) = page["result_info"]["cursor"].as_str() else { break };
            cursor = next.to_owned();
        }
        assert_eq!(got, want);
        for row in &want {
            let name = row["name"].as_str().expect("a name");
            assert_eq!(&stock.result(&format!("{format}/refs/{name}")).await, row, "{name}");
        }
        assert_eq!(
            stock.result(&format!("{format}/refs/heads/topic%2F1")).await["name"],
            "refs/heads/topic/1"
        );
        for name in ["refs/heads/none", "main", "refs/heads/topic", "refs/../x"] {
            assert_eq!(
                stock.get(&format!("{format}/refs/{name}")).await.error().2,
                "Ref not found",
                "{name}"
            );
        }
        assert_eq!(stock.result(&format!("{format}/refs?prefix=nothing")).await, json!([]));
        let before = stock.result(&format!("{format}/refs?at=1&prefix=refs/")).await;
        assert_eq!(before.as_array().map(Vec::len), Some(6), "before the tags were pushed");
        assert_eq!(stock.get(&format!("{format}/refs/refs/tags/light?at=1")).await.status, 404);
    }
}
