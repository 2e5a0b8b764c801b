//! Conditional requests and ranges (RFC 9110, sections 13 and 14): entity tags, how long answers hold, single ranges of
//! bytes. Several ranges in one request are answered with the whole, as the RFC allows.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use cairn_protocol::object::ObjectId;

/// How long an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// For ever.
    Immutable,
    /// Until something happens: caches must ask.
    Revalidate,
}

impl Freshness {
    /// `self` where `holds`, else not for ever.
    pub fn filter(self, holds: bool) -> Self {
        if holds { self } else { Self::Revalidate }
    }
}

/// An entity tag, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// Of an object's bytes.
    pub fn object(id: &ObjectId) -> Self {
        Self(format!("\"{id}\""))
    }

    /// Of an answer that may be written in other ways: as long as what it says is named by `digest`.
    pub fn weak(digest: &[u8]) -> Self {
        Self(format!("W/\"{}\"", crate::random::hex(digest.get(..16).unwrap_or(digest))))
    }

    /// Of bytes that are named by `digest`.
    pub fn strong(digest: &[u8]) -> Self {
        Self(format!("\"{}\"", crate::random::hex(digest.get(..16).unwrap_or(digest))))
    }

    fn opaque(tag: &str) -> &str {
        tag.strip_prefix("W/").unwrap_or(tag)
    }

    /// Whether `If-None-Match` says that the client has it.
    pub fn is_had(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
        tags.any(|tag| tag == "*" || Self::opaque(tag) == Self::opaque(&self.0))
    }

    /// Whether a `Range` may be answered as one: there is no `If-Range`, or it names these very bytes.
    fn allows_range(&self, headers: &HeaderMap) -> bool {
        let strong = !self.0.starts_with("W/");
        headers.get(header::IF_RANGE).is_none_or(|value| strong && value.as_bytes() == self.0.as_bytes())
    }
}

/// Adds the tag and the freshness.
pub fn mark(response: &mut Response<Body>, tag: &Tag, freshness: Freshness) {
    let cache = match freshness {
        Freshness::Immutable => "private, max-age=31536000, immutable",
        Freshness::Revalidate => "private, no-cache",
    };
    set(response, header::CACHE_CONTROL, cache);
    set(response, header::ETAG, &tag.0);
}

/// Sets a field; values that a header cannot hold are left out.
pub fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The answer to a client that has it already.
pub fn not_modified(tag: &Tag, freshness: Freshness) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    mark(&mut response, tag, freshness);
    response
}

/// What part of `size` bytes is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything.
    Whole,
    /// A range, never empty.
    Some(Range<u64>),
    /// A range that lies behind the end.
    Outside,
}

/// Reads `Range` and `If-Range`.
pub fn part(headers: &HeaderMap, tag: &Tag, size: u64) -> Part {
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    match range.and_then(|value| value.trim().strip_prefix("bytes=")) {
        Some(spec) if tag.allows_range(headers) => parse(spec.trim(), size).unwrap_or(Part::Whole),
        _ => Part::Whole,
    }
}

/// `None` where it is not a single range; that is passed over.
fn parse(spec: &str, size: u64) -> Option<Part> {
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let count = number(last)?;
        return Some(match count {
            0 => Part::Outside,
            _ if size == 0 => Part::Whole,
            count => Part::Some(size.saturating_sub(count)..size),
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(if first >= size { Part::Outside } else { Part::Some(first..last.saturating_add(1).min(size)) })
}

#[cfg(test)]
mod tests {
    use super::{Part, Tag, part};
    use axum::http::HeaderMap;

    #[test]
    fn single_ranges_are_read_and_others_passed_over() {
        let cases = [
            ("bytes=0-0", Part::Some(0..1)),
            ("bytes=2-", Part::Some(2..10)),
            ("bytes=2-99", Part::Some(2..10)),
            ("bytes=-3", Part::Some(7..10)),
            ("bytes=-30", Part::Some(0..10)),
            ("bytes=10-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=99999999999999999999-", Part::Outside),
            ("bytes=5-2", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=", Part::Whole),
            ("lines=1-2", Part::Whole),
        ];
        for (given, want) in cases {
            let headers = HeaderMap::from_iter([("range".parse().unwrap(), given.parse().unwrap())]);
            assert_eq!(part(&headers, &Tag::strong(b"x"), 10), want, "{given}");
        }
    }

    #[test]
    fn if_range_must_name_the_very_bytes() {
        let tag = Tag::strong(b"x");
        for (given, want) in
            [("\"78\"", Part::Some(0..2)), ("\"79\"", Part::Whole), ("W/\"78\"", Part::Whole)]
        {
            let fields = [("range", "bytes=0-1"), ("if-range", given)];
            let fields = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            assert_eq!(part(&HeaderMap::from_iter(fields), &tag, 10), want, "{given}");
        }
    }

    #[test]
    fn if_none_match_takes_lists_weak_tags_and_a_star() {
        let tag = Tag::strong(b"x");
        for (given, want) in [("\"78\"", true), ("\"1\", W/\"78\"", true), ("*", true), ("\"7\"", false)] {
            let headers = HeaderMap::from_iter([("if-none-match".parse().unwrap(), given.parse().unwrap())]);
            assert_eq!(tag.is_had(&headers), want, "{given}");
        }
    }
}
