//! The small parsers of what stands in paths, queries and headers: no panic, and what they take is what they promise.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderValue, header};
use cairn_protocol::object::{HashAlgo, ObjectId};
use cairn_server::names::{Name, is_branch_name};
use cairn_server::ops::at::At;
use cairn_server::peer::{self, Network};
use cairn_server::rest::cond::{self, Part, Tag};
use cairn_server::rest::{multipart, sniff};
use cairn_server::store::RepoId;
use libfuzzer_sys::fuzz_target;

const SIZE: u64 = 1_000;

fn header_of(name: header::HeaderName, bytes: &[u8]) -> Option<HeaderMap> {
    let value = HeaderValue::from_bytes(bytes).ok()?;
    Some(HeaderMap::from_iter([(name, value)]))
}

fuzz_target!(|data: &[u8]| {
    if let Some(headers) = header_of(header::RANGE, data) {
        let tag = Tag::object(&ObjectId::from_bytes(HashAlgo::Sha1, &[7; 20]).expect("20 bytes"));
        if let Part::Some(range) = cond::part(&headers, &tag, SIZE) {
            assert!(!range.is_empty() && range.end <= SIZE);
        }
    }
    if let Some(headers) = header_of(header::HeaderName::from_static("x-forwarded-for"), data) {
        let all: Network = "0.0.0.0/0".parse().expect("a network");
        peer::client(IpAddr::V4(Ipv4Addr::LOCALHOST), &headers, &[all]);
    }
    let named = sniff::disposition(sniff::media_type(data, true), data);
    assert!(HeaderValue::from_str(&named).is_ok(), "{named}");
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(name) = Name::new(text) {
        let folded = name.folded();
        assert!(Name::new(&folded).is_some() && !folded.contains(['/', '\\']) && folded != "..");
    }
    if is_branch_name(text) {
        assert!(cairn_protocol::refs::RefName::new(format!("refs/heads/{text}").as_bytes()).is_ok(), "{text}");
    }
    if let Some(id) = RepoId::parse(text) {
        assert_eq!(RepoId::parse(&id.to_string()), Some(id));
    }
    if let Some(Ok(boundary)) = multipart::boundary(text) {
        assert!(!boundary.is_empty());
    }
    drop((At::parse(text), text.parse::<Network>(), cairn_remote::split_credentials(text)));
});
