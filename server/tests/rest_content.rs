//! Files by their paths, whole and in ranges, as programs and as browsers read them.

#[path = "support/server.rs"]
mod server;
#[path = "support/stock.rs"]
mod stock;

use stock::{Local, Stock};

/// Bytes that do not compress.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

async fn simple(stock: &Stock, format: &str) -> Local {
    let local = stock.repo(format, format).await;
    local.write("a b/\u{fc}ber+.txt", "hello\n");
    local.write("README.md", "# x\n");
    local.write("empty", "");
    std::os::unix::fs::symlink("README.md", local.path.join("link")).expect("a link");
    local.commit("one", 1_700_000_000);
    local.git(&["branch", "feature/deep/x"]);
    local.git(&["tag", "-a", "-m", "t", "v1"]);
    stock.push(&local, &["main", "feature/deep/x", "v1"]).await;
    local
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_those_of_git_under_every_name_of_the_ref() {
    let stock = Stock::new().await;
    for format in ["sha1", "sha256"] {
        let local = simple(&stock, format).await;
        let commit = local.git(&["rev-parse", "main"]);
        for name in ["", "main", "refs/heads/main", "v1", "feature/deep/x", "feature%2Fdeep%2Fx", &commit] {
            for path in ["a%20b/%C3%BCber%2B.txt", "a+b/%c3%bcber%2b.txt", "/a+b//%C3%BCber%2B.txt"] {
                let raw = stock.get(&format!("{format}/file?ref={name}&path={path}")).await;
                assert_eq!((raw.status, raw.bytes.as_slice()), (200, b"hello\n".as_slice()), "{name} {path}");
                let id = local.git(&["rev-parse", "main:a b/\u{fc}ber+.txt"]);
                assert_eq!(raw.header("etag"), format!("\"{id}\""));
            }
        }
        assert_eq!(stock.get(&format!("{format}/file?path=link")).await.bytes, b"README.md");
        let empty = stock.get(&format!("{format}/file?path=empty")).await;
        assert_eq!((empty.status, empty.bytes.len(), empty.header("content-length")), (200, 0, "0"));
        for query in
            ["ref=none&path=README.md", "path=none", "path=a+b", "path=README.md/x", "path=/", "path=.."]
        {
            let error = stock.get(&format!("{format}/file?{query}")).await.error();
            assert_eq!(error, (404, 10200, "File not found".into(), String::new()), "{query}");
        }
        let error = stock.get(&format!("{format}/file?ref=main&path=")).await.error();
        assert_eq!((error.0, error.1, error.3.as_str()), (400, 10100, "/path"));
    }
    stock.repo("empty", "sha1").await;
    assert_eq!(stock.get("empty/file?path=a").await.error().2, "File not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_takes_refs_with_slashes_and_is_safe_in_a_browser() {
    let stock = Stock::new().await;
    let local = simple(&stock, "sha1").await;
    local.write("page.html", "<script>alert(1)</script>");
    local.write("pic.svg", "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>");
    local.write("data.xml", "<?xml version='1.0'?><x/>");
    local.write("pic.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    local.write("a/pic.bin", [0, 1, 2]);
    local.write("quote\"\n.zip", b"PK\x03\x04\0\0");
    local.commit("two", 1_700_000_001);
    stock.push(&local, &["main"]).await;
    let text = "text/plain; charset=utf-8";
    let cases = [
        ("main/page.html", text, "inline; filename=\"page.html\""),
        ("main/pic.svg", text, "inline; filename=\"pic.svg\""),
        ("main/data.xml", text, "inline; filename=\"data.xml\""),
        ("main/pic.txt", "image/png", "inline; filename=\"pic.txt\""),
        ("main/a/pic.bin", "application/octet-stream", "attachment; filename=\"pic.bin\""),
        (
            "main/quote%22%0A.zip",
            "application/zip",
            "attachment; filename=\"quote__.zip\"; filename*=UTF-8''quote%22%0A%2Ezip",
        ),
    ];
    for (path, media_type, disposition) in cases {
        let raw = stock.get(&format!("sha1/raw/{path}")).await;
        assert_eq!((raw.status, raw.header("content-type")), (200, media_type), "{path}");
        assert_eq!(raw.header("content-disposition"), disposition, "{path}");
        assert_eq!(raw.header("x-content-type-options"), "nosniff");
        assert_eq!(raw.header("content-security-policy"), "sandbox");
    }
    for name in ["feature/deep/x", "feature%2Fdeep%2Fx", "refs/heads/feature/deep/x", "v1", "HEAD"] {
        let raw = stock.get(&format!("sha1/raw/{name}/a%20b/%C3%BCber+.txt")).await;
        assert_eq!((raw.status, raw.bytes.as_slice()), (200, b"hello\n".as_slice()), "{name}");
    }
    for path in ["feature/deep/none", "none/README.md", "main", "main/", "main/a", "main/../README.md"] {
        assert_eq!(stock.get(&format!("sha1/raw/{path}")).await.error().2, "File not found", "{path}");
    }
    local.git(&["tag", "feature"]);
    local.write("deep/x/README.md", "# of the tag\n");
    local.commit("three", 1_700_000_002);
    local.git(&["tag", "-f", "feature"]);
    stock.push(&local, &["feature"]).await;
    let longest = stock.get("sha1/raw/feature/deep/x/README.md").await;
    assert_eq!(longest.bytes, b"# x\n", "the longest ref counts");

    for name in ["raw", "namespaces"] {
        let local = stock.repo(name, "sha1").await;
        local.write("raw/raw", name);
        local.commit("one", 1_700_000_000);
        stock.push(&local, &["main"]).await;
        assert_eq!(stock.get(&format!("{name}/raw/main/raw/raw")).await.bytes, name.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_heads_and_ranges_are_kept() {
    let stock = Stock::new().await;
    let local = simple(&stock, "sha1").await;
    let id = local.git(&["rev-parse", "main:README.md"]);
    let tag = format!("\"{id}\"");
    for path in ["sha1/file?path=README.md", "sha1/raw/main/README.md", &format!("sha1/blob/{id}")] {
        let had = stock.ask("GET", path, &[("if-none-match", &tag)]).await;
        assert_eq!((had.status, had.bytes.len(), had.header("etag")), (304, 0, tag.as_str()), "{path}");
        let head = stock.ask("HEAD", path, &[("range", "bytes=0-0")]).await;
        assert_eq!((head.status, head.bytes.len(), head.header("content-length")), (200, 0, "4"), "{path}");
        let part = stock.ask("GET", path, &[("range", "bytes=2-")]).await;
        assert_eq!((part.status, part.bytes.as_slice()), (206, b"x\n".as_slice()), "{path}");
        assert_eq!((part.header("content-range"), part.header("content-length")), ("bytes 2-3/4", "2"));
        let whole = stock.ask("GET", path, &[("range", "bytes=2-"), ("if-range", "\"other\"")]).await;
        assert_eq!((whole.status, whole.bytes.len()), (200, 4), "{path}");
        let part = stock.ask("GET", path, &[("range", "bytes=-1"), ("if-range", &tag)]).await;
        assert_eq!((part.status, part.bytes.as_slice()), (206, b"\n".as_slice()), "{path}");
        let outside = stock.ask("GET", path, &[("range", "bytes=4-")]).await;
        assert_eq!((outside.status, outside.header("content-range")), (416, "bytes */4"), "{path}");
        assert_eq!(outside.error().3, "/range");
    }
    let freshness = [
        ("sha1/file?path=README.md", "private, no-cache"),
        ("sha1/file?path=README.md&at=1", "private, no-cache"),
        ("sha1/file?ref=main&path=README.md&at=1", "private, max-age=31536000, immutable"),
        ("sha1/raw/main/README.md?at=1", "private, max-age=31536000, immutable"),
        ("sha1/raw/HEAD/README.md?at=1", "private, no-cache"),
    ];
    for (path, want) in freshness {
        assert_eq!(stock.get(path).await.header("cache-control"), want, "{path}");
    }
    local.write("README.md", "# y\n");
    local.commit("two", 1_700_000_001);
    stock.push(&local, &["main"]).await;
    let changed = stock.ask("GET", "sha1/file?path=README.md", &[("if-none-match", &tag)]).await;
    assert_eq!((changed.status, changed.bytes.as_slice()), (200, b"# y\n".as_slice()));
    assert_eq!(stock.get("sha1/file?path=README.md&at=1").await.bytes, b"# x\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_blobs_are_whole_however_they_are_stored() {
    let stock = Stock::new().await;
    let local = stock.repo("x", "sha1").await;
    let first = noise(3 << 20, 1);
    let mut second = first.clone();
    second.truncate((3 << 20) - 7);
    second[1_000_000] ^= 1;
    let zeros = vec![0; 5 << 20];
    local.write("delta", &first);
    local.write("zeros", &zeros);
    local.commit("one", 1_700_000_000);
    local.write("delta", &second);
    local.commit("two", 1_700_000_001);
    local.git(&["repack", "-adq"]);
    stock.push(&local, &["main"]).await;
    let kinds = local.git(&["cat-file", "--batch-check=%(deltabase)", "--batch-all-objects"]);
    let null = "0".repeat(40);
    assert_eq!(kinds.lines().filter(|base| *base != null).count(), 1, "one of the two is a delta");
    for (at, path, want) in
        [("1", "delta", &first), ("1", "delta", &first), ("9", "delta", &second), ("9", "zeros", &zeros)]
    {
        let at =
            if at == "9" { String::new() } else { format!("&ref={}", local.git(&["rev-parse", "main~1"])) };
        let path = format!("x/file?path={path}{at}");
        let raw = stock.get(&path).await;
        assert_eq!(raw.status, 200, "{path}");
        assert!(raw.bytes == *want, "{path}");
        assert_eq!(raw.header("content-length"), want.len().to_string());
        for (range, from, to) in
            [("2500000-2500009", 2_500_000, 2_500_010), ("999990-2000009", 999_990, 2_000_010)]
        {
            let part = stock.ask("GET", &path, &[("range", &format!("bytes={range}"))]).await;
            assert_eq!(part.status, 206);
            assert!(part.bytes == want[from..to], "{path} {range}");
        }
        assert_eq!(stock.ask("HEAD", &path, &[]).await.header("content-length"), want.len().to_string());
    }
    let path = "x/file?path=delta";
    let (a, b, c, d) = tokio::join!(stock.get(path), stock.get(path), stock.get(path), stock.get(path));
    assert!([a, b, c, d].iter().all(|raw| raw.bytes == second), "they take turns, and all of them get it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_gone_or_of_another_name_shows_nothing() {
    let stock = Stock::new().await;
    simple(&stock, "sha1").await;
    assert_eq!(stock.get("sha1/file?path=README.md").await.status, 200);
    assert_eq!(stock.ask("GET", "SHA1/file?path=README.md", &[]).await.status, 200, "names have no case");
    let gone = stock.server.ask("DELETE", "/namespaces/team/repos/sha1", "").await;
    assert_eq!(gone.status, 202);
    for path in [
        "sha1/file?path=README.md",
        "sha1/raw/main/README.md",
        "sha1/log",
        "sha1/refs",
        "sha1/tree",
        "sha1/usage",
    ] {
        assert_eq!(stock.get(path).await.error().2, "Repository not found", "{path}");
    }
    stock.server.repo("team", "sha1").await;
    assert_eq!(
        stock.get("sha1/file?path=README.md").await.error().2,
        "File not found",
        "a new one of the name"
    );
}
