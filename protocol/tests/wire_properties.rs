//! What holds for all bytes: nothing panics, what is written can be read, and cutting a stream changes no result.

use cairn_protocol::{
    filter::Filter,
    object::{HashAlgo, Kind, ObjectId},
    pktline::{
        BAND_DATA_MAX, Decoded, Packet, Packets, decode, write_band, write_data, write_delim, write_flush,
        write_line, write_response_end,
    },
    receive_pack::{Front, Outcome, Parsed, parse_push, write_report},
    refs::RefName,
    upload_pack::{V2Request, parse_v0, parse_v2},
};
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Debug)]
enum Made {
    Data(Vec<u8>),
    Flush,
    Delim,
    ResponseEnd,
}

fn packet() -> impl Strategy<Value = Made> {
    prop_oneof![
        6 => vec(any::<u8>(), 0..40).prop_map(Made::Data),
        1 => Just(Made::Data(vec![7; 65_516])),
        1 => Just(Made::Flush),
        1 => Just(Made::Delim),
        1 => Just(Made::ResponseEnd),
    ]
}

fn written(packets: &[Made]) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in packets {
        match packet {
            Made::Data(data) => write_data(&mut out, data),
            Made::Flush => write_flush(&mut out),
            Made::Delim => write_delim(&mut out),
            Made::ResponseEnd => write_response_end(&mut out),
        }
    }
    out
}

/// Lines that come close to real ones, so that parsers get past their first word.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "command=fetch",
        "command=ls-refs",
        "command=object-info",
        "object-format=sha1",
        "agent=x",
        "want ",
        "have ",
        "done",
        "shallow ",
        "deepen 1",
        "deepen 0",
        "deepen-since 5",
        "deepen-not x",
        "filter blob:none",
        "filter ",
        "ref-prefix ",
        "peel",
        "oid ",
        "size",
        "want-ref ",
        "sideband-all",
        "push-cert",
        "refs/heads/a",
        "0123456789012345678901234567890123456789",
        "\0",
        " side-band-64k filter push-options report-status",
        " ",
        "\n",
    ]);
    let piece = prop_oneof![8 => word.prop_map(|w| w.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..8)];
    vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let packet =
        prop_oneof![6 => line().prop_map(Made::Data), 1 => Just(Made::Flush), 1 => Just(Made::Delim)];
    vec(packet, 0..12).prop_map(|packets| written(&packets))
}

fn filter() -> impl Strategy<Value = Filter> {
    let kind = prop::sample::select(vec![Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag]);
    let leaf = prop_oneof![
        Just(Filter::BlobNone),
        any::<u64>().prop_map(Filter::BlobLimit),
        any::<u64>().prop_map(Filter::TreeDepth),
        kind.prop_map(Filter::ObjectType),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| vec(inner, 1..4).prop_map(Filter::Combine))
}

fn id() -> impl Strategy<Value = ObjectId> {
    any::<[u8; 20]>().prop_map(|raw| ObjectId::from_bytes(HashAlgo::Sha1, &raw).expect("20 bytes"))
}

proptest! {
    #[test]
    fn packets_come_back_as_they_were_written(packets in vec(packet(), 0..10), cut in any::<prop::sample::Index>()) {
        let bytes = written(&packets);
        let read: Vec<_> = Packets::new(&bytes).map(|p| p.expect("written by us")).collect();
        let want: Vec<_> = packets.iter().map(|p| match p {
            Made::Data(data) => Packet::Data(data),
            Made::Flush => Packet::Flush,
            Made::Delim => Packet::Delim,
            Made::ResponseEnd => Packet::ResponseEnd,
        }).collect();
        prop_assert_eq!(read, want);
        // A shorter buffer asks for bytes that are there, and never reads another packet.
        if !bytes.is_empty() {
            let at = cut.index(bytes.len());
            let whole = decode(&bytes).expect("written by us");
            match decode(&bytes[..at]).expect("a prefix of good bytes") {
                Decoded::NeedMore(missing) => prop_assert!(at + missing <= bytes.len()),
                short => prop_assert_eq!(short, whole),
            }
        }
    }

    #[test]
    fn a_band_holds_its_data_in_frames_of_the_limit(data in vec(any::<u8>(), 0..3000), max in 1usize..2000) {
        let mut out = Vec::new();
        write_band(&mut out, 1, &data, max);
        let mut back = Vec::new();
        for packet in Packets::new(&out) {
            let Ok(Packet::Data([1, part @ ..])) = packet else { panic!("a frame of band 1") };
            prop_assert!(!part.is_empty() && part.len() <= max.min(BAND_DATA_MAX));
            back.extend_from_slice(part);
        }
        prop_assert_eq!(back, data);
    }

    #[test]
    fn no_body_makes_a_parser_panic(body in prop_oneof![body(), vec(any::<u8>(), 0..200)]) {
        for algo in [HashAlgo::Sha1, HashAlgo::Sha256] {
            let _ = parse_v2(&body, algo);
            let _ = parse_v0(&body, algo);
            let _ = parse_push(&body, algo);
        }
        let _ = RefName::new(&body);
        let _ = Filter::parse(&body);
    }

    #[test]
    fn a_push_cut_anywhere_asks_for_more_or_says_the_same(body in body(), cut in any::<prop::sample::Index>()) {
        let at = cut.index(body.len() + 1);
        if let Ok(Parsed::Done { value, used }) = parse_push(&body, HashAlgo::Sha1) {
            match parse_push(&body[..at], HashAlgo::Sha1) {
                Ok(Parsed::NeedMore) => prop_assert!(at < used),
                Ok(Parsed::Done { value: short, used: end }) => {
                    prop_assert!(end <= at && end == used && short == value);
                }
                Err(err) => prop_assert!(false, "a prefix is no worse than the whole: {err}"),
            }
        }
    }

    #[test]
    fn the_end_of_the_front_is_seen_in_the_piece_that_holds_it(body in body(), piece in 1..80usize) {
        let used = match parse_push(&body, HashAlgo::Sha1) {
            Ok(Parsed::Done { used, .. }) => used,
            Ok(Parsed::NeedMore) => usize::MAX,
            Err(_) => return Ok(()),
        };
        let (mut front, mut taken) = (Front::default(), 0);
        for bytes in body.chunks(piece) {
            taken += bytes.len();
            prop_assert_eq!(front.take(bytes), Ok(taken >= used), "{} of {}", taken, used);
        }
    }

    #[test]
    fn a_filter_reads_back_as_it_was_shown(filter in filter()) {
        prop_assert_eq!(Filter::parse(filter.to_string().as_bytes()), Ok(filter));
    }

    #[test]
    fn wants_and_haves_keep_their_order_and_lose_their_doubles(wants in vec(id(), 1..20), haves in vec(id(), 0..20)) {
        let mut v2 = Vec::new();
        write_data(&mut v2, b"command=fetch\n");
        write_delim(&mut v2);
        let mut v0 = Vec::new();
        for want in wants.iter().chain(&wants) {
            write_line(&mut v2, &[format!("want {want}").as_bytes()]);
            write_line(&mut v0, &[format!("want {want}").as_bytes()]);
        }
        write_flush(&mut v0);
        for have in haves.iter().rev().chain(&haves) {
            write_line(&mut v2, &[format!("have {have}").as_bytes()]);
            write_line(&mut v0, &[format!("have {have}").as_bytes()]);
        }
        write_flush(&mut v2);
        write_data(&mut v0, b"done\n");
        let Ok(Some(V2Request::Fetch(fetch))) = parse_v2(&v2, HashAlgo::Sha1) else { panic!("a fetch") };
        let Ok(Some(classic)) = parse_v0(&v0, HashAlgo::Sha1) else { panic!("a fetch") };
        let reversed: Vec<_> = haves.into_iter().rev().collect();
        prop_assert_eq!((&fetch.wants, &fetch.haves, fetch.done), (&wants, &reversed, false));
        prop_assert_eq!((classic.wants, classic.haves, classic.done), (wants, reversed, true));
    }

    #[test]
    fn a_report_has_one_line_for_each_ref_whatever_the_reasons(reasons in vec(any::<String>(), 0..5)) {
        let refused = |reason: &String| (b"refs/heads/a".to_vec(), Outcome::Refused(reason.clone()));
        let results: Vec<_> = reasons.iter().map(refused).collect();
        let mut out = Vec::new();
        write_report(&mut out, Err("bad\npack"), &results);
        let packets: Vec<_> = Packets::new(&out).map(|p| p.expect("written by us")).collect();
        prop_assert_eq!(packets.len(), results.len() + 2);
        for line in packets.iter().filter_map(|packet| packet.line()) {
            prop_assert!(!line.iter().any(|byte| *byte < b' '));
        }
    }
}
