//! Reads and checks arbitrary bytes as an object of every kind. The first byte picks the hash function.

#![no_main]

use cairn_protocol::object::fsck::{check, check_tree_and_links, dot_files};
use cairn_protocol::object::{HashAlgo, Kind, commit_links, for_each_link, tag_target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((first, data)) = input.split_first() else {
        return;
    };
    let algo = if first & 1 == 0 {
        HashAlgo::Sha1
    } else {
        HashAlgo::Sha256
    };
    for kind in [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag] {
        let mut stops = false;
        check(algo, kind, data, &mut |finding| stops |= finding.severity.stops());
        let links = for_each_link(algo, kind, data, &mut |id, _| assert_eq!(id.len(), algo.bytes()));
        assert!(
            stops || links.is_ok(),
            "{} passes but has unreadable links",
            kind.name()
        );
    }
    let mut found = 0_usize;
    check_tree_and_links(algo, data, &mut |_| found += 1, &mut |_, _| {});
    dot_files(algo, data, &mut |_, _| {});
    let _ = (commit_links(algo, data), tag_target(algo, data));
});
