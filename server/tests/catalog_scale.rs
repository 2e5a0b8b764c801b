//! What the catalog costs with very many repositories. Ignored: it takes minutes. Run it with
//! `cargo test -p cairn-server --test catalog_scale -- --ignored --nocapture`; `CAIRN_SCALE` sets the number.

use std::time::Instant;

use cairn_protocol::object::HashAlgo;
use cairn_server::auth::issue;
use cairn_server::limits::SEARCH_SCAN_REPOS_MAX;
use cairn_server::names::Name;
use cairn_server::store::Pin;
use cairn_server::store::catalog::{Catalog, Direction, NewRepo, RepoPage, Scope, Sort, Window};

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

fn page(search: Option<&str>, skip: u64, sort: Sort) -> RepoPage {
    let (direction, window) = (Direction::Desc, Window { skip, take: 50 });
    RepoPage {
        namespace: "default".into(),
        search: search.map(Into::into),
        sort,
        direction,
        after: None,
        window,
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

    for (what, page) in [
        ("newest", page(None, 0, Sort::CreatedAt)),
        ("middle", page(None, wanted as u64 / 2, Sort::CreatedAt)),
        ("by name", page(None, 0, Sort::Name)),
        ("search, many found", page(Some("agent"), 0, Sort::CreatedAt)),
        ("search, one found", page(Some("0000042"), 0, Sort::CreatedAt)),
        ("search by name", page(Some("42"), 0, Sort::Name)),
        ("by update", page(None, 0, Sort::UpdatedAt)),
    ] {
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
    let count = SEARCH_SCAN_REPOS_MAX as usize + 1;
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
    let cases = [
        ("0123", 11, "few candidates, one of another namespace left out"),
        ("00124", 0, "a deleted one is gone"),
        ("AGENT-0", 9_999, "very many"),
        ("4_", 999, "shorter than a trigram, with a sign of LIKE"),
        ("\"x'", 0, "quotes"),
        ("%%%", 0, "signs of LIKE"),
    ];
    for (part, want, why) in cases {
        for sort in [Sort::CreatedAt, Sort::Name, Sort::UpdatedAt] {
            let listed = catalog.repos(page(Some(part), 0, sort)).await.expect("a list");
            assert_eq!((listed.total, listed.items.len()), (want, want.min(50) as usize), "{why}");
        }
    }
}
