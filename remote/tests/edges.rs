//! What is taken from a remote and sent to it, at the limit and one past it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/stock.rs"]
mod stock;

use cairn_conformance::front::{Asked, Authority, Deed, Front};
use cairn_protocol::object::{HashAlgo, ObjectId};
use cairn_remote::limits::{
    CA_FILE_BYTES_MAX, HAVES_MAX, HTTP_HEAD_BYTES_MAX, MESSAGE_BYTES_MAX, PREAMBLE_BYTES_MAX,
    PREAMBLE_V0_BYTES_MAX, PREFIXES_MAX, READ_BYTES, REFS_BYTES_MAX, SERVER_OPTION_BYTES_MAX,
    SERVER_OPTIONS_MAX, SHALLOWS_MAX, SIZES_BYTES_MAX, WANTS_MAX,
};
use cairn_remote::{Class, FetchWish, Options, Remote, RemoteError};
use stock::{PATH, fetch, options};

const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const RESULT: &str = "application/x-git-upload-pack-result";
/// The smallest pack: no objects.
const EMPTY_PACK: &[u8] =
    b"PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";

fn pkt(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    [format!("{:04x}", data.len() + 4).as_bytes(), data].concat()
}

fn id(number: usize) -> ObjectId {
    ObjectId::from_hex(HashAlgo::Sha1, format!("{number:040x}").as_bytes()).unwrap()
}

/// What a remote of version 2 offers.
fn offer() -> Vec<u8> {
    let lines =
        ["version 2\n", "ls-refs=unborn\n", "fetch=shallow filter\n", "server-option\n", "object-info\n"];
    [lines.iter().flat_map(pkt).collect::<Vec<u8>>(), b"0000".to_vec()].concat()
}

/// What one of version 0 does.
fn offer_v0() -> Vec<u8> {
    let head = format!("{} refs/heads/main\0multi_ack_detailed side-band-64k shallow ofs-delta\n", id(1));
    [pkt("# service=git-upload-pack\n"), b"0000".to_vec(), pkt(head), b"0000".to_vec()].concat()
}

/// A remote that answers every command so.
fn answering(offer: Vec<u8>, answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> (Front, Remote) {
    let front = Front::plain("127.0.0.1:1", move |asked| match asked.method == "POST" {
        true => Deed::answer(RESULT, answer(asked)),
        false => Deed::answer(ADVERTISEMENT, offer.clone()),
    });
    let remote = Remote::open(&url(&front), options()).unwrap();
    (front, remote)
}

fn url(front: &Front) -> String {
    format!("{}{PATH}", front.origin())
}

/// An answer with a pack behind what is given.
fn with_pack(before: &[u8], header: &str) -> Vec<u8> {
    [before, header.as_bytes(), &pkt([b"\x01", EMPTY_PACK].concat()), b"0000"].concat()
}

fn limited<T>(done: Result<T, RemoteError>) -> String {
    let error = done.err().expect("one past it");
    assert_eq!(error.class(), Class::Limit, "{error}");
    error.to_string()
}

#[test]
fn answers_are_taken_up_to_their_limits() {
    // Lines of 64 bytes, and one that makes the sum right.
    let refs = |bytes: usize| {
        let line = |name: &str| pkt(format!("{} refs/heads/{name}\n", id(1)));
        let shortest = line("").len();
        let count = (bytes - 4 - 2 * shortest) / 64;
        let last = line(&"z".repeat(bytes - 4 - 64 * count - shortest));
        [line("xxxxxxx").repeat(count), last, b"0000".to_vec()].concat()
    };
    let sizes = |bytes: usize| {
        let line = pkt(format!("{} 1234567", id(1)));
        let head = pkt("size");
        let count = (bytes - 4 - head.len()) / line.len() - 1;
        let rest = bytes - 4 - head.len() - count * line.len();
        let shortest = format!("{} ", id(1)).len() + 4;
        // Zeros in front of a number change nothing.
        let last = pkt(format!("{} {}1", id(1), "0".repeat(rest - shortest - 1)));
        [head, line.repeat(count), last, b"0000".to_vec()].concat()
    };
    for more in [0, 1] {
        let answer = refs(REFS_BYTES_MAX as usize + more);
        assert_eq!(answer.len(), REFS_BYTES_MAX as usize + more);
        let (_front, mut remote) = answering(offer(), move |_| answer.clone());
        let found = remote.ls_refs(&[]);
        match more {
            0 => assert!(found.unwrap().len() > 500_000, "at the limit"),
            _ => _ = limited(found),
        }
        let answer = sizes(SIZES_BYTES_MAX as usize + more);
        assert_eq!(answer.len(), SIZES_BYTES_MAX as usize + more);
        let (_front, mut remote) = answering(offer(), move |_| answer.clone());
        let found = remote.sizes(&[id(1)]);
        match more {
            0 => assert_eq!(found.unwrap(), [Some(1)], "at the limit"),
            _ => _ = limited(found),
        }
    }
}

/// What is read at once may hold the start of the pack, which counts as well: the limit is met within one such piece.
#[test]
fn what_stands_before_a_pack_is_taken_up_to_its_limit() {
    let wish = FetchWish { wants: vec![id(1)], depth: Some(1), ..FetchWish::default() };
    let shallow = |bytes: usize| {
        (0..).map(|n| pkt(format!("shallow {}", id(n)))).take(bytes / 52).flatten().collect::<Vec<u8>>()
    };
    for (version, max) in [(2, PREAMBLE_BYTES_MAX as usize), (0, PREAMBLE_V0_BYTES_MAX as usize)] {
        for (bytes, fits) in [(max - 2 * READ_BYTES, true), (max + 52, false)] {
            let answer = match version {
                2 => {
                    let info = [pkt("shallow-info\n"), shallow(bytes), b"0001".to_vec()].concat();
                    with_pack(&info, "000dpackfile\n")
                }
                _ => with_pack(&[shallow(bytes), b"0000".to_vec()].concat(), "0008NAK\n"),
            };
            let offer = if version == 2 { offer() } else { offer_v0() };
            let (_front, mut remote) = answering(offer, move |_| answer.clone());
            match fetch(&mut remote, &wish) {
                Ok((_, fetched)) => assert!(fits && fetched.shallow.len() == bytes / 52, "{version}"),
                Err(error) => assert_eq!((fits, error.class()), (false, Class::Limit), "{version}: {error}"),
            }
        }
    }
}

#[test]
fn requests_name_so_much_and_no_more() {
    let lines = |asked: &Asked, word: &str| {
        let word = format!("{word} ");
        asked.body.windows(word.len()).filter(|window| *window == word.as_bytes()).count()
    };
    let ids = |count: usize| (0..count).map(id).collect::<Vec<_>>();
    let (front, mut remote) = answering(offer(), |_| with_pack(b"", "000dpackfile\n"));
    let wish = |wants, shallow, haves| FetchWish {
        wants: ids(wants),
        shallow: ids(shallow),
        haves: ids(haves),
        ..FetchWish::default()
    };
    let most = (WANTS_MAX, SHALLOWS_MAX, HAVES_MAX);
    fetch(&mut remote, &wish(WANTS_MAX, 0, 0)).unwrap();
    fetch(&mut remote, &wish(1, SHALLOWS_MAX, 0)).unwrap();
    fetch(&mut remote, &wish(1, 0, HAVES_MAX)).unwrap();
    fetch(&mut remote, &wish(1, 0, HAVES_MAX + 1)).unwrap();
    let posts: Vec<Asked> = front.asked().into_iter().filter(|asked| asked.method == "POST").collect();
    assert_eq!((lines(&posts[0], "want"), lines(&posts[1], "shallow"), lines(&posts[2], "have")), most);
    assert_eq!(lines(&posts[3], "have"), HAVES_MAX, "further hints are left out");
    for (past, max) in [(wish(WANTS_MAX + 1, 0, 0), WANTS_MAX), (wish(1, SHALLOWS_MAX + 1, 0), SHALLOWS_MAX)]
    {
        let text = limited(fetch(&mut remote, &past));
        assert!(text.contains(&max.to_string()), "{text}");
    }
    let (_front, mut remote) = answering(offer(), |_| b"0000".to_vec());
    assert!(remote.ls_refs(&["refs/heads/"; PREFIXES_MAX]).is_ok());
    let text = limited(remote.ls_refs(&["refs/heads/"; PREFIXES_MAX + 1]));
    assert!(text.contains(&PREFIXES_MAX.to_string()), "{text}");
}

#[test]
fn server_options_stop_at_their_limits() {
    let front = Front::plain("127.0.0.1:1", |_| Deed::answer(ADVERTISEMENT, offer()));
    let open = |server_options: Vec<String>| {
        Remote::open(&url(&front), Options { server_options, ..options() })
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    open(vec!["x".to_owned(); SERVER_OPTIONS_MAX]).unwrap();
    let past = open(vec!["x".to_owned(); SERVER_OPTIONS_MAX + 1]).unwrap_err();
    assert!(past.contains("17") && past.contains("16"), "{past}");
    open(vec!["x".repeat(SERVER_OPTION_BYTES_MAX)]).unwrap();
    let past = open(vec!["x".repeat(SERVER_OPTION_BYTES_MAX + 1)]).unwrap_err();
    assert!(past.contains(&SERVER_OPTION_BYTES_MAX.to_string()), "{past}");
}

#[test]
fn a_message_is_repeated_up_to_its_limit() {
    let wish = FetchWish { wants: vec![id(1)], ..FetchWish::default() };
    for (bytes, shown) in [(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX), (MESSAGE_BYTES_MAX + 1, MESSAGE_BYTES_MAX)]
    {
        let fatal = pkt([b"\x03".as_slice(), &vec![b'~'; bytes]].concat());
        let answer = [b"000dpackfile\n".as_slice(), &fatal, b"0000"].concat();
        let (_front, mut remote) = answering(offer(), move |_| answer.clone());
        let text = fetch(&mut remote, &wish).unwrap_err().to_string();
        assert_eq!(text.matches('~').count(), shown, "{bytes}");
    }
}

/// What the HTTP client counts besides the fields is a few bytes of its own.
#[test]
fn the_head_of_an_answer_stops_at_its_limit() {
    let open = |bytes: usize| {
        let front = Front::plain("127.0.0.1:1", move |_| {
            let fields = ("Content-Type".to_owned(), ADVERTISEMENT.to_owned());
            Deed::Say(200, vec![fields, ("X".to_owned(), "y".repeat(bytes))], offer())
        });
        Remote::open(&url(&front), options()).map(|_| ())
    };
    open(HTTP_HEAD_BYTES_MAX - 1_024).unwrap();
    open(HTTP_HEAD_BYTES_MAX + 1).unwrap_err();
}

#[test]
fn a_file_of_authorities_stops_at_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = Authority::new().write_to(dir.path());
    let pem = std::fs::read_to_string(&path).unwrap();
    let front = Front::plain("127.0.0.1:1", |_| Deed::answer(ADVERTISEMENT, offer()));
    let open = |bytes: u64| {
        std::fs::write(&path, format!("{pem}{}", "\n".repeat(bytes as usize - pem.len()))).unwrap();
        Remote::open(&url(&front), Options { ca_file: Some(path.clone()), ..options() }).map(|_| ())
    };
    open(CA_FILE_BYTES_MAX).unwrap();
    let past = open(CA_FILE_BYTES_MAX + 1).unwrap_err();
    assert!(past.to_string().contains(&CA_FILE_BYTES_MAX.to_string()), "{past}");
}
