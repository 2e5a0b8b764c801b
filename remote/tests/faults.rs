//! Remotes that refuse, lead elsewhere, break off, stand still or lie.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/stock.rs"]
mod stock;

use std::time::Duration;

use cairn_conformance::front::{Asked, Authority, Deed, Front};
use cairn_conformance::host::Format;
use cairn_remote::{AddressPolicy, Class, Credentials, FetchWish, Options, Remote, RemoteError};
use stock::{PATH, Stock, fetch, options};

const INFO_REFS: &str = "/info/refs?service=git-upload-pack";
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const RESULT: &str = "application/x-git-upload-pack-result";

fn fails(url: &str, options: Options) -> RemoteError {
    match Remote::open(url, options) {
        Ok(_) => panic!("{url} opens"),
        Err(error) => error,
    }
}

/// A front with no host behind it, which answers the first request so.
fn says(deed: Deed) -> Front {
    Front::plain("127.0.0.1:1", move |_| deed.clone())
}

fn url(front: &Front) -> String {
    format!("{}{PATH}", front.origin())
}

fn is_post(asked: &Asked) -> bool {
    asked.method == "POST"
}

fn everything(stock: &Stock) -> FetchWish {
    FetchWish { wants: vec![stock.id("main")], ..FetchWish::default() }
}

#[test]
fn statuses_are_told_apart() {
    let html = |status| Deed::Say(status, vec![("Content-Type".into(), "text/html".into())], b"<p>".to_vec());
    let rows = [
        (html(200), Class::NotGit, false),
        (html(401), Class::Auth, false),
        (html(403), Class::Auth, false),
        (html(404), Class::NotFound, false),
        (html(410), Class::NotFound, false),
        (html(400), Class::NotGit, false),
        (html(429), Class::Unreachable, true),
        (html(500), Class::Unreachable, true),
        (html(503), Class::Unreachable, true),
        (html(304), Class::Refused, false),
        (Deed::Say(302, Vec::new(), Vec::new()), Class::NotGit, false),
        (Deed::answer(ADVERTISEMENT, ""), Class::Protocol, false),
        (Deed::answer(ADVERTISEMENT, "hello, world"), Class::Protocol, false),
        (
            Deed::answer(ADVERTISEMENT, "001e# service=git-upload-pack\n0000000eversion 9\n0000"),
            Class::Protocol,
            false,
        ),
        (Deed::answer(ADVERTISEMENT, "001f# service=git-receive-pack\n0000"), Class::Protocol, false),
        (Deed::answer(ADVERTISEMENT, "0010ERR go away\n"), Class::Protocol, false),
    ];
    for (deed, class, transient) in rows {
        let shown = format!("{deed:?}");
        let error = fails(&url(&says(deed)), options());
        assert_eq!((error.class(), error.is_transient()), (class, transient), "{shown}: {error}");
    }
}

#[test]
fn a_host_that_is_not_there_is_unreachable() {
    let gone = says(Deed::Pass);
    let url = url(&gone);
    drop(gone);
    let error = fails(&url, options());
    assert_eq!((error.class(), error.is_transient()), (Class::Unreachable, true), "{error}");
    // A name of RFC 6761 that never resolves.
    let error = fails("http://cairn.invalid/r", options());
    assert_eq!(error.class(), Class::Unreachable, "{error}");
}

#[test]
fn credentials_go_with_every_request_and_into_no_text() {
    let stock = Stock::start(Format::Sha1);
    let front = Front::plain(&stock.origin(), |asked| match asked.header("authorization") {
        Some("Basic dTpzZWNyZXQtMQ==" | "Bearer secret-2") => Deed::Pass,
        _ => Deed::Say(401, vec![("WWW-Authenticate".into(), "Basic".into())], Vec::new()),
    });
    let error = fails(&url(&front), options());
    assert_eq!(error.class(), Class::Auth, "{error}");
    let in_url = url(&front).replace("http://", "http://u:secret-1@");
    let bearer = Options { credentials: Some(Credentials::Bearer("secret-2".into())), ..options() };
    for (url, options) in [(in_url, options()), (url(&front), bearer)] {
        let mut remote = Remote::open(&url, options).unwrap();
        assert!(!remote.url().contains("secret"));
        let (pack, _) = fetch(&mut remote, &everything(&stock)).unwrap();
        assert_eq!(stock.objects(&pack), stock.listed(&["main"]));
    }
    let split = Options { credentials: Some(Credentials::Bearer("secret-3\r\nX: y".into())), ..options() };
    let wrong = url(&front).replace("http://", "http://u:secret-3@");
    for (url, options, class) in [(wrong, options(), Class::Auth), (url(&front), split, Class::Refused)] {
        let error = fails(&url, options);
        assert_eq!(error.class(), class, "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn redirects_are_followed_and_credentials_stay_with_their_host() {
    let stock = Stock::start(Format::Sha1);
    let end = Front::plain(&stock.origin(), |_| Deed::Pass);
    let to = format!("http://localhost:{}{PATH}{INFO_REFS}", end.port());
    let middle = Front::plain(&stock.origin(), move |_| Deed::redirect(302, to.clone()));
    let to = format!("/moved{PATH}{INFO_REFS}");
    let here = middle.origin();
    let start = Front::plain(&stock.origin(), move |asked| match asked.target.starts_with("/moved") {
        true => Deed::redirect(307, format!("{here}{PATH}{INFO_REFS}")),
        false => Deed::redirect(301, to.clone()),
    });
    let with = url(&start).replace("http://", "http://u:p@");
    let mut remote = Remote::open(&with, options()).unwrap();
    assert_eq!(remote.url(), format!("http://localhost:{}{PATH}", end.port()));
    let (pack, _) = fetch(&mut remote, &everything(&stock)).unwrap();
    assert_eq!(stock.objects(&pack), stock.listed(&["main"]));
    let authorized =
        |front: &Front| front.asked().iter().filter(|a| a.header("authorization").is_some()).count();
    assert_eq!((authorized(&start), start.asked().len()), (2, 2), "the same host, twice");
    assert_eq!((authorized(&middle), middle.asked().len()), (0, 1), "another port");
    assert_eq!((authorized(&end), end.asked().len()), (0, 2), "another host, advertisement and fetch");
    let few = Options { redirects_max: 2, ..options() };
    assert_eq!(fails(&with, few).class(), Class::Refused);
    assert!(Remote::open(&with, Options { redirects_max: 3, ..options() }).is_ok(), "at the limit");
}

#[test]
fn a_redirect_without_end_ends() {
    let front = Front::plain("127.0.0.1:1", |asked| Deed::redirect(302, format!("/x{}", asked.target)));
    let error = fails(&url(&front), options());
    assert_eq!(error.class(), Class::Refused, "{error}");
    assert_eq!(front.asked().len() as u32, options().redirects_max + 1);
}

#[test]
fn a_login_page_is_no_git_and_a_moved_post_is_not_followed() {
    let error = fails(&url(&says(Deed::redirect(302, "/login?to=r"))), options());
    assert_eq!(error.class(), Class::NotGit, "{error}");
    let stock = Stock::start(Format::Sha1);
    let front = Front::plain(&stock.origin(), |asked| match is_post(asked) {
        true => Deed::redirect(307, "/elsewhere/git-upload-pack"),
        false => Deed::Pass,
    });
    let mut remote = Remote::open(&url(&front), options()).unwrap();
    let error = fetch(&mut remote, &everything(&stock)).unwrap_err();
    assert_eq!(error.class(), Class::Refused, "{error}");
}

#[test]
fn strangers_may_not_name_addresses_of_this_network() {
    let stock = Stock::start(Format::Sha1);
    let public = || Options { addresses: AddressPolicy::PublicOnly, ..options() };
    let port = stock.origin().rsplit(':').next().unwrap().to_owned();
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        let error = fails(&format!("http://{host}:{port}{PATH}"), public());
        assert_eq!(error.class(), Class::Refused, "{host}: {error}");
    }
    let front = Front::plain(&stock.origin(), |_| Deed::Pass);
    fails(&url(&front), public());
    assert!(front.asked().is_empty(), "nothing was sent");
}

#[test]
fn tls_with_the_right_authority_works_and_with_any_other_does_not() {
    let stock = Stock::start(Format::Sha1);
    let (ours, other) = (Authority::new(), Authority::new());
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let trust = |path| Options { ca_file: Some(path), ..options() };
    let front = Front::tls(&stock.origin(), &ours, |_| Deed::Pass);
    let mut remote = Remote::open(&url(&front), trust(ours.write_to(dir.path()))).unwrap();
    let (pack, _) = fetch(&mut remote, &everything(&stock)).unwrap();
    assert_eq!(stock.objects(&pack), stock.listed(&["main"]));

    let wrong = [
        ("unknown authority", fails(&url(&front), options())),
        ("another authority", fails(&url(&front), trust(other.write_to(elsewhere.path())))),
        ("another name", {
            let front = Front::tls_as(&stock.origin(), &ours, &["git.example"], |_| Deed::Pass);
            fails(&url(&front), trust(ours.write_to(dir.path())))
        }),
    ];
    for (why, error) in wrong {
        assert_eq!((error.class(), error.is_transient()), (Class::Unreachable, false), "{why}: {error}");
        assert!(error.to_string().contains("TLS failed"), "{why}: {error}");
    }
    assert_eq!(front.asked().len(), 2, "nothing was sent over a wrong certificate");
    // From https a redirect never leads down to http.
    let down = format!("http://127.0.0.1:{}{PATH}{INFO_REFS}", front.port());
    let front = Front::tls(&stock.origin(), &ours, move |_| Deed::redirect(302, down.clone()));
    let error = fails(&url(&front), trust(ours.write_to(dir.path())));
    assert_eq!(error.class(), Class::Refused, "{error}");
}

#[test]
fn a_bad_file_of_authorities_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    for content in [
        None,
        Some(""),
        Some("no certificate\n"),
        Some("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"),
    ] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let error = fails("https://127.0.0.1:1/r", Options { ca_file: Some(path.clone()), ..options() });
        assert_eq!(error.class(), Class::Refused, "{content:?}: {error}");
    }
}

#[test]
fn a_pack_that_breaks_off_is_an_error_at_every_place() {
    let stock = Stock::start(Format::Sha1);
    // In the head, before the pack, within it; and a proper HTTP answer that lacks its last packet.
    for bytes in [0, 10, 180, 230, 400, 3_000] {
        let front = Front::plain(&stock.origin(), move |asked| match is_post(asked) {
            true => Deed::Cut(bytes),
            false => Deed::Pass,
        });
        let mut remote = Remote::open(&url(&front), options()).unwrap();
        let error = fetch(&mut remote, &everything(&stock)).unwrap_err();
        assert_eq!(error.class(), Class::Unreachable, "after {bytes}: {error}");
        assert!(error.is_transient());
    }
    let short = Front::plain(&stock.origin(), |asked| match is_post(asked) {
        true => Deed::answer(RESULT, "000dpackfile\n000a\x01PACK\0"),
        false => Deed::Pass,
    });
    let mut remote = Remote::open(&url(&short), options()).unwrap();
    assert!(fetch(&mut remote, &everything(&stock)).is_err());
    let short = Front::plain(&stock.origin(), |asked| match is_post(asked) {
        true => Deed::answer(RESULT, "000dpackfile\n0009\x01PACK"),
        false => Deed::Pass,
    });
    let mut remote = Remote::open(&url(&short), options()).unwrap();
    assert!(fetch(&mut remote, &everything(&stock)).is_err());
}

#[test]
fn a_remote_stays_usable_after_a_broken_answer() {
    let stock = Stock::start(Format::Sha1);
    let is_first = std::sync::atomic::AtomicBool::new(true);
    let front = Front::plain(&stock.origin(), move |asked| {
        let breaks = is_post(asked) && is_first.swap(false, std::sync::atomic::Ordering::SeqCst);
        if breaks { Deed::Cut(1_000) } else { Deed::Pass }
    });
    let mut remote = Remote::open(&url(&front), options()).unwrap();
    assert!(fetch(&mut remote, &everything(&stock)).is_err());
    let (pack, _) = fetch(&mut remote, &everything(&stock)).unwrap();
    assert_eq!(stock.objects(&pack), stock.listed(&["main"]));
}

#[test]
fn a_remote_that_stands_still_is_given_up() {
    let stock = Stock::start(Format::Sha1);
    let brief = || Options { read_timeout: Duration::from_millis(300), ..options() };
    let whole = || Options { total_deadline: Some(Duration::from_millis(700)), ..options() };
    let stall = |on_post: bool, bytes: usize| {
        Front::plain(&stock.origin(), move |asked| match is_post(asked) == on_post {
            true => Deed::Stall(bytes),
            false => Deed::Pass,
        })
    };
    for options in [brief, whole as fn() -> Options] {
        for bytes in [0, 20, 170] {
            let error = fails(&url(&stall(false, bytes)), options());
            assert_eq!(error.class(), Class::Unreachable, "{error}");
        }
        for bytes in [0, 20, 3_000] {
            let front = stall(true, bytes);
            let mut remote = Remote::open(&url(&front), options()).unwrap();
            let error = fetch(&mut remote, &everything(&stock)).unwrap_err();
            assert_eq!(error.class(), Class::Unreachable, "{error}");
        }
    }
}

#[test]
fn a_call_that_waits_ends_when_it_is_stopped() {
    let stock = Stock::start(Format::Sha1);
    let front = Front::plain(&stock.origin(), |asked| match is_post(asked) {
        true => Deed::Stall(1_000),
        false => Deed::Pass,
    });
    let mut remote = Remote::open(&url(&front), options()).unwrap();
    let stopper = remote.stopper();
    // Stopped once the first words of the remote are there: the rest never comes.
    let mut hear = |_: &str| {
        let stopper = stopper.clone();
        std::thread::spawn(move || stopper.stop());
    };
    let error = remote.fetch(&everything(&stock), &mut |_| Ok(()), &mut hear).unwrap_err();
    assert!(!error.to_string().contains("within the time"), "{error}");
    assert_eq!(error.class(), Class::Unreachable, "{error}");
    assert!(remote.ls_refs(&[]).is_err(), "for good");
}

#[test]
fn a_pack_past_its_limit_is_cut_off() {
    let stock = Stock::start(Format::Sha1);
    let mut whole = stock::open(&stock.url);
    let size = fetch(&mut whole, &everything(&stock)).unwrap().0.len() as u64;
    let at = |bytes| Options { pack_bytes_max: Some(bytes), ..options() };
    let mut remote = Remote::open(&stock.url, at(size)).unwrap();
    assert!(fetch(&mut remote, &everything(&stock)).is_ok(), "at the limit");
    let mut remote = Remote::open(&stock.url, at(size - 1)).unwrap();
    let error = fetch(&mut remote, &everything(&stock)).unwrap_err();
    assert_eq!(error.class(), Class::Limit, "{error}");
}

#[test]
fn what_the_sink_and_the_remote_say_is_told() {
    let stock = Stock::start(Format::Sha1);
    let mut remote = stock::open(&stock.url);
    let mut full = |_: &[u8]| Err(std::io::Error::other("disk full"));
    let error = remote.fetch(&everything(&stock), &mut full, &mut |_| ()).unwrap_err();
    assert_eq!(error.class(), Class::Sink);
    assert!(error.to_string().contains("disk full"), "{error}");

    let mut lines = Vec::new();
    remote.fetch(&everything(&stock), &mut |_| Ok(()), &mut |line| lines.push(line.to_owned())).unwrap();
    assert!(lines.iter().any(|line| line.contains("objects")), "{lines:?}");

    let unknown = stock.algo_id(&"12".repeat(20));
    let error = fetch(&mut remote, &FetchWish { wants: vec![unknown], ..FetchWish::default() }).unwrap_err();
    assert_eq!(error.class(), Class::NotFound, "{error}");

    let front = Front::plain(&stock.origin(), |asked| match is_post(asked) {
        true => Deed::answer(RESULT, "000dpackfile\n0015\x03disk on fire\x1b[0m0000"),
        false => Deed::Pass,
    });
    let mut remote = Remote::open(&url(&front), options()).unwrap();
    let error = fetch(&mut remote, &everything(&stock)).unwrap_err();
    assert!(error.to_string().ends_with("the remote says: disk on fire [0m"), "{error:?}");
}

#[test]
fn answers_that_make_no_sense_are_errors_and_take_no_thread_down() {
    let stock = Stock::start(Format::Sha1);
    let id = stock.id("main").to_string();
    let pkt = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let v0 = |caps: &str| {
        format!("001e# service=git-upload-pack\n0000{}0000", pkt(&format!("{id} HEAD\0{caps}\n")))
    };
    // gix panics at a symref of a ref that is not there.
    let error = fails(&url(&says(Deed::answer(ADVERTISEMENT, v0("symref=GONE:refs/heads/x")))), options());
    assert_eq!(error.class(), Class::Protocol, "{error}");
    let error = fails(&url(&says(Deed::answer(ADVERTISEMENT, v0("object-format=sha512")))), options());
    assert!(error.to_string().contains("sha512"), "{error}");
    let answers = [
        "",
        "0000",
        "0001",
        "0002",
        "zzzz",
        "0003",
        "fff1",
        "000dpackfile\n0000",
        "000dpackfile\n0001",
        "000dpackfile\n0006\x09x0000",
        "0014acknowledgments\n0000",
        "0014acknowledgments\n000bwrong!\n0000",
        "0011shallow-info\n000cshallow\n0000",
        "000chunknown\n0000",
        "0010ERR go away\n",
        "000dpackfile\n0002",
    ];
    for version in [0, 2] {
        for answer in answers {
            let front = Front::plain(&stock.origin(), move |asked| match (is_post(asked), version) {
                (true, _) => Deed::answer(RESULT, answer),
                (false, 0) => Deed::Speak(None),
                (false, _) => Deed::Pass,
            });
            let mut remote = Remote::open(&url(&front), options()).unwrap();
            let error = fetch(&mut remote, &everything(&stock)).unwrap_err();
            assert!(matches!(error.class(), Class::Protocol | Class::Unreachable), "{answer:?}: {error}");
            if version == 2 {
                // gix takes any special packet for the end of the refs.
                let is_end = ["0000", "0001", "0002"].contains(&answer);
                assert!(remote.ls_refs(&[]).is_err() || is_end, "{answer:?}");
                assert!(remote.sizes(&[stock.id("main")]).is_err(), "{answer:?}");
            }
        }
    }
}

#[test]
fn endless_answers_are_cut_off() {
    let stock = Stock::start(Format::Sha1);
    let line = format!("0040{} refs/heads/xxxxxxx\n", stock.id("main"));
    assert_eq!(line.len(), 0x40);
    let refs = line.repeat(cairn_remote::limits::REFS_BYTES_MAX as usize / line.len() + 1);
    let front = Front::plain(&stock.origin(), move |asked| match is_post(asked) {
        true => Deed::answer(RESULT, refs.clone()),
        false => Deed::Pass,
    });
    let mut remote = Remote::open(&url(&front), options()).unwrap();
    let error = remote.ls_refs(&[]).unwrap_err();
    assert_eq!(error.class(), Class::Limit, "{error}");
}
