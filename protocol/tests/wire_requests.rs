//! Requests: what each line means, what is refused, and that limits hold at the limit and not past it.

use cairn_protocol::{
    filter::Filter,
    limits::{
        COMMANDS_MAX, DEEPEN_DEPTH_MAX, DEEPEN_NOTS_MAX, HAVES_MAX, OBJECT_INFO_IDS_MAX,
        PUSH_HEADER_BYTES_MAX, PUSH_OPTIONS_MAX, REF_PREFIXES_MAX, SERVER_OPTIONS_MAX, SHALLOWS_MAX,
        WANTS_MAX,
    },
    object::{HashAlgo, ObjectId},
    pktline::{write_data, write_delim, write_flush},
    receive_pack::{Front, Parsed, PushRequest, Report, parse_push},
    request::{Class, RequestError},
    upload_pack::{FetchRequest, LsRefs, MultiAck, ObjectInfo, SideBand, V2Request, parse_v0, parse_v2},
};

const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";
const NULL: &str = "0000000000000000000000000000000000000000";

fn id(hex: &str) -> ObjectId {
    ObjectId::from_hex(HashAlgo::Sha1, hex.as_bytes()).expect("40 digits")
}

/// `0000` and `0001` are special packets, all else is a line.
fn packets<S: AsRef<str>>(lines: &[S]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        match line.as_ref() {
            "0000" => write_flush(&mut out),
            "0001" => write_delim(&mut out),
            line => write_data(&mut out, format!("{line}\n").as_bytes()),
        }
    }
    out
}

fn v2(lines: &[&str]) -> Result<Option<V2Request>, RequestError> {
    parse_v2(&packets(lines), HashAlgo::Sha1)
}

fn v2_fetch(lines: &[String]) -> Result<FetchRequest, RequestError> {
    let mut all = vec!["command=fetch".to_owned(), "0001".to_owned()];
    all.extend_from_slice(lines);
    all.push("0000".to_owned());
    match parse_v2(&packets(&all), HashAlgo::Sha1)? {
        Some(V2Request::Fetch(fetch)) => Ok(*fetch),
        other => panic!("no fetch: {other:?}"),
    }
}

fn v0(lines: &[String]) -> Result<Option<FetchRequest>, RequestError> {
    parse_v0(&packets(lines), HashAlgo::Sha1)
}

fn push(lines: &[String]) -> Result<Parsed<PushRequest>, RequestError> {
    parse_push(&packets(lines), HashAlgo::Sha1)
}

fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn a_v2_fetch_says_all_that_a_client_can_ask() {
    let fetch = v2_fetch(&[
        format!("want {ONE}"),
        format!("have {TWO}"),
        "want-ref refs/heads/main".into(),
        format!("shallow {TWO}"),
        "deepen 3".into(),
        "deepen-relative".into(),
        "filter blob:none".into(),
        "thin-pack".into(),
        "no-progress".into(),
        "include-tag".into(),
        "ofs-delta".into(),
        "wait-for-done".into(),
        "sideband-all".into(),
        "done".into(),
    ])
    .unwrap();
    assert_eq!((fetch.wants, fetch.haves, fetch.shallow), (vec![id(ONE)], vec![id(TWO)], vec![id(TWO)]));
    assert_eq!(fetch.want_refs[0].as_bytes(), b"refs/heads/main");
    assert_eq!((fetch.deepen.depth, fetch.deepen.relative), (Some(3), true));
    assert_eq!((fetch.filter, fetch.side_band), (Some(Filter::BlobNone), SideBand::Large));
    let flags = [fetch.thin_pack, fetch.no_progress, fetch.include_tag, fetch.ofs_delta];
    assert_eq!((flags, [fetch.wait_for_done, fetch.sideband_all, fetch.done]), ([true; 4], [true; 3]));
}

#[test]
fn a_v2_body_that_asks_nothing_is_no_request() {
    assert_eq!(parse_v2(b"", HashAlgo::Sha1), Ok(None));
    assert_eq!(v2(&["0000"]), Ok(None));
}

#[test]
fn v2_commands_are_told_apart() {
    let listed = v2(&[
        "command=ls-refs",
        "agent=git/2",
        "server-option=x",
        "session-id=y",
        "0001",
        "peel",
        "symrefs",
        "unborn",
        "ref-prefix refs/heads/",
        "ref-prefix HEAD",
        "0000",
    ]);
    let prefixes = vec![b"refs/heads/".to_vec(), b"HEAD".to_vec()];
    let want = LsRefs { peel: true, symrefs: true, unborn: true, ref_prefixes: prefixes };
    assert_eq!(listed, Ok(Some(V2Request::LsRefs(want))));
    assert_eq!(
        v2(&["command=ls-refs", "0000"]),
        Ok(Some(V2Request::LsRefs(LsRefs::default()))),
        "no arguments"
    );
    let sizes = v2(&["command=object-info", "0001", "size", &format!("oid {ONE}"), "0000"]);
    assert_eq!(sizes, Ok(Some(V2Request::ObjectInfo(ObjectInfo { size: true, ids: vec![id(ONE)] }))));
}

#[test]
fn broken_v2_requests_are_malformed() {
    let want = format!("want {ONE}");
    let cases: [(&str, Vec<&str>); 16] = [
        ("no flush", vec!["command=fetch"]),
        ("no flush after arguments", vec!["command=fetch", "0001", "done"]),
        ("no command", vec!["agent=x", "0000"]),
        ("delim without command", vec!["0001", "0000"]),
        ("two commands", vec!["command=fetch", "command=fetch", "0000"]),
        ("unknown command", vec!["command=push", "0000"]),
        ("unknown capability", vec!["command=fetch", "color", "0000"]),
        ("a command is no capability", vec!["command=fetch", "fetch=shallow", "0000"]),
        ("other format", vec!["command=fetch", "object-format=sha256", "0000"]),
        ("two delims", vec!["command=fetch", "0001", "0001", "0000"]),
        ("unknown argument", vec!["command=fetch", "0001", "packfile-uris https", "0000"]),
        ("capabilities of v0", vec!["command=fetch", "0001", "want 11 ofs-delta", "0000"]),
        ("depth 0", vec!["command=fetch", "0001", &want, "deepen 0", "0000"]),
        ("depth past git's", vec!["command=fetch", "0001", &want, "deepen 2147483648", "0000"]),
        ("two ways to deepen", vec!["command=fetch", "0001", &want, "deepen 1", "deepen-since 1", "0000"]),
        ("one ref twice", vec!["command=fetch", "0001", "want-ref refs/a", "want-ref refs/a", "0000"]),
    ];
    for (why, lines) in cases {
        let err = v2(&lines).expect_err(why);
        assert_eq!(err.class(), Class::Malformed, "{why}: {err}");
    }
    let err = v2(&["command=fetch", "0001", "want-ref a..b", "0000"]).expect_err("no such ref can be");
    assert_eq!(err.class(), Class::Missing);
    let silent = parse_v2(&packets(&["command=fetch", "0000"]), HashAlgo::Sha256);
    assert!(matches!(silent, Err(RequestError::ObjectFormat { .. })), "silence means sha1");
}

#[test]
fn v2_limits_hold_at_the_limit_and_not_past_it() {
    let options = |count| [vec!["command=ls-refs"], vec!["server-option=x"; count], vec!["0000"]].concat();
    assert!(v2(&options(SERVER_OPTIONS_MAX)).is_ok());
    assert_eq!(v2(&options(SERVER_OPTIONS_MAX + 1)).unwrap_err().class(), Class::TooLarge);
    let not = |count| v2_fetch(&vec!["deepen-not a".to_owned(); count]);
    assert!(not(DEEPEN_NOTS_MAX).is_ok());
    assert_eq!(not(DEEPEN_NOTS_MAX + 1).unwrap_err().class(), Class::TooLarge);
    for (depth, fits) in [(DEEPEN_DEPTH_MAX, true), (DEEPEN_DEPTH_MAX + 1, false)] {
        assert_eq!(v2_fetch(&[format!("want {ONE}"), format!("deepen {depth}")]).is_ok(), fits, "{depth}");
    }
    for (count, kept) in
        [(REF_PREFIXES_MAX, REF_PREFIXES_MAX), (REF_PREFIXES_MAX + 1, 0), (REF_PREFIXES_MAX + 2, 0)]
    {
        let lines = [vec!["command=ls-refs", "0001"], vec!["ref-prefix a"; count], vec!["0000"]].concat();
        let Ok(Some(V2Request::LsRefs(asked))) = v2(&lines) else { panic!("a list") };
        assert_eq!(asked.ref_prefixes.len(), kept, "{count}");
    }
}

#[test]
fn a_v0_fetch_takes_its_capabilities_from_the_wants() {
    let caps = "multi_ack_detailed no-done side-band-64k thin-pack no-progress include-tag ofs-delta filter \
        deepen-since deepen-relative agent=git/2.47 object-format=sha1";
    let fetch = v0(&[
        format!("want {ONE} {caps}"),
        format!("want {TWO}"),
        format!("shallow {TWO}"),
        "deepen-since 5".into(),
        "deepen-not v1".into(),
        "filter tree:0".into(),
        "0000".into(),
        format!("have {ONE}"),
        "0000".into(),
        format!("have {TWO}"),
        "done".into(),
    ])
    .unwrap()
    .unwrap();
    assert_eq!((fetch.wants, fetch.haves), (vec![id(ONE), id(TWO)], vec![id(ONE), id(TWO)]));
    assert_eq!((fetch.multi_ack, fetch.side_band), (MultiAck::Detailed, SideBand::Large));
    assert_eq!((fetch.deepen.since, fetch.deepen.not.len(), fetch.deepen.depth), (Some(5), 1, None));
    assert_eq!((fetch.filter, fetch.agent), (Some(Filter::TreeDepth(0)), Some(b"git/2.47".to_vec())));
    assert!(fetch.done && fetch.no_done && fetch.thin_pack && fetch.ofs_delta && !fetch.wants_only);
}

#[test]
fn a_v0_body_that_ends_behind_its_wants_says_so() {
    let wants = [format!("want {ONE} shallow"), "deepen 1".into(), "0000".into()];
    assert!(v0(&wants).unwrap().unwrap().wants_only);
    assert!(!v0(&[&wants[..], &["0000".to_owned()]].concat()).unwrap().unwrap().wants_only);
    assert_eq!(v0(&strings(&["0000"])), Ok(None));
}

#[test]
fn broken_v0_requests_are_malformed() {
    let want = format!("want {ONE}");
    let cases = [
        ("no flush", strings(&[&want])),
        ("short id", strings(&["want 11", "0000"])),
        ("have among wants", strings(&[&want, &format!("have {ONE}"), "0000"])),
        ("want among haves", strings(&[&want, "0000", &want])),
        ("filter that was not agreed on", strings(&[&want, "filter blob:none", "0000"])),
        ("delim", strings(&[&want, "0001", "0000"])),
        ("other format", strings(&[&format!("{want} object-format=sha256"), "0000"])),
    ];
    for (why, lines) in cases {
        assert_eq!(v0(&lines).expect_err(why).class(), Class::Malformed, "{why}");
    }
}

#[test]
fn a_push_is_read_up_to_its_pack() {
    let caps = " report-status-v2 report-status side-band-64k atomic quiet push-options object-format=sha1 agent=a/1";
    let mut body = packets(&[
        format!("shallow {TWO}"),
        format!("{NULL} {ONE} refs/heads/a b\0{caps}"),
        format!("{ONE} {NULL} refs/heads/c"),
        "0000".into(),
        "ci.skip".into(),
        "x=y z".into(),
        "0000".into(),
    ]);
    let end = body.len();
    body.extend_from_slice(b"PACK");
    let Ok(Parsed::Done { value, used }) = parse_push(&body, HashAlgo::Sha1) else { panic!("a push") };
    assert_eq!(used, end);
    assert_eq!(value.commands[0].name, b"refs/heads/a b", "judged later, alone");
    assert!(value.commands[1].is_delete() && value.has_pack());
    assert_eq!((value.report, value.options), (Report::V2, vec![b"ci.skip".to_vec(), b"x=y z".to_vec()]));
    assert!(value.side_band && value.atomic && value.quiet && !value.delete_refs);
    assert_eq!((value.shallow, value.agent), (vec![id(TWO)], Some(b"a/1".to_vec())));
    assert_eq!(parse_push(&body[..end - 1], HashAlgo::Sha1), Ok(Parsed::NeedMore));
}

#[test]
fn an_empty_push_has_no_commands_and_waits_for_no_options() {
    assert_eq!(
        parse_push(b"0000", HashAlgo::Sha256),
        Ok(Parsed::Done { value: PushRequest::default(), used: 4 })
    );
}

#[test]
fn broken_pushes_are_malformed() {
    let cases = [
        ("signed", strings(&["push-cert\0 report-status", "0000"])),
        ("no name", vec![format!("{NULL} {ONE} "), "0000".into()]),
        ("no ids", strings(&["refs/heads/a", "0000"])),
        ("other format", vec![format!("{NULL} {ONE} refs/a\0object-format=sha256"), "0000".into()]),
        ("delim", vec![format!("{NULL} {ONE} refs/a\0x"), "0001".into()]),
        ("short shallow", strings(&["shallow 11", "0000"])),
    ];
    for (why, lines) in cases {
        assert_eq!(push(&lines).expect_err(why).class(), Class::Malformed, "{why}");
    }
    let silent = packets(&[format!("{NULL}{} {ONE}{} refs/a\0x", &NULL[..24], &ONE[..24]), "0000".into()]);
    let silent = parse_push(&silent, HashAlgo::Sha256);
    assert!(matches!(silent, Err(RequestError::ObjectFormat { .. })), "silence means sha1");
}

#[test]
fn push_limits_hold_at_the_limit_and_not_past_it() {
    let commands = |count| [vec![format!("{NULL} {ONE} refs/a"); count], strings(&["0000"])].concat();
    assert!(matches!(push(&commands(COMMANDS_MAX)), Ok(Parsed::Done { .. })));
    assert_eq!(push(&commands(COMMANDS_MAX + 1)), Err(RequestError::TooManyCommands));
    let options = |count| {
        let head = vec![format!("{NULL} {ONE} refs/a\0push-options"), "0000".into()];
        [head, vec!["o".to_owned(); count], strings(&["0000"])].concat()
    };
    assert!(matches!(push(&options(PUSH_OPTIONS_MAX)), Ok(Parsed::Done { .. })));
    assert_eq!(push(&options(PUSH_OPTIONS_MAX + 1)).unwrap_err().class(), Class::TooLarge);
    // A header without end is refused before the buffer holds more than the limit.
    let mut endless = Vec::new();
    while endless.len() + 65_520 <= PUSH_HEADER_BYTES_MAX {
        write_data(&mut endless, &[b'x'; 65_516]);
    }
    assert_eq!(parse_push(&endless, HashAlgo::Sha1), Ok(Parsed::NeedMore));
    let mut front = Front::default();
    assert_eq!(front.take(&endless), Ok(false));
    assert_eq!(front.take(b"fff0"), Err(RequestError::PushHeader));
    endless.extend_from_slice(b"fff0");
    assert_eq!(parse_push(&endless, HashAlgo::Sha1), Err(RequestError::PushHeader));
}

#[test]
fn the_end_of_a_front_is_seen_whether_or_not_options_follow() {
    let command = format!("{NULL} {ONE} refs/a\0report-status push-options");
    let cases = [
        ("no options", strings(&[&format!("{NULL} {ONE} refs/a\0atomic"), "0000"])),
        (
            "options behind a shallow line",
            strings(&[&format!("shallow {ONE}"), &command, "0000", "o", "0000"]),
        ),
        ("no option at all", strings(&[&command, "0000", "0000"])),
        ("nothing asked", strings(&["0000"])),
        ("nothing asked but a cut", strings(&[&format!("shallow {ONE}\0push-options"), "0000"])),
    ];
    for (why, lines) in cases {
        let front_bytes = packets(&lines);
        let body = [front_bytes.as_slice(), b"PACK0000PACK"].concat();
        for piece in 1..body.len() {
            let (mut front, mut taken) = (Front::default(), 0);
            for bytes in body.chunks(piece) {
                taken += bytes.len();
                assert_eq!(
                    front.take(bytes),
                    Ok(taken >= front_bytes.len()),
                    "{why}: {taken} in pieces of {piece}"
                );
            }
        }
    }
}

#[test]
fn lists_of_ids_hold_at_the_limit_and_not_past_it() {
    let cases = [
        ("fetch", "want", WANTS_MAX),
        ("fetch", "have", HAVES_MAX),
        ("fetch", "shallow", SHALLOWS_MAX),
        ("object-info", "oid", OBJECT_INFO_IDS_MAX),
    ];
    for (command, word, max) in cases {
        let lines = |count: usize| {
            let head = [format!("command={command}"), "0001".into()];
            let ids = (0..count).map(|number| format!("{word} {number:040x}"));
            packets(&head.into_iter().chain(ids).chain(["0000".into()]).collect::<Vec<_>>())
        };
        assert!(parse_v2(&lines(max), HashAlgo::Sha1).is_ok(), "{word}");
        let past = parse_v2(&lines(max + 1), HashAlgo::Sha1).expect_err(word);
        assert_eq!(past.class(), Class::TooLarge, "{word}: {past}");
    }
    let shallow = |count: usize| {
        let ids = (0..count).map(|number| format!("shallow {number:040x}"));
        packets(&ids.chain(["0000".into()]).collect::<Vec<_>>())
    };
    assert!(parse_push(&shallow(SHALLOWS_MAX), HashAlgo::Sha1).is_ok());
    let past = parse_push(&shallow(SHALLOWS_MAX + 1), HashAlgo::Sha1).expect_err("too many");
    assert_eq!(past.class(), Class::TooLarge);
}
