//! Names that callers choose: namespaces, repositories, branches.

use crate::limits::{BRANCH_BYTES_MAX, NAME_BYTES_MAX};

/// A namespace's or repository's name: `^[a-zA-Z0-9][a-zA-Z0-9._-]*$`, not ending in `.git` or `.lock`.
/// Looked up without regard to case; the spelling is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// `None` where the rule is broken.
    pub fn new(text: &str) -> Option<Self> {
        let first = text.bytes().next()?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let folded = text.to_ascii_lowercase();
        let good = first.is_ascii_alphanumeric()
            && text.len() <= NAME_BYTES_MAX
            && text.bytes().all(allowed)
            && !folded.ends_with(".git")
            && !folded.ends_with(".lock");
        good.then(|| Self(text.to_owned()))
    }

    /// As it was spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is looked up.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// Whether `git check-ref-format --branch` takes `name` as it stands.
pub fn is_branch_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let bad_byte = |byte: &u8| *byte <= b' ' || b"~^:?*[\\\x7f".contains(byte);
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    bytes.len() <= BRANCH_BYTES_MAX
        && !bytes.iter().any(bad_byte)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.ends_with('.')
        && name != "@"
        && name != "HEAD"
        && !name.split('/').any(bad_part)
}

#[cfg(test)]
mod tests {
    use super::{Name, is_branch_name};

    #[test]
    fn names_follow_the_contract() {
        let long = "a".repeat(63);
        for good in ["a", "A9._-", "0", "my.git.repo", "x.gitx", long.as_str()] {
            assert!(Name::new(good).is_some(), "{good}");
        }
        let longer = "a".repeat(64);
        for bad in
            ["", ".a", "-a", "_a", "a b", "a/b", "é", "a.git", "a.GIT", "a.lock", "..", longer.as_str()]
        {
            assert!(Name::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn branches_follow_check_ref_format() {
        for good in ["main", "feature/x", "a.b", "v1@x", "héllo"] {
            assert!(is_branch_name(good), "{good}");
        }
        let bad = [
            "", "/a", "a/", "a//b", ".a", "a/.b", "a..b", "a.lock", "a b", "a~", "-a", "@", "HEAD", "a.",
            "a@{b",
        ];
        for bad in bad {
            assert!(!is_branch_name(bad), "{bad}");
        }
    }
}
