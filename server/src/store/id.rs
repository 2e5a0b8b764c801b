//! Names of repositories that outlive renames, and the prefixes of logs that forks stand on.

use std::fmt;
use std::sync::Arc;

/// A repository's id: 16 of `[0-9a-z]`, random, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoId([u8; 16]);

impl RepoId {
    /// From its text; `None` for anything but 16 of `[0-9a-z]`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    /// From the bytes of its text.
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        let raw: [u8; 16] = text.try_into().ok()?;
        raw.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()).then_some(Self(raw))
    }

    /// A new one.
    pub fn random() -> Self {
        let mut raw = [0; 16];
        let mut filled = 0;
        while filled < raw.len() {
            // 252 = 7 × 36: bytes above it would favour the first digits.
            for byte in crate::random::bytes::<32>().into_iter().filter(|byte| *byte < 252) {
                if let Some(slot) = raw.get_mut(filled) {
                    *slot = DIGITS[usize::from(byte % 36)];
                    filled += 1;
                }
            }
        }
        Self(raw)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII gets in")
    }

    /// Its text's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

impl fmt::Display for RepoId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for RepoId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// One log that a repository reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Whose log.
    pub id: RepoId,
    /// The last entry that is seen; `None` for the repository's own log, which is seen to its end.
    pub seq: Option<u64>,
    /// The full name of the one ref of this log that is seen; `None` for all. The empty name is no ref's: none is seen
    /// then, while the log's objects still carry those of the logs above it.
    pub only: Option<Arc<[u8]>>,
}

impl Pin {
    /// A log of which every ref is seen.
    pub fn new(id: RepoId, seq: Option<u64>) -> Self {
        Self { id, seq, only: None }
    }

    /// The same log, of which at most `name` is seen.
    pub fn narrowed(self, name: &Arc<[u8]>) -> Self {
        let only = match self.only {
            Some(only) if only != *name => Arc::from([]),
            _ => Arc::clone(name),
        };
        Self { only: Some(only), ..self }
    }
}
