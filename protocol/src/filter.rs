//! Filter specs of partial clones (`git rev-list --filter`, rev-list-options).
//!
//! Refused: `sparse:` in every form, because its answer depends on a blob's contents, and what git refuses.

use std::fmt;

use crate::{
    limits::{FILTER_DEPTH_MAX, FILTER_PARTS_MAX},
    object::Kind,
    scan::{decimal, shown},
};

/// What a fetch leaves out. `Display` writes the spec that `parse` reads, sizes in plain numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// No blobs.
    BlobNone,
    /// Only blobs smaller than so many bytes.
    BlobLimit(u64),
    /// Only trees and blobs whose depth below a root tree (depth 0) is smaller.
    TreeDepth(u64),
    /// Only objects of one kind.
    ObjectType(Kind),
    /// Only what all of them let through; never empty.
    Combine(Vec<Filter>),
}

/// Why a filter spec is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No filter has this form.
    #[error("invalid filter-spec '{0}'")]
    Invalid(String),
    /// A sparse filter.
    #[error("sparse filters are not supported by this server, use blob:none or tree:<depth>")]
    Sparse,
    /// A combined filter holds a byte that must be percent-encoded.
    #[error("must escape byte in sub-filter-spec: '{}'", .0.escape_ascii())]
    Unescaped(u8),
    /// Combined filters are nested too deep.
    #[error("filter-spec is nested deeper than {FILTER_DEPTH_MAX} levels")]
    TooDeep,
    /// Too many filters are combined.
    #[error("filter-spec combines more than {FILTER_PARTS_MAX} filters")]
    TooMany,
}

impl Filter {
    /// Reads a filter spec.
    pub fn parse(spec: &[u8]) -> Result<Self, FilterError> {
        parse_at(spec, 0, &mut 0)
    }
}

fn parse_at(spec: &[u8], depth: usize, parts: &mut usize) -> Result<Filter, FilterError> {
    *parts += 1;
    if *parts > FILTER_PARTS_MAX {
        return Err(FilterError::TooMany);
    }
    if spec.starts_with(b"sparse:") {
        return Err(FilterError::Sparse);
    }
    if let Some(subs) = spec.strip_prefix(b"combine:") {
        if depth == FILTER_DEPTH_MAX {
            return Err(FilterError::TooDeep);
        }
        let subs = subs.split(|byte| *byte == b'+');
        return subs.map(|sub| parse_sub(sub, depth, parts)).collect::<Result<_, _>>().map(Filter::Combine);
    }
    parse_simple(spec).ok_or_else(|| FilterError::Invalid(shown(spec)))
}

fn parse_sub(sub: &[u8], depth: usize, parts: &mut usize) -> Result<Filter, FilterError> {
    if let Some(byte) = sub.iter().find(|byte| is_reserved(**byte)) {
        return Err(FilterError::Unescaped(*byte));
    }
    parse_at(&percent_decoded(sub), depth + 1, parts)
}

fn parse_simple(spec: &[u8]) -> Option<Filter> {
    if spec == b"blob:none" {
        return Some(Filter::BlobNone);
    }
    if let Some(bytes) = spec.strip_prefix(b"blob:limit=") {
        return scaled(bytes).map(Filter::BlobLimit);
    }
    if let Some(depth) = spec.strip_prefix(b"tree:") {
        return scaled(depth).map(Filter::TreeDepth);
    }
    Kind::from_name(spec.strip_prefix(b"object:type=")?).map(Filter::ObjectType)
}

/// A number with one of git's units of 1024; `None` where it does not fit.
fn scaled(text: &[u8]) -> Option<u64> {
    let (digits, unit) = match text.split_last()? {
        (b'k' | b'K', digits) => (digits, 1 << 10),
        (b'm' | b'M', digits) => (digits, 1 << 20),
        (b'g' | b'G', digits) => (digits, 1 << 30),
        _ => (text, 1),
    };
    decimal(digits)?.checked_mul(unit)
}

/// The bytes that git wants percent-encoded in the parts of `combine:`; `+` is the separator, `%` the escape.
fn is_reserved(byte: u8) -> bool {
    byte <= b' ' || b"~`!@#$^&*()[]{}\\;'\",<>?".contains(&byte)
}

/// As git decodes: a `%` without two digits, or for a zero byte, stands for itself.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = match (first, tail) {
            (b'%', [hi, lo, after @ ..]) => hex_pair(*hi, *lo).map(|byte| (byte, after)),
            _ => None,
        };
        match escaped {
            Some((byte, after)) => {
                out.push(byte);
                rest = after;
            }
            None => out.push(*first),
        }
    }
    out
}

fn hex_pair(hi: u8, lo: u8) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let value = digit(hi)? << 4 | digit(lo)?;
    u8::try_from(value).ok().filter(|byte| *byte != 0)
}

impl fmt::Display for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlobNone => out.write_str("blob:none"),
            Self::BlobLimit(bytes) => write!(out, "blob:limit={bytes}"),
            Self::TreeDepth(depth) => write!(out, "tree:{depth}"),
            Self::ObjectType(kind) => write!(out, "object:type={}", kind.name()),
            Self::Combine(filters) => {
                out.write_str("combine:")?;
                for (at, filter) in filters.iter().enumerate() {
                    let sub = filter.to_string().replace('%', "%25").replace('+', "%2b");
                    write!(out, "{}{sub}", if at == 0 { "" } else { "+" })?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_mean_what_git_says() {
        let both = || Filter::Combine(vec![Filter::BlobNone, Filter::TreeDepth(3)]);
        let cases = [
            ("blob:none", Some(Filter::BlobNone)),
            ("blob:limit=1K", Some(Filter::BlobLimit(1024))),
            ("blob:limit=2g", Some(Filter::BlobLimit(2 << 30))),
            ("blob:limit=18446744073709551615", Some(Filter::BlobLimit(u64::MAX))),
            ("blob:limit=17179869184g", None),
            ("blob:limit=1kb", None),
            ("blob:limit=", None),
            ("blob:limit=-1", None),
            ("tree:1m", Some(Filter::TreeDepth(1 << 20))),
            ("tree:", None),
            ("object:type=tag", Some(Filter::ObjectType(Kind::Tag))),
            ("object:type=blobs", None),
            ("combine:%62lob:none+tree:3", Some(both())),
            (
                "combine:combine:blob:none",
                Some(Filter::Combine(vec![Filter::Combine(vec![Filter::BlobNone])])),
            ),
            ("combine:combine%3Ablob:none%2Btree:3", Some(Filter::Combine(vec![both()]))),
            ("combine:blob:none+", None),
            ("combine:", None),
            ("combine:blob:limit=1@", None),
            ("combine:%zzlob", None),
            ("", None),
        ];
        for (spec, want) in cases {
            assert_eq!(Filter::parse(spec.as_bytes()).ok(), want, "{spec}");
        }
    }

    #[test]
    fn sparse_filters_are_refused_at_every_level() {
        for spec in ["sparse:oid=HEAD", "sparse:path=x", "combine:tree:1+sparse:oid=x"] {
            assert_eq!(Filter::parse(spec.as_bytes()), Err(FilterError::Sparse), "{spec}");
        }
    }

    #[test]
    fn depth_and_count_hold_at_the_limit_and_not_past_it() {
        let deep = |levels: usize| "combine:".repeat(levels) + "blob:none";
        assert!(Filter::parse(deep(FILTER_DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(Filter::parse(deep(FILTER_DEPTH_MAX + 1).as_bytes()), Err(FilterError::TooDeep));
        let wide = |count: usize| "combine:tree:1".to_owned() + &"+tree:1".repeat(count - 1);
        assert!(Filter::parse(wide(FILTER_PARTS_MAX - 1).as_bytes()).is_ok());
        assert_eq!(Filter::parse(wide(FILTER_PARTS_MAX).as_bytes()), Err(FilterError::TooMany));
    }
}
