//! Entry headers, deltas and zlib streams by themselves.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use cairn_protocol::object::{HashAlgo, Kind, ObjectId, for_each_link};
use cairn_protocol::pack::delta;
use cairn_protocol::pack::entry::{EntryHeader, EntryKind, decode, encode_ofs, encode_ref, encode_whole};
use cairn_protocol::pack::inflate::{Inflater, deflate};
use proptest::prelude::*;

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Commit), Just(Kind::Tree), Just(Kind::Blob), Just(Kind::Tag)]
}

fn entry_kinds() -> impl Strategy<Value = EntryKind> {
    let id = any::<[u8; 20]>().prop_map(|raw| ObjectId::from_bytes(HashAlgo::Sha1, &raw).unwrap());
    let back = prop_oneof![1..300_u64, 1..=u64::MAX];
    prop_oneof![
        kinds().prop_map(EntryKind::Whole),
        back.prop_map(|back| EntryKind::Ofs { back }),
        id.prop_map(EntryKind::Ref),
    ]
}

proptest! {
    #[test]
    fn headers_decode_to_what_was_encoded(kind in entry_kinds(), size in prop_oneof![0..300_u64, any::<u64>()]) {
        let mut bytes = Vec::new();
        match kind {
            EntryKind::Whole(kind) => encode_whole(&mut bytes, kind, size),
            EntryKind::Ofs { back } => encode_ofs(&mut bytes, size, back),
            EntryKind::Ref(base) => encode_ref(&mut bytes, size, &base),
        }
        let header = EntryHeader { kind, size, header_bytes: bytes.len() };
        prop_assert!(bytes.len() <= cairn_protocol::pack::limits::ENTRY_HEADER_BYTES_MAX);
        for len in 0..bytes.len() {
            prop_assert_eq!(decode(HashAlgo::Sha1, &bytes[..len]).unwrap(), None);
        }
        bytes.extend_from_slice(b"more");
        prop_assert_eq!(decode(HashAlgo::Sha1, &bytes).unwrap(), Some(header));
    }

    #[test]
    fn random_headers_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode(HashAlgo::Sha256, &bytes);
    }

    #[test]
    fn random_deltas_do_not_panic(base in prop::collection::vec(any::<u8>(), 0..40), tail in prop::collection::vec(any::<u8>(), 0..40), result in 0..200_u8) {
        let mut delta = vec![base.len() as u8, result & 0x7f];
        delta.extend_from_slice(&tail);
        let mut out = Vec::new();
        if delta::apply(&base, &delta, &mut out, 100).is_ok() {
            prop_assert_eq!(out.len(), usize::from(result & 0x7f));
        }
        let _ = delta::apply(&base, &tail, &mut out, 100);
    }

    #[test]
    fn random_objects_do_not_panic(kind in kinds(), data in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = for_each_link(HashAlgo::Sha1, kind, &data, &mut |_, _| ());
    }

    #[test]
    fn what_was_deflated_inflates(data in prop::collection::vec(any::<u8>(), 0..5_000), tail in 0..9_usize) {
        let mut stream = deflate(&data);
        let bytes = stream.len();
        stream.resize(bytes + tail, 7);
        let (mut inflater, mut out) = (Inflater::new(), b"before".to_vec());
        prop_assert_eq!(inflater.inflate(&stream, data.len() as u64, &mut out).unwrap(), bytes);
        prop_assert_eq!(&out[6..], &data[..]);
        prop_assert!(inflater.inflate(&stream, data.len() as u64 + 1, &mut Vec::new()).is_err());
        prop_assert!(inflater.inflate(&stream[..bytes - 1], data.len() as u64, &mut Vec::new()).is_err());
        if !data.is_empty() {
            prop_assert!(inflater.inflate(&stream, data.len() as u64 - 1, &mut Vec::new()).is_err());
        }
    }
}

#[test]
fn numbers_that_overflow_are_refused_and_long_zeros_are_not() {
    let mut size = vec![0xb0];
    size.extend([0x80; 8]);
    assert_eq!(decode(HashAlgo::Sha1, &[&size[..], &[0x00]].concat()).unwrap().unwrap().size, 0);
    assert_eq!(decode(HashAlgo::Sha1, &[&size[..], &[0x0f]].concat()).unwrap().unwrap().size, 15 << 60);
    decode(HashAlgo::Sha1, &[&size[..], &[0x10]].concat()).unwrap_err();
    decode(HashAlgo::Sha1, &[&[0x60][..], &[0xff; 12]].concat()).unwrap_err();
    decode(HashAlgo::Sha1, &[0x60, 0x00]).unwrap_err();
    for number in [0x00, 0x50] {
        decode(HashAlgo::Sha1, &[number]).unwrap_err();
    }
}

#[test]
fn deltas_are_checked_at_every_turn() {
    use delta::DeltaError as E;
    type Case = (&'static str, &'static [u8], Result<&'static [u8], E>);
    let cases: [Case; 10] = [
        ("copy and literal", &[4, 5, 0x91, 1, 2, 3, b'x', b'y', b'z'], Ok(b"bcxyz")),
        ("nothing at all", &[4, 0], Ok(b"")),
        ("no sizes", &[], Err(E::Truncated)),
        ("another base", &[5, 0], Err(E::BaseSize { wanted: 5, found: 4 })),
        ("too large", &[4, 0xff, 1], Err(E::TooLarge { bytes: 255, max: 100 })),
        ("copy beyond the base", &[4, 5, 0x91, 1, 5], Err(E::Copy)),
        ("copy cut short", &[4, 5, 0x91, 1], Err(E::Truncated)),
        ("literal cut short", &[4, 5, 5, 1], Err(E::Truncated)),
        ("instruction 0", &[4, 5, 0], Err(E::Reserved)),
        ("more than it says", &[4, 1, 2, 1, 1], Err(E::ResultSize)),
    ];
    for (why, delta, want) in cases {
        let mut out = b"old".to_vec();
        let got = delta::apply(b"abcd", delta, &mut out, 100).map(|()| out.as_slice());
        assert_eq!(got, want, "{why}");
    }
    assert_eq!(delta::apply(b"abcd", &[4, 1], &mut Vec::new(), 100), Err(E::ResultSize));
}
