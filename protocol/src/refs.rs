//! Names of refs.

use std::fmt;

use crate::limits::REF_NAME_BYTES_MAX;

/// A full ref name (`HEAD`, `refs/heads/main`) in bytes: git does not promise UTF-8.
///
/// Obeys `git check-ref-format --allow-onelevel`; `tests/wire_ref_names.rs` asks stock git about random names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(Box<[u8]>);

/// Why bytes are no ref name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRefName {
    /// Too long.
    #[error("ref name of {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// It holds a byte that no ref name may hold.
    #[error("ref name has a forbidden byte at {at}")]
    Byte {
        /// Where, from the start.
        at: usize,
    },
    /// A component or the whole has a form that git refuses.
    #[error("ref name is badly formed")]
    Shape,
}

impl RefName {
    /// Judges `raw`.
    pub fn new(raw: &[u8]) -> Result<Self, BadRefName> {
        if raw.len() > REF_NAME_BYTES_MAX {
            return Err(BadRefName::TooLong { len: raw.len(), max: REF_NAME_BYTES_MAX });
        }
        if let Some(at) = raw.iter().position(|b| *b <= b' ' || b"~^:?*[\\\x7f".contains(b)) {
            return Err(BadRefName::Byte { at });
        }
        let bad_part = |p: &[u8]| p.is_empty() || p.starts_with(b".") || p.ends_with(b".lock");
        let bad_pair = raw.windows(2).any(|w| w == b".." || w == b"@{");
        if bad_pair || raw == b"@" || raw.ends_with(b".") || raw.split(|b| *b == b'/').any(bad_part) {
            return Err(BadRefName::Shape);
        }
        Ok(Self(raw.into()))
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is in `refs/heads/`.
    pub fn is_branch(&self) -> bool {
        self.0.starts_with(b"refs/heads/")
    }
}

/// Whether a push may make it or move it: outside `refs/`, or right below it, is what git calls a funny refname.
pub fn is_pushable(name: &RefName) -> bool {
    name.as_bytes().strip_prefix(b"refs/").is_some_and(|rest| rest.contains(&b'/'))
}

impl AsRef<[u8]> for RefName {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&String::from_utf8_lossy(&self.0), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stop_at_their_limit() {
        let name = vec![b'a'; REF_NAME_BYTES_MAX + 1];
        assert!(RefName::new(&name[1..]).is_ok());
        assert!(matches!(RefName::new(&name), Err(BadRefName::TooLong { .. })));
    }

    #[test]
    fn only_names_below_refs_are_pushable() {
        for (name, want) in [("refs/heads/a", true), ("refs/x", false), ("HEAD", false), ("refs", false)] {
            assert_eq!(is_pushable(&RefName::new(name.as_bytes()).unwrap()), want, "{name}");
        }
    }
}
