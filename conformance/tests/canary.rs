//! The judge must notice a wrong subject.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cairn_conformance::facts::{Facts, compare};
use cairn_conformance::fixture;
use cairn_conformance::host::StockHost;
use cairn_conformance::judge::{Ctx, differences};

fn case(ctx: &Ctx, facts: &mut Facts) {
    let remote = ctx.create_from("canary", &fixture::history(ctx, "origin"));
    ctx.observe_remote(facts, "remote", &remote);
}

fn differences_of_a_host_that(damages: &str) -> Vec<String> {
    let stock = StockHost::start().unwrap();
    let subject = StockHost::start_with_hook(damages).unwrap();
    differences("canary", &[2], &stock, &subject, &case)
}

#[test]
fn a_sound_host_is_not_accused() {
    assert_eq!(differences_of_a_host_that("exit 0"), Vec::<String>::new());
}

#[test]
fn a_host_that_loses_a_ref_is_caught() {
    let found = differences_of_a_host_that("git update-ref -d refs/tags/light");
    assert!(found.iter().any(|text| text.contains("ls-remote")), "{found:?}");
}

#[test]
fn a_host_that_moves_a_ref_is_caught() {
    assert!(!differences_of_a_host_that("git update-ref refs/heads/side refs/heads/main").is_empty());
}

#[test]
fn a_host_that_loses_an_object_is_caught() {
    let lose = "oid=$(git rev-parse refs/heads/main:README); rm -f objects/$(echo $oid | cut -c1-2)/$(echo $oid | cut -c3-)";
    assert!(!differences_of_a_host_that(lose).is_empty());
}

#[test]
fn a_missing_changed_or_additional_fact_is_a_difference() {
    let mut whole = Facts::default();
    whole.put("refs", "a b c");
    whole.put("fsck", 0);
    let mut dropped = whole.clone();
    dropped.remove("fsck");
    let mut changed = Facts::default();
    changed.put("refs", "a b");
    changed.put("fsck", 0);
    for (why, subject) in [("dropped", &dropped), ("changed", &changed)] {
        assert_eq!(compare(&whole, subject).len(), 1, "{why}");
        assert_eq!(compare(subject, &whole).len(), 1, "{why}, seen from the other side");
    }
    assert!(compare(&whole, &whole).is_empty());
}
