//! Packs at the limits of what is taken, and one past them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pack_repo.rs"]
mod support;

use cairn_protocol::object::{HashAlgo, Hasher, Kind};
use cairn_protocol::pack::entry::{encode_ofs, encode_whole, pack_header};
use cairn_protocol::pack::inflate::{Inflater, deflate};
use cairn_protocol::pack::limits::{
    ENTRY_BYTES_MIN, INFLATE_RATIO_MAX, OBJECTS_MAX, RESOLVED_BYTES_FLOOR, RESOLVED_BYTES_PER_PACK_BYTE,
};
use cairn_protocol::pack::{Class, IndexOptions, LinksOnly, NothingKnown, PackError, PackWriter, scan};
use support::{index_with, options};

const SHA1: HashAlgo = HashAlgo::Sha1;

/// A pack with a right trailer, whatever is in it.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(SHA1);
    hasher.update(body);
    [body, hasher.finish().unwrap().as_bytes()].concat()
}

fn index(pack: &[u8], options: &IndexOptions) -> Result<usize, PackError> {
    index_with(&pack.to_vec(), options, &NothingKnown, &LinksOnly, 1).map(|pack| pack.len() as usize)
}

#[test]
fn objects_are_taken_up_to_their_limit_whole_or_as_deltas() {
    let limited = IndexOptions { object_bytes_max: 6, ..options(SHA1) };
    for (bytes, fits) in [(6, true), (7, false)] {
        let mut whole = PackWriter::new(SHA1);
        whole.add(Kind::Blob, &vec![b'x'; bytes]).unwrap();
        let mut delta = PackWriter::new(SHA1);
        delta.add(Kind::Blob, b"based").unwrap();
        let mut header = Vec::new();
        // Copies all of its base, and then some of it again; has six bytes itself.
        let data = [5, bytes as u8, 0x90, 5, 0x90, bytes as u8 - 5];
        encode_ofs(&mut header, data.len() as u64, delta.offset() - 12);
        let roomy = IndexOptions { object_bytes_max: 7, ..options(SHA1) };
        delta.add_entry(&header, &deflate(&data));
        let (whole, delta) = (whole.finish().unwrap(), delta.finish().unwrap());
        assert!(index(&whole, &roomy).is_ok());
        for pack in [whole, delta] {
            match index(&pack, &limited) {
                Ok(_) => assert!(fits, "{bytes}"),
                Err(error) => assert_eq!((fits, error.class()), (false, Class::TooLarge), "{error}"),
            }
        }
    }
}

#[test]
fn no_pack_has_more_entries_than_can_be_numbered() {
    let all = IndexOptions { objects_max: u32::MAX, ..options(SHA1) };
    let error = |count| index(&sealed(&pack_header(count)), &all).unwrap_err();
    assert_eq!(error(OBJECTS_MAX).class(), Class::Malformed, "at the limit: it has no room for them");
    let past = error(OBJECTS_MAX + 1);
    assert!(matches!(past, PackError::TooManyObjects { max: OBJECTS_MAX, .. }), "{past}");
}

#[test]
fn the_shortest_entry_is_taken_and_a_count_that_needs_shorter_ones_is_not() {
    let mut header = Vec::new();
    encode_whole(&mut header, Kind::Blob, 0);
    let entry = [header, deflate(b"")].concat();
    assert_eq!(entry.len() as u64, ENTRY_BYTES_MIN);
    let with = |count: u32| sealed(&[&pack_header(count)[..], &entry, &entry[..8]].concat());
    let why = |count| index(&with(count), &options(SHA1)).unwrap_err().to_string();
    assert_eq!(index(&sealed(&[&pack_header(1)[..], &entry].concat()), &options(SHA1)).unwrap(), 1);
    assert!(!why(1).contains("room"), "{}", why(1));
    assert!(why(2).contains("more entries than the pack has room for"), "{}", why(2));
}

/// A pack whose one delta says that it makes `claimed` bytes.
fn claiming(claimed: u64) -> Vec<u8> {
    let mut writer = PackWriter::new(SHA1);
    writer.add(Kind::Blob, b"x").unwrap();
    let mut delta = vec![1];
    let mut rest = claimed;
    while rest >= 0x80 {
        delta.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    delta.push(rest as u8);
    let mut header = Vec::new();
    encode_ofs(&mut header, delta.len() as u64, writer.offset() - 12);
    writer.add_entry(&header, &deflate(&delta));
    writer.finish().unwrap()
}

#[test]
fn a_pack_inflates_to_so_much_and_no_more() {
    let taken = |claimed: u64| {
        let options = IndexOptions { object_bytes_max: u64::MAX, ..options(SHA1) };
        scan(&claiming(claimed), &options, &mut |_, _| {}).map(|_| ())
    };
    // What it may inflate to depends on its length, which depends a little on the number that it claims.
    let most = |pack: &[u8]| RESOLVED_BYTES_FLOOR + RESOLVED_BYTES_PER_PACK_BYTE * pack.len() as u64;
    let guess = most(&claiming(RESOLVED_BYTES_FLOOR));
    let at = (0..8).map(|more| guess + more * RESOLVED_BYTES_PER_PACK_BYTE - 1);
    let at = at.chain((1..4).map(|less| guess - less * RESOLVED_BYTES_PER_PACK_BYTE - 1));
    // One byte is that of the base.
    let at = at.into_iter().find(|at| most(&claiming(*at)) == at + 1).unwrap();
    assert_eq!(claiming(at).len(), claiming(at + 1).len());
    taken(at).unwrap();
    assert!(matches!(taken(at + 1), Err(PackError::TooMuch { .. })), "one byte past it");
}

#[test]
fn a_size_that_no_stream_has_room_for_is_refused_before_it_is_allocated() {
    let zeros = vec![0; 8 << 20];
    let stream = deflate(&zeros);
    let mut out = Vec::new();
    Inflater::new().inflate(&stream, zeros.len() as u64, &mut out).unwrap();
    assert_eq!(out, zeros, "zlib's best ratio is taken");
    let most = stream.len() as u64 * INFLATE_RATIO_MAX + INFLATE_RATIO_MAX - 1;
    // At the limit the stream is read, and is too short; past it nothing is read.
    let mut out = Vec::new();
    assert!(Inflater::new().inflate(&stream, most, &mut out).is_err());
    let mut out = Vec::new();
    assert!(Inflater::new().inflate(&stream, most + 1, &mut out).is_err());
    assert_eq!(out.capacity(), 0, "nothing was allocated");
}
