//! Packs that lie.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pack_repo.rs"]
mod support;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId, hash_object};
use cairn_protocol::pack::entry::{encode_ofs, encode_ref, encode_whole, pack_header};
use cairn_protocol::pack::inflate::deflate;
use cairn_protocol::pack::{
    Check, Class, IndexOptions, LinksOnly, NothingKnown, PackBytes, PackError, PackWriter, ReadObject, scan,
};
use std::collections::HashMap;
use support::{AtEnd, Has, Repo, index, index_with, options};

const SHA1: HashAlgo = HashAlgo::Sha1;

fn small_pack() -> Vec<u8> {
    let repo = Repo::with_history(SHA1, 4);
    repo.repack(50);
    std::fs::read(repo.pack_file()).unwrap()
}

/// A pack with a right trailer, whatever is in it.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut hasher = cairn_protocol::object::Hasher::new(SHA1);
    hasher.update(body);
    [body, hasher.finish().unwrap().as_bytes()].concat()
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Copies all of a base of `bytes` bytes, then adds `more`.
fn append_delta(bytes: u64, more: &[u8]) -> Vec<u8> {
    let mut delta = Vec::new();
    varint(bytes, &mut delta);
    varint(bytes + more.len() as u64, &mut delta);
    let mut at = 0;
    while at < bytes {
        let part = (bytes - at).min(0xff_ff00);
        delta.push(0xff);
        delta.extend_from_slice(&(at as u32).to_le_bytes());
        delta.extend_from_slice(&(part as u32).to_le_bytes()[..3]);
        at += part;
    }
    if !more.is_empty() {
        delta.push(more.len() as u8);
        delta.extend_from_slice(more);
    }
    delta
}

fn add_ofs(writer: &mut PackWriter, base_at: u64, delta: &[u8]) -> u64 {
    let at = writer.offset();
    let mut header = Vec::new();
    encode_ofs(&mut header, delta.len() as u64, at - base_at);
    writer.add_entry(&header, &deflate(delta));
    at
}

fn add_ref(writer: &mut PackWriter, base: &ObjectId, delta: &[u8]) {
    let mut header = Vec::new();
    encode_ref(&mut header, delta.len() as u64, base);
    writer.add_entry(&header, &deflate(delta));
}

#[test]
fn a_pack_cut_anywhere_is_refused() {
    let pack = small_pack();
    for len in 0..pack.len() {
        index(SHA1, &pack[..len]).unwrap_err();
        if len >= 12 {
            index(SHA1, &sealed(&pack[..len.min(pack.len() - 21)])).unwrap_err();
        }
    }
    let longer = sealed(&[&pack[..pack.len() - 20], b"x"].concat());
    assert_eq!(index(SHA1, &longer).unwrap_err().class(), Class::Malformed);
}

#[test]
fn a_flipped_byte_anywhere_is_refused_and_never_panics() {
    let pack = small_pack();
    for at in 0..pack.len() {
        let mut bad = pack.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(index(SHA1, &bad).is_err(), "byte {at}");
        // With a right trailer the fault must be found elsewhere, or be none (a zlib header's level).
        let _ = index(SHA1, &sealed(&bad[..bad.len() - 20]));
    }
}

#[test]
fn a_count_that_lies_allocates_nothing() {
    let mut body = pack_header(10_000_000).to_vec();
    body.resize(100, 0);
    let options = IndexOptions { objects_max: 20_000_000, ..options(SHA1) };
    let error = index_with(&sealed(&body), &options, &NothingKnown, &LinksOnly, 1).unwrap_err();
    assert_eq!(error.class(), Class::Malformed);
    let few = IndexOptions { objects_max: 9, ..options };
    let error = index_with(&sealed(&pack_header(10)), &few, &NothingKnown, &LinksOnly, 1).unwrap_err();
    assert!(matches!(error, PackError::TooManyObjects { count: 10, max: 9 }));
    index(SHA1, &sealed(&pack_header(0))).unwrap();
}

#[test]
fn a_size_that_lies_is_refused_before_inflating() {
    let cases = [
        ("claims a terabyte", 1 << 40, Class::TooLarge),
        ("claims a byte less than it has", 4, Class::Corrupt),
        ("claims a byte more than it has", 6, Class::Corrupt),
        ("claims nothing", 0, Class::Corrupt),
    ];
    for (why, size, class) in cases {
        let mut writer = PackWriter::new(SHA1);
        let mut header = Vec::new();
        encode_whole(&mut header, Kind::Blob, size);
        writer.add_entry(&header, &deflate(b"12345"));
        assert_eq!(index(SHA1, &writer.finish().unwrap()).unwrap_err().class(), class, "{why}");
    }
}

#[test]
fn a_delta_that_claims_a_terabyte_is_refused() {
    let mut writer = PackWriter::new(SHA1);
    writer.add(Kind::Blob, b"base").unwrap();
    let mut delta = Vec::new();
    varint(4, &mut delta);
    varint(1 << 40, &mut delta);
    add_ofs(&mut writer, 12, &delta);
    assert_eq!(index(SHA1, &writer.finish().unwrap()).unwrap_err().class(), Class::TooLarge);
}

#[test]
fn a_caterpillar_over_a_large_blob_resolves_within_any_budget() {
    let bytes = 8 << 20;
    let mut writer = PackWriter::new(SHA1);
    writer.add(Kind::Blob, &vec![0; bytes]).unwrap();
    let mut base = 12;
    let mut size = bytes as u64;
    for step in 0..100_u8 {
        let next = add_ofs(&mut writer, base, &append_delta(size, &[step]));
        add_ofs(&mut writer, base, &append_delta(size, &[step, 255]));
        (base, size) = (next, size + 1);
    }
    let pack = writer.finish().unwrap();
    assert!(pack.len() < 40_000);
    let options = IndexOptions { cache_bytes: 0, ..options(SHA1) };
    assert_eq!(index_with(&pack, &options, &NothingKnown, &LinksOnly, 2).unwrap().len(), 201);
}

#[test]
fn a_pack_that_inflates_to_terabytes_is_refused_while_scanning() {
    let bytes = 32 << 20;
    let mut writer = PackWriter::new(SHA1);
    writer.add(Kind::Blob, &vec![0; bytes]).unwrap();
    for step in 0..3_000_u32 {
        add_ofs(&mut writer, 12, &append_delta(bytes as u64, &step.to_le_bytes()));
    }
    let error = index(SHA1, &writer.finish().unwrap()).unwrap_err();
    assert!(matches!(error, PackError::TooMuch { .. }), "{error}");
}

#[test]
fn chains_up_to_the_limit_resolve_and_longer_ones_are_refused() {
    for (links, fine) in [(4_095, true), (4_096, false)] {
        let mut writer = PackWriter::new(SHA1);
        writer.add(Kind::Blob, b"").unwrap();
        let mut base = 12;
        for link in 0..links {
            base = add_ofs(&mut writer, base, &append_delta(link, b"x"));
        }
        assert_eq!(index(SHA1, &writer.finish().unwrap()).is_ok(), fine);
    }
}

#[test]
fn ref_delta_chains_against_the_order_of_the_pack_resolve_in_linear_time() {
    let mut writer = PackWriter::new(SHA1);
    let id = |len: usize| hash_object(SHA1, Kind::Blob, &vec![b'x'; len]).unwrap();
    for link in (0..3_000).rev() {
        add_ref(&mut writer, &id(link), &append_delta(link as u64, b"x"));
    }
    writer.add(Kind::Blob, b"").unwrap();
    let pack = writer.finish().unwrap();
    for cache_bytes in [0, 1 << 20] {
        let options = IndexOptions { cache_bytes, ..options(SHA1) };
        let indexed = index_with(&pack, &options, &NothingKnown, &LinksOnly, 2).unwrap();
        assert!((0..=3_000).all(|len| indexed.find(&id(len)).is_some()));
    }
}

#[test]
fn ref_deltas_in_a_circle_have_no_base() {
    let ids = [b"a", b"b"].map(|data| hash_object(SHA1, Kind::Blob, data).unwrap());
    let mut writer = PackWriter::new(SHA1);
    let replace = |with| vec![1, 1, 1, with];
    add_ref(&mut writer, &ids[1], &replace(b'a'));
    add_ref(&mut writer, &ids[0], &replace(b'b'));
    let pack = writer.finish().unwrap();
    let error = index(SHA1, &pack).unwrap_err();
    assert!(matches!(error, PackError::MissingBase { .. }));
    // The repository has one of them: then both can be made, and none is taken for its own base.
    let has = Has(HashMap::from([(ids[0], (Kind::Blob, b"a".to_vec()))]));
    let indexed = index_with(&pack, &options(SHA1), &has, &LinksOnly, 1).unwrap();
    assert_eq!(indexed.len(), 2);
}

#[test]
fn the_same_object_twice_is_refused() {
    let mut writer = PackWriter::new(SHA1);
    let id = writer.add(Kind::Blob, b"same").unwrap();
    writer.add(Kind::Blob, b"same").unwrap();
    let error = index(SHA1, &writer.finish().unwrap()).unwrap_err();
    assert!(matches!(error, PackError::Duplicate { id: twice } if twice == id));

    let mut writer = PackWriter::new(SHA1);
    writer.add(Kind::Blob, b"same").unwrap();
    add_ofs(&mut writer, 12, &append_delta(4, b""));
    add_ref(&mut writer, &id, &append_delta(4, b"!"));
    let error = index(SHA1, &writer.finish().unwrap()).unwrap_err();
    assert!(matches!(error, PackError::Duplicate { .. }));
}

#[test]
fn links_must_lead_somewhere_and_to_the_right_kind() {
    let blob = hash_object(SHA1, Kind::Blob, b"blob").unwrap();
    let tree_of = |mode: &str| [format!("{mode} a\0").as_bytes(), blob.as_bytes()].concat();
    let pack = |tree: &[u8], with_blob: bool| {
        let mut writer = PackWriter::new(SHA1);
        writer.add(Kind::Tree, tree).unwrap();
        if with_blob {
            writer.add(Kind::Blob, b"blob").unwrap();
        }
        writer.finish().unwrap()
    };
    let run = |mode: &str, with_blob, known: &Has| {
        index_with(&pack(&tree_of(mode), with_blob), &options(SHA1), known, &LinksOnly, 1)
    };
    let nothing = Has(HashMap::new());
    let known = Has(HashMap::from([(blob, (Kind::Blob, b"blob".to_vec()))]));
    assert!(run("100644", true, &nothing).unwrap().is_referred(1));
    assert_eq!(run("100644", false, &known).unwrap().external(), [(blob, Kind::Blob)]);
    run("160000", false, &nothing).expect("a commit of a submodule is not a link");
    let missing = run("100644", false, &nothing).unwrap_err();
    assert!(matches!(missing, PackError::Missing { id, named_by: Kind::Tree, .. } if id == blob));
    assert_eq!(missing.class(), Class::Missing);
    for (with_blob, known) in [(true, &nothing), (false, &known)] {
        let error = run("40000", with_blob, known).unwrap_err();
        assert!(matches!(error, PackError::WrongKind { found: Kind::Blob, named_by: Kind::Tree, .. }));
    }
}

#[test]
fn broken_commits_trees_and_tags_are_refused() {
    let cases: [(&str, Kind, &[u8]); 6] = [
        ("no tree", Kind::Commit, b"author x"),
        ("half an id", Kind::Commit, b"tree 1234\n"),
        ("no end of the name", Kind::Tree, b"100644 a"),
        ("half an id", Kind::Tree, b"100644 a\x00123"),
        ("a mode that is none", Kind::Tree, b"1x0644 a\x0012345678901234567890"),
        ("no object", Kind::Tag, b"tag x"),
    ];
    for (why, kind, data) in cases {
        let mut writer = PackWriter::new(SHA1);
        writer.add(kind, data).unwrap();
        let error = index(SHA1, &writer.finish().unwrap()).unwrap_err();
        assert!(matches!(error, PackError::Object { .. }), "{why}: {error}");
    }
}

#[test]
fn a_check_that_refuses_stops_all_workers() {
    struct Refuse;
    impl Check for Refuse {
        fn object(
            &self,
            kind: Kind,
            id: &ObjectId,
            data: &[u8],
            links: &mut dyn FnMut(&[u8], Kind),
        ) -> Result<(), PackError> {
            if kind == Kind::Commit {
                return Err(PackError::Object { kind, id: *id, why: "not today".to_owned() });
            }
            LinksOnly.object(kind, id, data, links)
        }

        fn finish(&self, _: &ReadObject<'_>) -> Result<(), PackError> {
            panic!("not reached");
        }
    }
    let pack = small_pack();
    let options = options(SHA1);
    let error = index_with(&pack, &options, &NothingKnown, &Refuse, 3).unwrap_err();
    assert!(error.to_string().ends_with("not today"));
    let resolver =
        scan(&pack, &options, &mut |_, _| ()).unwrap().resolver(&pack, &NothingKnown, &Refuse).unwrap();
    resolver.work().unwrap_err();
    assert!(matches!(resolver.finish(), Err(PackError::Unfinished)));
    let lenient = IndexOptions { fsck: false, ..options };
    index_with(&pack, &lenient, &NothingKnown, &Refuse, 1).unwrap();
}

#[test]
fn a_pack_that_cannot_be_read_is_the_stores_fault() {
    struct Fails<'a>(&'a [u8], std::sync::atomic::AtomicU32);
    impl PackBytes for Fails<'_> {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, at: u64, into: &mut [u8]) -> std::io::Result<()> {
            let left = self.1.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            if left == 0 { Err(std::io::Error::other("gone")) } else { self.0.read_at(at, into) }
        }
    }
    let pack = small_pack();
    for reads in 0..5 {
        let fails = Fails(&pack, reads.into());
        let error = index_with(&fails, &options(SHA1), &NothingKnown, &LinksOnly, 1).unwrap_err();
        assert_eq!(error.class(), Class::Unavailable);
    }
}

#[test]
fn what_is_held_is_told_and_a_delta_that_lies_about_its_base_does_not_add_to_it() {
    let blob = vec![7; 1 << 20];
    let id = hash_object(SHA1, Kind::Blob, &blob).unwrap();
    let lie = [vec![4, 4], vec![4, 1, 2, 3, 4]].concat();
    let good = append_delta(1 << 20, b"more");
    let tree = [b"100644 f\0".as_slice(), id.as_bytes()].concat();
    // What is added to the blob; the largest that is held; why it is refused.
    type Case<'a> = (&'a str, &'a dyn Fn(&mut PackWriter, u64), u64, Option<&'a str>);
    let cases: [Case<'_>; 5] = [
        ("a blob alone is only hashed", &|_, _| (), 0, None),
        (
            "a tree is parsed",
            &|writer, _| _ = writer.add(Kind::Tree, &tree).unwrap(),
            tree.len() as u64,
            None,
        ),
        ("a base is held", &|writer, at| _ = add_ofs(writer, at, &good), (1 << 20) + 4, None),
        ("a lie by offset", &|writer, at| _ = add_ofs(writer, at, &lie), 7, Some("of another size")),
        ("a lie by name", &|writer, _| add_ref(writer, &id, &lie), 7, Some("of another size")),
    ];
    for (name, add, held, why) in cases {
        let mut writer = PackWriter::new(SHA1);
        let at = writer.offset();
        writer.add(Kind::Blob, &blob).unwrap();
        add(&mut writer, at);
        let pack = writer.finish().unwrap();
        let scanned = scan(&pack, &options(SHA1), &mut |_, _| ()).unwrap();
        assert_eq!(scanned.largest_held(), held, "{name}");
        let resolver = scanned.resolver(&pack, &NothingKnown, &LinksOnly).unwrap();
        let done = resolver.work();
        match why {
            None => done.unwrap(),
            Some(why) => {
                let error = done.unwrap_err().to_string();
                assert!(error.contains(why), "{name}: {error}");
            }
        }
    }
}

#[test]
fn a_rule_reads_no_object_for_which_there_is_no_memory() {
    let mut writer = PackWriter::new(SHA1);
    let id = writer.add(Kind::Blob, &[1; 1_000]).unwrap();
    let pack = writer.finish().unwrap();
    for (max, fits) in [(1_000, true), (999, false)] {
        let mut scanned = scan(&pack, &options(SHA1), &mut |_, _| ()).unwrap();
        scanned.set_memory(0, max);
        let check = AtEnd(|read: &ReadObject<'_>| {
            assert_eq!(read(&id)?.map(|data| data.len()), Some(1_000));
            Ok(())
        });
        let resolver = scanned.resolver(&pack, &NothingKnown, &check).unwrap();
        resolver.work().unwrap();
        let done = resolver.finish();
        assert_eq!(done.is_ok(), fits);
        assert!(fits || matches!(done, Err(PackError::Held { bytes: 1_000, max: 999 })));
    }
}
