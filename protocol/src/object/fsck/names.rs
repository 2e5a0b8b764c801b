//! Spellings that file systems take for `.git` and for the files that git reads from a checkout.

/// A file whose content or symbolic link git treats with care: its name after the dot in lower case, and the prefix of
/// the short name that NTFS gives it when `gitmod~1` to `~4` and the like are taken.
#[derive(Clone, Copy)]
pub(super) struct DotFile {
    name: &'static [u8],
    ntfs_short: [u8; 6],
}

pub(super) const GITMODULES: DotFile = DotFile { name: b"gitmodules", ntfs_short: *b"gi7eba" };
pub(super) const GITATTRIBUTES: DotFile = DotFile { name: b"gitattributes", ntfs_short: *b"gi7d29" };
pub(super) const GITIGNORE: DotFile = DotFile { name: b"gitignore", ntfs_short: *b"gi250a" };
pub(super) const MAILMAP: DotFile = DotFile { name: b"mailmap", ntfs_short: *b"maba30" };

/// Whether a name could be any of the spellings below: a cheap test that lets nearly all names pass by.
#[inline]
pub(super) fn is_suspect(name: &[u8]) -> bool {
    match name {
        // An ignorable code point may stand anywhere; all of them begin with these two bytes.
        [0xe2 | 0xef, ..] => true,
        // `.`, `..` and the dot files.
        [b'.'] | [b'.', b'.' | b'g' | b'G' | b'm' | b'M' | 0xe2 | 0xef, ..] => true,
        // Short names of NTFS.
        [b'g' | b'G' | b'm' | b'M' | b'~', ..] => name.contains(&b'~'),
        _ => false,
    }
}

/// Whether HFS+ or NTFS may take `name` for `.git`.
pub(super) fn is_dotgit(name: &[u8]) -> bool {
    is_hfs(name, b"git") || is_ntfs_dotgit(name)
}

impl DotFile {
    /// Whether HFS+ or NTFS may take `name` for this file.
    pub(super) fn is(self, name: &[u8]) -> bool {
        is_hfs(name, self.name) || self.is_ntfs(name)
    }

    /// Whether NTFS may take `name` for this file.
    pub(super) fn is_ntfs(self, name: &[u8]) -> bool {
        if let Some(rest) = name.strip_prefix(b".").and_then(|name| strip_prefix_any_case(name, self.name)) {
            return is_ntfs_tail(rest);
        }
        let short = self.name.get(..6).and_then(|start| strip_prefix_any_case(name, start));
        if let Some([b'~', b'1'..=b'4', rest @ ..]) = short {
            return is_ntfs_tail(rest);
        }
        self.is_ntfs_hashed(name)
    }

    /// The fall-back short name of eight bytes: a prefix of `ntfs_short`, `~`, and a number without leading zero.
    fn is_ntfs_hashed(self, name: &[u8]) -> bool {
        let Some((short, rest)) = name.split_at_checked(8) else {
            return false;
        };
        let Some(tilde) = short.iter().position(|byte| *byte == b'~') else {
            return false;
        };
        let (start, number) = short.split_at(tilde);
        let starts = self.ntfs_short.get(..tilde).is_some_and(|prefix| start.eq_ignore_ascii_case(prefix));
        let numbered =
            matches!(number, [_, b'1'..=b'9', digits @ ..] if digits.iter().all(u8::is_ascii_digit));
        starts && numbered && is_ntfs_tail(rest)
    }
}

fn strip_prefix_any_case<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Whether NTFS ignores all of `rest`: dots and spaces up to the end or to the name of a stream.
fn is_ntfs_tail(rest: &[u8]) -> bool {
    matches!(rest.iter().find(|byte| !matches!(byte, b'.' | b' ')), None | Some(b':'))
}

/// Whether NTFS may take the first component of `name` for `.git`.
pub(super) fn is_ntfs_dotgit(name: &[u8]) -> bool {
    let rest = strip_prefix_any_case(name, b".git").or_else(|| strip_prefix_any_case(name, b"git~1"));
    rest.is_some_and(|rest| {
        matches!(rest.iter().find(|byte| !matches!(byte, b'.' | b' ')), None | Some(b':' | b'/' | b'\\'))
    })
}

/// Whether HFS+ takes the first component of `name` for a dot and `file`: it folds case and ignores code points.
fn is_hfs(name: &[u8], file: &[u8]) -> bool {
    if name.is_ascii() {
        let rest = name.strip_prefix(b".").and_then(|name| strip_prefix_any_case(name, file));
        return matches!(rest, Some([] | [b'/', ..]));
    }
    // Only what is well formed counts; ill-formed bytes end the name, and so do the two that git calls ill-formed.
    let valid = name.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let mut chars = valid.chars().filter(|char| !is_hfs_ignored(*char));
    let mut next = || chars.next().filter(|char| !matches!(char, '\u{fffe}' | '\u{ffff}'));
    if next() != Some('.') {
        return false;
    }
    let all =
        file.iter().all(|want| next().is_some_and(|char| char.to_ascii_lowercase() == char::from(*want)));
    all && matches!(next(), None | Some('/'))
}

fn is_hfs_ignored(char: char) -> bool {
    matches!(char,
        '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_suspect() {
        let dotgit: &[&[u8]] = &[
            b".git",
            b".GIT",
            b"git~1",
            b"GIT~1 .",
            b".git. .",
            b".git::$INDEX_ALLOCATION",
            b".git\\x",
            b".git/x",
            ".g\u{200c}it".as_bytes(),
            "\u{feff}.git".as_bytes(),
            b".git\xff",
        ];
        for name in dotgit {
            assert!(is_dotgit(name) && is_suspect(name), "{}", name.escape_ascii());
        }
        let modules: &[&[u8]] = &[
            b".gitmodules",
            b"gitmod~4",
            b"GI7EBA~1",
            b"gi7eb~10",
            b"~1000000",
            b".gitmodules  ",
            b"gi7eba~1::$DATA",
            ".\u{206f}gitmodules".as_bytes(),
        ];
        for name in modules {
            assert!(GITMODULES.is(name) && is_suspect(name), "{}", name.escape_ascii());
        }
        assert!(MAILMAP.is(b"MABA30~1") && is_suspect(b"MABA30~1"));
    }

    #[test]
    fn near_misses_pass() {
        let names: &[&[u8]] = &[
            b".gitx",
            b"git",
            b"git~2",
            b".gi",
            b".gitmodule",
            b"gitmod~5",
            b"gi7eba~0",
            b"gi7ebaa~1",
            b".git.x",
            "\u{2010}.git".as_bytes(),
        ];
        for name in names {
            assert!(!is_dotgit(name) && !GITMODULES.is(name), "{}", name.escape_ascii());
        }
    }
}
