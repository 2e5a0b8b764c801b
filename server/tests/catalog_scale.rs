//! What the catalog costs with very many repositories. Ignored: it takes minutes. Run it with
//! `cargo test -p cairn-server --test catalog_scale -- --ignored --nocapture`; `CAIRN_SCALE` sets the number.

use std::time::Instant;

use cairn_protocol::object::HashAlgo;
use cairn_server::auth::issue;
use cairn_server::limits::SEARCH_SCAN_REPOS_MAX;
use cairn_server::names::Name;
use cairn_server::store::Pin;
use cairn_server::store::catalog::{Catalog, Direction, NewRepo, RepoPage, RepoRow, Scope, Sort, Window};
use cairn_server::store::disk::System;

fn new(name: &str) -> NewRepo {
    let token = issue(Scope::Write, 1_700_000_000_000, 86_400);
    NewRepo {
        namespace: Name::new("default").expect("a name"),
        name: Name::new(name).expect("a name"),
        description: None,
        default_branch: "main".into(),
        object_format: HashAlgo::Sha1,
        read_only: false,
        now_ms: 1_700_000_000_000,
        token: Some(token.row),
    }
}

/// What a fork takes that has no token.
async fn bytes_without_token(count: usize) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("catalog.sqlite");
    let catalog = Catalog::open(&path).expect("it opens");
    let base = catalog.create_repo(new("base")).await.expect("made").id;
    let batch: Vec<_> = (0..count)
        .map(|at| {
            let catalog = catalog.clone();
            let new = NewRepo { token: None, ..new(&format!("agent-{at:07}")) };
            let below = vec![Pin::new(base, Some(12_345))];
            tokio::spawn(async move { catalog.fork_repo(base, below, new).await })
        })
        .collect();
    for fork in batch {
        fork.await.expect("no panic").expect("made");
    }
    let copy = folder.path().join("copy.sqlite");
    catalog.copy_to(&System, &copy).await.expect("a copy");
    std::fs::metadata(&copy).expect("a file").len() / count as u64
}

fn page(search: Option<&str>, skip: u64, sort: Sort) -> RepoPage {
    let (direction, window) = (Direction::Desc, Window { skip, take: 50 });
    RepoPage {
        namespace: "default".into(),
        search: search.map(Into::into),
        sort,
        direction,
        after: None,
        window,
        before: skip,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_million_forks_stay_small_and_quick_to_find() {
    let wanted: usize =
        std::env::var("CAIRN_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("catalog.sqlite");
    let catalog = Catalog::open(&path).expect("it opens");
    let base = catalog.create_repo(new("base")).await.expect("made").id;
    let start = Instant::now();
    for chunk in 0..wanted.div_ceil(1_000) {
        let batch: Vec<_> = (0..1_000)
            .map(|at| {
                let (catalog, new) = (catalog.clone(), new(&format!("agent-{:07}", chunk * 1_000 + at)));
                let below = vec![Pin::new(base, Some(12_345))];
                tokio::spawn(async move { catalog.fork_repo(base, below, new).await })
            })
            .collect();
        for fork in batch {
            fork.await.expect("no panic").expect("made");
        }
    }
    let per_second = wanted as f64 / start.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(&path).expect("a file").len() / wanted as u64;
    println!("{wanted} forks: {per_second:.0}/s, {bytes} bytes each with its token");
    println!("{} bytes each without", bytes_without_token(wanted / 10).await);

    let start = Instant::now();
    for at in 0..1_000 {
        let name = format!("agent-{:07}", at * 7_919 % wanted);
        let row = catalog.resolve("default", &name).await.expect("an answer").expect("made");
        catalog.touched(row.id, 1_700_000_100_000 + at as i64).await.expect("noted");
    }
    println!("lookup and note of a push, each durable: {:?}", start.elapsed() / 1_000);
    let middle = wanted as u64 / 2;
    let mut pages = Vec::new();
    for sort in [Sort::CreatedAt, Sort::UpdatedAt, Sort::LastPushAt, Sort::Name] {
        for direction in [Direction::Asc, Direction::Desc] {
            let of = |search, skip| RepoPage { direction, ..page(search, skip, sort) };
            let what = |text: &str| format!("{sort:?} {direction:?}: {text}");
            pages.push((what("first page"), of(None, 0)));
            pages.push((what("last page"), of(None, wanted as u64 - 50)));
            pages.push((what("middle page"), of(None, middle)));
            let behind = catalog.repos(of(None, middle)).await.expect("a list").items[0].id;
            pages.push((what("behind the middle"), RepoPage { after: Some(behind), ..of(None, 0) }));
            for search in ["agent", "agent-00", "0000042", "42", "nothing-of-the-kind"] {
                pages.push((what(&format!("search {search}")), of(Some(search), 0)));
            }
        }
    }
    for (what, page) in pages {
        catalog.repos(page.clone()).await.expect("a list");
        let start = Instant::now();
        let listed = catalog.repos(page).await.expect("a list");
        println!("{what}: {:?}, {} of {}", start.elapsed(), listed.items.len(), listed.total);
    }
    let start = Instant::now();
    for at in 0..1_000 {
        let name = format!("agent-{:07}", at * 7_919 % wanted);
        assert!(catalog.resolve("default", &name).await.expect("an answer").is_some());
    }
    println!("lookup: {:?}", start.elapsed() / 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_namespace_finds_what_a_small_one_would() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = Catalog::open(&folder.path().join("catalog.sqlite")).expect("it opens");
    let count = SEARCH_SCAN_REPOS_MAX as usize + 2;
    let made: Vec<_> = (0..count)
        .map(|at| {
            let (catalog, new) = (catalog.clone(), new(&format!("Agent-{at:05}_x")));
            tokio::spawn(async move { catalog.create_repo(new).await })
        })
        .collect();
    for repo in made {
        repo.await.expect("no panic").expect("made");
    }
    let elsewhere = NewRepo { namespace: Name::new("other").expect("a name"), ..new("agent-00123") };
    catalog.create_repo(elsewhere).await.expect("made");
    catalog.delete_repo("default", "agent-00124_x", 1).await.expect("deleted");
    // (part of a name, how many hold it; `None` where so many may that they are not counted)
    let cases = [
        ("0123", Some(11), "few candidates, one of another namespace left out"),
        ("00124", Some(0), "a deleted one is gone"),
        ("AGENT-0", None, "very many"),
        ("4_", None, "shorter than a trigram, with a sign of LIKE"),
        ("\"x'", Some(0), "quotes"),
        ("%%%", Some(0), "signs of LIKE"),
    ];
    for (part, want, why) in cases {
        for sort in [Sort::CreatedAt, Sort::Name, Sort::UpdatedAt] {
            let listed = catalog.repos(page(Some(part), 0, sort)).await.expect("a list");
            let (total, shown) = (want.unwrap_or(51), want.unwrap_or(50).min(50));
            assert_eq!((listed.total, listed.items.len()), (total, shown as usize), "{why}");
        }
    }
}

/// All repositories in the order of their creation.
async fn everything(catalog: &Catalog) -> Vec<RepoRow> {
    let mut all = Vec::new();
    loop {
        let more = catalog.all_repos(all.last(), 1_000).await.expect("rows");
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// What a list must show, the long way.
fn expected(all: &[RepoRow], page: &RepoPage) -> Vec<String> {
    let part = page.search.clone().unwrap_or_default().to_ascii_lowercase();
    let mut rows: Vec<(usize, &RepoRow)> =
        all.iter().enumerate().filter(|(_, row)| row.name.to_ascii_lowercase().contains(&part)).collect();
    rows.sort_by_key(|(n, row)| match page.sort {
        Sort::CreatedAt => (0, String::new(), *n),
        Sort::UpdatedAt => (row.updated_at_ms, String::new(), *n),
        Sort::LastPushAt => (row.last_push_at_ms.unwrap_or(0), String::new(), *n),
        Sort::Name => (0, row.name.to_ascii_lowercase(), *n),
    });
    if page.direction == Direction::Desc {
        rows.reverse();
    }
    rows.into_iter().map(|(_, row)| row.name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_pages_through_everything_once_by_number_and_by_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = Catalog::open(&folder.path().join("catalog.sqlite")).expect("it opens");
    let count = SEARCH_SCAN_REPOS_MAX as usize + 500;
    let made: Vec<_> = (0..count)
        .map(|at| {
            let (catalog, new) = (catalog.clone(), new(&format!("R{:05}-{}", at * 7_919 % count, at % 7)));
            tokio::spawn(async move { catalog.create_repo(new).await })
        })
        .collect();
    for repo in made {
        repo.await.expect("no panic").expect("made");
    }
    let all = everything(&catalog).await;
    // Pushes at few different times, so that orders have ties; most were never pushed to.
    let touched: Vec<_> = (0..900)
        .map(|at| {
            let (catalog, id) = (catalog.clone(), all[at * 11].id);
            tokio::spawn(async move { catalog.touched(id, 1_700_000_000_000 + (at as i64 % 5)).await })
        })
        .collect();
    for note in touched {
        note.await.expect("no panic").expect("noted");
    }
    let all = everything(&catalog).await;
    assert_eq!(all.len(), count);
    for search in [None, Some("r0"), Some("-3"), Some("0012"), Some("r01")] {
        for sort in [Sort::CreatedAt, Sort::UpdatedAt, Sort::LastPushAt, Sort::Name] {
            for direction in [Direction::Asc, Direction::Desc] {
                let first = RepoPage { direction, ..page(search, 0, sort) };
                let want = expected(&all, &first);
                let (mut by_number, mut by_cursor, mut after) = (Vec::new(), Vec::new(), None);
                let take = 911;
                while by_number.len() < want.len() {
                    let skip = by_number.len() as u64;
                    let window = Window { skip, take };
                    let listed = catalog.repos(RepoPage { window, before: skip, ..first.clone() }).await;
                    let listed = listed.expect("a list");
                    let seen = skip + listed.items.len() as u64;
                    let is_last = seen == want.len() as u64;
                    assert_eq!(listed.total == seen, is_last, "{search:?} {sort:?}: {}", listed.total);
                    assert!(listed.total <= want.len() as u64);
                    by_number.extend(listed.items.into_iter().map(|row| row.name));
                    let window = Window { skip: 0, take };
                    let listed =
                        catalog.repos(RepoPage { window, after, before: skip, ..first.clone() }).await;
                    let listed = listed.expect("a list");
                    assert_eq!(listed.total == seen, is_last, "{search:?} {sort:?}: {}", listed.total);
                    after = listed.items.last().map(|row| row.id);
                    by_cursor.extend(listed.items.into_iter().map(|row| row.name));
                }
                assert_eq!(by_number, want, "{search:?} {sort:?} {direction:?}");
                assert_eq!(by_cursor, want, "{search:?} {sort:?} {direction:?}");
            }
        }
    }
}
