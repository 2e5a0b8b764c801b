//! Other clients than stock git: libgit2 and gix.

use cairn_conformance::facts::Facts;
use cairn_conformance::fixture;
use cairn_conformance::host::Remote;
use cairn_conformance::judge::{Ctx, NEWEST, judge};
use std::cell::RefCell;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn header(remote: &Remote) -> Vec<String> {
    remote.authorization().map(|value| format!("Authorization: {value}")).into_iter().collect()
}

fn git2_fetch_options<'a>(remote: &Remote) -> git2::FetchOptions<'a> {
    let headers = header(remote);
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut options = git2::FetchOptions::new();
    options.custom_headers(&headers);
    options
}

/// Pushes with libgit2 and says what it was told of each ref.
fn git2_push(repository: &git2::Repository, remote: &Remote, refspecs: &[&str]) -> String {
    let told = RefCell::new(Vec::new());
    let mut callbacks = git2::RemoteCallbacks::new();
    callbacks.push_update_reference(|name, refusal| {
        told.borrow_mut().push(format!("{name} {}", if refusal.is_none() { "ok" } else { "refused" }));
        Ok(())
    });
    let headers = header(remote);
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut options = git2::PushOptions::new();
    options.custom_headers(&headers).remote_callbacks(callbacks);
    let mut there = repository.remote_anonymous(&remote.url).expect("the url is good");
    let pushed = there.push(refspecs, Some(&mut options)).is_ok();
    drop(options);
    let mut told = told.into_inner();
    told.sort();
    format!("{pushed} {}", told.join(", "))
}

#[test]
fn libgit2_clones_fetches_and_pushes() {
    judge("libgit2", NEWEST, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("libgit2");
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main~2:refs/heads/main", "v1"]);
        let place = ctx.dir.join("git2");
        let mut builder = git2::build::RepoBuilder::new();
        builder.fetch_options(git2_fetch_options(&remote));
        let clone = match builder.clone(&remote.url, &place) {
            Ok(clone) => clone,
            Err(error) => return facts.put("git2 clone", error),
        };
        ctx.observe(facts, "clone", &place);
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "refs/*:refs/*"]);
        let mut there = clone.find_remote("origin").expect("clone made it");
        let fetched = there.fetch(&[] as &[&str], Some(&mut git2_fetch_options(&remote)), None);
        facts.put("fetched", fetched.is_ok());
        ctx.observe(facts, "fetch", &place);
        let main = clone
            .find_reference("refs/remotes/origin/main")
            .and_then(|r| r.peel_to_commit())
            .expect("fetched");
        let who = git2::Signature::new("A", "a@b", &git2::Time::new(1_700_000_000, 0)).expect("a good name");
        let tree = main.tree().expect("a commit has a tree");
        let made =
            clone.commit(Some("refs/heads/made"), &who, &who, "made", &tree, &[&main]).expect("committed");
        facts.put("made", made);
        facts.put("push", git2_push(&clone, &remote, &["refs/heads/made"]));
        facts.put("delete", git2_push(&clone, &remote, &[":refs/heads/side"]));
        facts.put("conflict", git2_push(&clone, &remote, &["refs/heads/made:refs/heads/made/below"]));
        facts.put("force", git2_push(&clone, &remote, &["+refs/remotes/origin/main:refs/heads/made"]));
        ctx.observe_remote(facts, "remote", &remote);
    });
}

#[test]
fn libgit2_clones_shallowly_and_fills_an_empty_repository() {
    judge("libgit2-shallow", NEWEST, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("libgit2-shallow");
        let bare = git2::Repository::open(&origin).expect("fast-import made it");
        facts.put(
            "first push",
            git2_push(&bare, &remote, &["refs/heads/main", "refs/heads/side", "refs/tags/v1"]),
        );
        ctx.observe_remote(facts, "remote", &remote);
        let mut options = git2_fetch_options(&remote);
        options.depth(2);
        let place = ctx.dir.join("git2");
        let cloned = git2::build::RepoBuilder::new().fetch_options(options).clone(&remote.url, &place);
        facts.put("cloned", cloned.is_ok());
        ctx.observe(facts, "shallow", &place);
    });
}

fn gix_options(ctx: &Ctx, remote: &Remote) -> gix::open::Options {
    let mut overrides = vec![
        format!("protocol.version={}", ctx.protocol),
        "committer.name=A".to_owned(),
        "committer.email=a@b".to_owned(),
    ];
    overrides.extend(header(remote).iter().map(|header| format!("http.extraHeader={header}")));
    gix::open::Options::isolated().config_overrides(overrides)
}

fn gix_clone(ctx: &Ctx, facts: &mut Facts, name: &str, remote: &Remote, depth: Option<u32>) {
    let place = ctx.dir.join(name);
    let cloned = gix_clone_to(ctx, &place, remote, depth);
    facts.put(
        format!("{name}: cloned"),
        cloned.map_or_else(|error| format!("{error:?}"), |()| "yes".to_owned()),
    );
    if place.exists() {
        ctx.observe(facts, name, &place);
    }
}

fn gix_clone_to(
    ctx: &Ctx,
    place: &Path,
    remote: &Remote,
    depth: Option<u32>,
) -> Result<(), Box<dyn std::error::Error>> {
    let stop = AtomicBool::new(false);
    let kind = gix::create::Kind::WithWorktree;
    let options = gix_options(ctx, remote);
    let mut clone = gix::clone::PrepareFetch::new(
        remote.url.as_str(),
        place,
        kind,
        gix::create::Options::default(),
        options,
    )?;
    if let Some(depth) = depth.and_then(NonZeroU32::new) {
        clone = clone.with_shallow(gix::remote::fetch::Shallow::DepthAtRemote(depth));
    }
    let (mut checkout, _) = clone.fetch_then_checkout(gix::progress::Discard, &stop)?;
    checkout.main_worktree(gix::progress::Discard, &stop)?;
    Ok(())
}

fn gix_fetch(ctx: &Ctx, place: &Path, remote: &Remote) -> Result<(), Box<dyn std::error::Error>> {
    let repository = gix::open_opts(place, gix_options(ctx, remote))?;
    let stop = AtomicBool::new(false);
    let there = repository.find_remote("origin")?;
    let connection = there.connect(gix::remote::Direction::Fetch)?;
    let fetch = connection.prepare_fetch(gix::progress::Discard, gix::remote::ref_map::Options::default())?;
    fetch.receive(gix::progress::Discard, &stop)?;
    Ok(())
}

#[test]
fn gix_clones_and_fetches() {
    judge("gix", NEWEST, |ctx, facts| {
        let origin = fixture::history(ctx, "origin");
        let remote = ctx.create("gix");
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "main~2:refs/heads/main", "v1"]);
        gix_clone(ctx, facts, "full", &remote, None);
        for depth in [1, 2, 3] {
            gix_clone(ctx, facts, &format!("depth-{depth}"), &remote, Some(depth));
        }
        ctx.ok(&origin, &["push", "--quiet", &remote.url, "refs/*:refs/*"]);
        for name in ["full", "depth-2"] {
            let place = ctx.dir.join(name);
            let fetched = gix_fetch(ctx, &place, &remote);
            let fetched = fetched.map_or_else(|error| format!("{error:?}"), |()| "yes".to_owned());
            facts.put(format!("{name}: fetched"), fetched);
            ctx.observe(facts, &format!("{name} after"), &place);
        }
    });
}
