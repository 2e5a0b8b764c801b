//! No bytes make the readers and checks of objects panic, and they agree with each other.

use cairn_protocol::object::fsck::{
    Special, TreeVisitor, check, check_gitattributes, check_gitmodules, check_tree_and_links, dot_files,
    visit_tree,
};
use cairn_protocol::object::{HashAlgo, Kind, TreeIter, commit_links, for_each_link, tag_target};
use proptest::prelude::*;

const KINDS: [Kind; 4] = [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag];

fn algo() -> impl Strategy<Value = HashAlgo> {
    prop_oneof![Just(HashAlgo::Sha1), Just(HashAlgo::Sha256)]
}

/// Bytes that look enough like objects to get past the first checks.
fn pieces(of: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(of).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|parts| parts.concat())
}

const TREE_PIECES: &[&[u8]] = &[
    b"100644 a\0aaaaaaaaaaaaaaaaaaaa",
    b"40000 b\0aaaaaaaaaaaaaaaaaaaa",
    b"120000 .gitmodules\0aaaaaaaaaaaaaaaaaaaa",
    b"100644 .gitmodules\0aaaaaaaaaaaaaaaaaaaa",
    b"100644 a.c\0aaaaaaaaaaaaaaaaaaaa",
    b"100644 ",
    b"git~1",
    b"\\.git\0",
    b"100644 a\\gi7eba~1\0aaaaaaaaaaaaaaaaaaaa",
    b"40000 a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
];
const TEXT_PIECES: &[&[u8]] = &[
    b"tree ",
    b"parent ",
    b"0123456789abcdef0123456789abcdef01234567",
    b"\n",
    b"author ",
    b"committer ",
    b"object ",
    b"type ",
    b"commit",
    b"tag ",
    b"tagger ",
    b"A <a> 1 +0000",
    b"\n\n",
    b"<",
    b">",
    b" ",
    b"99999999999999999999",
    b"\0",
];
const CONFIG_PIECES: &[&[u8]] = &[
    b"[submodule \"",
    b"a",
    b"..",
    b"\"]\n",
    b"url = ",
    b"path = ",
    b"update = ",
    b"\n",
    b"\"",
    b"\\",
    b"\r\n",
    b"https://",
    b"%0a",
    b"%",
    b"/",
    b"../",
    b"@",
    b":",
    b"?",
    b"#",
    b"http::",
    b"git://",
    b"\xef\xbb\xbf",
    b"80",
    b"0",
    b"]",
    b"-",
    b"!",
    b"\0",
];

#[derive(Default)]
struct All {
    stops: bool,
    findings: usize,
    links: Vec<(Vec<u8>, Kind)>,
    special: Vec<(Special, Vec<u8>)>,
}

impl TreeVisitor for All {
    fn found(&mut self, finding: cairn_protocol::object::fsck::Finding) {
        self.findings += 1;
        self.stops |= finding.severity.stops();
    }
    fn link(&mut self, id: &[u8], kind: Kind) {
        self.links.push((id.to_vec(), kind));
    }
    fn special(&mut self, special: Special, id: &[u8]) {
        self.special.push((special, id.to_vec()));
    }
}

/// Everything that can be asked of an object.
fn ask(algo: HashAlgo, data: &[u8]) {
    for kind in KINDS {
        let mut stops = false;
        check(algo, kind, data, &mut |finding| stops |= finding.severity.stops());
        let mut links = Vec::new();
        let end = for_each_link(algo, kind, data, &mut |id, kind| {
            assert_eq!(id.len(), algo.bytes());
            links.push((id.to_vec(), kind));
        });
        assert!(stops || end.is_ok(), "{} passes but has unreadable links", kind.name());
        if kind == Kind::Tree {
            let mut all = All::default();
            visit_tree(algo, data, &mut all);
            assert_eq!((all.stops, &all.links), (stops, &links));
            let mut special = Vec::new();
            dot_files(algo, data, &mut |which, id| special.push((which, id.to_vec())));
            assert_eq!(all.special, special);
            let (mut findings, mut count) = (0, 0);
            check_tree_and_links(algo, data, &mut |_| findings += 1, &mut |_, _| count += 1);
            assert_eq!((findings, count), (all.findings, links.len()));
        }
    }
    let _ = (commit_links(algo, data), tag_target(algo, data), TreeIter::new(algo, data).count());
    check_gitmodules(data, &mut |finding| assert!(!finding.to_string().is_empty()));
    check_gitattributes(data, &mut |_| {});
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn random_bytes_do_not_panic(algo in algo(), data in prop::collection::vec(any::<u8>(), 0..200)) {
        ask(algo, &data);
    }

    #[test]
    fn broken_trees_do_not_panic(algo in algo(), data in pieces(TREE_PIECES)) {
        ask(algo, &data);
    }

    #[test]
    fn broken_headers_do_not_panic(algo in algo(), data in pieces(TEXT_PIECES)) {
        ask(algo, &data);
    }

    #[test]
    fn broken_configurations_do_not_panic(data in pieces(CONFIG_PIECES)) {
        ask(HashAlgo::Sha1, &data);
    }
}
