//! Refs, packs and sizes from stock git in each protocol version and both object formats.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/stock.rs"]
mod stock;

use cairn_conformance::front::{Deed, Front};
use cairn_conformance::host::Format;
use cairn_protocol::object::HashAlgo;
use cairn_remote::{Class, FetchWish, Remote, RemoteRef};
use stock::{PATH, Stock, fetch, open};

const FORMATS: [Format; 2] = [Format::Sha1, Format::Sha256];

/// A host that makes the repository speak this version.
fn speaking(stock: &Stock, version: u8) -> Front {
    Front::plain(&stock.origin(), move |_| match version {
        0 => Deed::Speak(None),
        1 => Deed::Speak(Some("version=1")),
        _ => Deed::Pass,
    })
}

fn each(check: impl Fn(&Stock, u8, &mut Remote)) {
    for format in FORMATS {
        let stock = Stock::start(format);
        for version in 0..=2 {
            let front = speaking(&stock, version);
            let mut remote = open(&format!("{}{PATH}", front.origin()));
            assert_eq!(remote.capabilities().version, version);
            check(&stock, version, &mut remote);
        }
    }
}

fn find<'a>(refs: &'a [RemoteRef], name: &str) -> &'a RemoteRef {
    refs.iter().find(|found| found.name == name.as_bytes()).unwrap_or_else(|| panic!("{name} is missing"))
}

#[test]
fn every_version_tells_the_same_refs() {
    each(|stock, version, remote| {
        assert_eq!(remote.capabilities().object_format.name(), stock.format.name());
        let refs = remote.ls_refs(&["refs/heads/", "refs/tags/"]).unwrap();
        let mut names: Vec<_> =
            refs.iter().map(|found| String::from_utf8_lossy(&found.name).into_owned()).collect();
        names.sort_unstable();
        let want = ["HEAD", "refs/heads/main", "refs/heads/side", "refs/tags/light", "refs/tags/v1"];
        assert_eq!(names, want, "version {version}");
        let head = find(&refs, "HEAD");
        assert_eq!(head.symref_target.as_deref(), Some(&b"refs/heads/main"[..]));
        assert_eq!(head.id, stock.id("refs/heads/main"));
        let tag = find(&refs, "refs/tags/v1");
        assert_eq!((tag.id, tag.peeled), (stock.id("refs/tags/v1"), Some(stock.id("refs/tags/v1^{}"))));
        assert_eq!(find(&refs, "refs/tags/light").peeled, None);
        // Asked again, and for all.
        let all = remote.ls_refs(&[]).unwrap();
        assert_eq!(find(&all, "refs/notes/x").id, stock.id("refs/heads/side"));
        assert_eq!(all.len(), names.len() + 1);
    });
}

#[test]
fn a_whole_repository_arrives_whole_in_every_version() {
    each(|stock, version, remote| {
        let wants = remote.ls_refs(&[]).unwrap().iter().map(|found| found.id).collect();
        let (pack, fetched) = fetch(remote, &FetchWish { wants, ..FetchWish::default() }).unwrap();
        assert_eq!(stock.objects(&pack), stock.listed(&["--all"]), "version {version}");
        assert_eq!(fetched, cairn_remote::Fetched::default());
    });
}

#[test]
fn a_depth_brings_that_many_commits_in_every_version() {
    each(|stock, version, remote| {
        let wants = vec![stock.id("refs/heads/main")];
        let wish = FetchWish { wants, depth: Some(2), ..FetchWish::default() };
        let (pack, fetched) = fetch(remote, &wish).unwrap();
        let boundary = stock.id("refs/heads/main~1");
        assert_eq!(fetched.shallow, [boundary], "version {version}");
        // main and main~1, without what only older commits hold.
        let mut want = stock.listed(&["main^{tree}", "main~1^{tree}"]);
        want.extend([stock.id("main").to_string(), boundary.to_string()]);
        want.sort_unstable();
        assert_eq!(stock.objects(&pack), want, "version {version}");

        // Deepened from there: the boundary moves, and what is here does not come again.
        let wish = FetchWish {
            wants: wish.wants,
            haves: vec![stock.id("main")],
            depth: Some(3),
            shallow: vec![boundary],
            ..FetchWish::default()
        };
        let (_, fetched) = fetch(remote, &wish).unwrap();
        assert_eq!(fetched.unshallow, [boundary], "version {version}");
        assert_eq!(fetched.shallow, [stock.id("main~2")], "version {version}");
    });
}

#[test]
fn a_filter_leaves_blobs_out_in_every_version() {
    each(|stock, version, remote| {
        assert!(remote.capabilities().filter);
        let wants = vec![stock.id("main")];
        let wish = FetchWish { wants, filter: Some("blob:none".into()), ..FetchWish::default() };
        let (pack, _) = fetch(remote, &wish).unwrap();
        assert_eq!(stock.objects(&pack), stock.listed(&["--filter=blob:none", "main"]), "version {version}");
        // The blobs afterwards, by their ids.
        let wants = vec![stock.id("main:README"), stock.id("main:src/a")];
        let (pack, _) = fetch(remote, &FetchWish { wants: wants.clone(), ..FetchWish::default() }).unwrap();
        let mut want: Vec<_> = wants.iter().map(ToString::to_string).collect();
        want.sort_unstable();
        assert_eq!(stock.objects(&pack), want, "version {version}");
    });
}

#[test]
fn what_is_here_is_not_sent_and_the_pack_stands_alone() {
    each(|stock, version, remote| {
        let wish = FetchWish {
            wants: vec![stock.id("main")],
            haves: vec![stock.id("main~3")],
            ..FetchWish::default()
        };
        // `index-pack` without --fix-thin refuses a pack that leans on other objects.
        let (pack, _) = fetch(remote, &wish).unwrap();
        assert_eq!(stock.objects(&pack), stock.listed(&["main", "^main~3"]), "version {version}");
    });
}

#[test]
fn sizes_come_without_contents() {
    for format in FORMATS {
        let stock = Stock::start(format);
        let mut remote = open(&stock.url);
        assert!(remote.capabilities().object_info);
        let missing = stock.algo_id(&"12".repeat(HashAlgo::from_name(format.name()).unwrap().bytes()));
        let ids = [stock.id("main:README"), missing, stock.id("main:src/a"), stock.id("main:README")];
        let big = stock.ok(&stock.path(), &["cat-file", "-s", "main:src/a"]).parse().unwrap();
        assert_eq!(remote.sizes(&ids).unwrap(), [Some(6), None, Some(big), Some(6)]);
        assert_eq!(remote.sizes(&[]).unwrap(), []);
    }
}

#[test]
fn what_a_remote_does_not_offer_is_said_before_it_is_asked() {
    let stock = Stock::start(Format::Sha1);
    stock.config("transfer.advertiseObjectInfo", "false");
    stock.config("uploadpack.allowFilter", "false");
    let mut remote = open(&stock.url);
    assert!(!remote.capabilities().object_info && !remote.capabilities().filter);
    let id = stock.id("main");
    assert_eq!(remote.sizes(&[id]).unwrap_err().class(), Class::Protocol);
    let wish = FetchWish { wants: vec![id], filter: Some("blob:none".into()), ..FetchWish::default() };
    let error = fetch(&mut remote, &wish).unwrap_err();
    assert!(error.to_string().contains("does not offer filters"), "{error}");
    // The object stays usable.
    let (pack, _) = fetch(&mut remote, &FetchWish { wants: vec![id], ..FetchWish::default() }).unwrap();
    assert_eq!(stock.objects(&pack), stock.listed(&["main"]));
}

#[test]
fn an_empty_repository_tells_its_unborn_branch() {
    for format in FORMATS {
        let stock = Stock::start(format);
        let url = cairn_conformance::host::Host::create(&stock.host, "empty", format).url;
        let refs = open(&url).ls_refs(&["refs/heads/"]).unwrap();
        let [head] = &refs[..] else { panic!("one ref, not {refs:?}") };
        assert!(head.id.is_null());
        assert_eq!(head.symref_target.as_deref(), Some(&b"refs/heads/main"[..]));
        for version in [0, 1] {
            let front = speaking(&stock, version);
            let mut remote = open(&format!("{}/git/t/empty.git", front.origin()));
            assert_eq!(remote.capabilities().object_format.name(), format.name());
            assert_eq!(remote.ls_refs(&[]).unwrap(), [], "version {version} tells nothing");
        }
    }
}

#[test]
fn a_shallow_remote_says_where_its_history_ends() {
    let stock = Stock::start(Format::Sha1);
    let path = stock.host.path("s");
    let from = format!("file://{}", stock.path().display());
    let to = path.display().to_string();
    stock.ok(stock.dir.path(), &["clone", "--quiet", "--bare", "--depth=2", &from, &to]);
    for version in 0..=2 {
        let front = speaking(&stock, version);
        let mut remote = open(&format!("{}/git/t/s.git", front.origin()));
        let wish = FetchWish { wants: vec![stock.id("main")], ..FetchWish::default() };
        let (_, fetched) = fetch(&mut remote, &wish).unwrap();
        assert_eq!(fetched.shallow, [stock.id("main~1")], "version {version}");
    }
}
