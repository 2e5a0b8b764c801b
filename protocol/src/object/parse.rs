//! Zero-copy readers of trees, commits and tags, as tolerant as git's own.

use super::{HashAlgo, Kind, ObjectId};

/// Why an object's links cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The last entry of a tree is cut off.
    #[error("tree ends inside an entry")]
    TreeTooShort,
    /// A tree entry's mode is not octal digits and a space.
    #[error("tree entry has a malformed mode")]
    TreeMode,
    /// A tree entry has an empty name.
    #[error("tree entry has an empty name")]
    TreeName,
    /// A commit does not begin with `tree <id>`.
    #[error("commit does not begin with a valid tree line")]
    CommitTree,
    /// A `parent` line has no valid id.
    #[error("commit has a malformed parent line")]
    CommitParent,
    /// A tag does not begin with `object <id>`.
    #[error("tag does not begin with a valid object line")]
    TagObject,
    /// A tag's second line is not `type` with one of the four kinds.
    #[error("tag has a malformed type line")]
    TagType,
}

/// The bits of a mode that tell files, links, folders and submodules apart.
const MODE_KIND_MASK: u32 = 0o170_000;
const MODE_TREE: u32 = 0o040_000;
const MODE_FILE: u32 = 0o100_000;
const MODE_SYMLINK: u32 = 0o120_000;

/// One entry of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// The mode as written, not made canonical; overlong ones lose their high bits as in git.
    pub mode: u32,
    /// The name: not empty, without NUL. It may hold anything else.
    pub name: &'a [u8],
    /// The raw id, 20 or 32 bytes.
    pub id: &'a [u8],
}

impl TreeEntry<'_> {
    /// The kind of object that must exist under `id`; `None` for submodules, whose commits live elsewhere.
    ///
    /// Modes of no known type count as submodules, because that is what git makes of them everywhere.
    #[inline]
    pub fn link_kind(&self) -> Option<Kind> {
        match self.mode & MODE_KIND_MASK {
            MODE_TREE => Some(Kind::Tree),
            MODE_FILE | MODE_SYMLINK => Some(Kind::Blob),
            _ => None,
        }
    }

    /// Whether it is a folder.
    #[inline]
    pub fn is_tree(&self) -> bool {
        self.mode & MODE_KIND_MASK == MODE_TREE
    }

    /// Whether it is a symbolic link.
    #[inline]
    pub fn is_symlink(&self) -> bool {
        self.mode & MODE_KIND_MASK == MODE_SYMLINK
    }
}

/// An entry with what its reading told besides.
#[derive(Clone, Copy)]
pub(super) struct RawEntry<'a> {
    pub entry: TreeEntry<'a>,
    /// The mode begins with `0`.
    pub zero_padded: bool,
    /// The name holds `/` or `\`; false positives are possible, false negatives are not.
    pub separator: bool,
}

/// Iterates over the entries of a tree. Ends after the first error.
#[derive(Clone, Debug)]
pub struct TreeIter<'a> {
    rest: &'a [u8],
    id_bytes: usize,
}

impl<'a> TreeIter<'a> {
    /// Starts at the first entry of a tree object's content.
    pub fn new(algo: HashAlgo, data: &'a [u8]) -> Self {
        Self { rest: data, id_bytes: algo.bytes() }
    }

    /// The next entry with the by-products of its scan.
    #[inline]
    pub(super) fn next_raw(&mut self) -> Option<Result<RawEntry<'a>, ParseError>> {
        if self.rest.is_empty() {
            return None;
        }
        let got = self.decode();
        if got.is_err() {
            self.rest = &[];
        }
        Some(got)
    }

    #[inline]
    fn decode(&mut self) -> Result<RawEntry<'a>, ParseError> {
        // Like git: the last name must end where the last id begins. It tells a cut tree at its first entry.
        let last_nul = self.rest.len().checked_sub(self.id_bytes + 1);
        if last_nul.is_none_or(|at| at < 2 || self.rest.get(at) != Some(&0)) {
            return Err(ParseError::TreeTooShort);
        }
        let zero_padded = self.rest.first() == Some(&b'0');
        let (mode, rest) = mode(self.rest).ok_or(ParseError::TreeMode)?;
        let (len, separator) = name_len(rest).ok_or(ParseError::TreeTooShort)?;
        if len == 0 {
            return Err(ParseError::TreeName);
        }
        let (name, rest) = rest.split_at_checked(len).ok_or(ParseError::TreeTooShort)?;
        let (_, rest) = rest.split_first().ok_or(ParseError::TreeTooShort)?;
        let (id, rest) = rest.split_at_checked(self.id_bytes).ok_or(ParseError::TreeTooShort)?;
        self.rest = rest;
        Ok(RawEntry { entry: TreeEntry { mode, name, id }, zero_padded, separator })
    }
}

impl<'a> Iterator for TreeIter<'a> {
    type Item = Result<TreeEntry<'a>, ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_raw()?.map(|raw| raw.entry))
    }
}

/// Reads octal digits up to a space. The two modes that make up nearly all entries are compared, not read.
#[inline]
fn mode(data: &[u8]) -> Option<(u32, &[u8])> {
    if let Some(rest) = data.strip_prefix(b"100644 ") {
        return Some((0o100_644, rest));
    }
    if let Some(rest) = data.strip_prefix(b"40000 ") {
        return Some((0o040_000, rest));
    }
    let mut mode = 0_u32;
    for (at, byte) in data.iter().enumerate() {
        match byte {
            b'0'..=b'7' => mode = mode << 3 | u32::from(byte - b'0'),
            b' ' if at > 0 => return Some((mode, data.get(at + 1..)?)),
            _ => return None,
        }
    }
    None
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;

/// The high bit of each zero byte; bytes above the lowest zero byte may be marked wrongly.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & (LOW_BITS << 7)
}

/// Bytes before the first NUL, and whether `/` or `\` may be among them. Eight bytes at a time: names are short, so
/// that a call of a vectorised search costs more than it saves.
#[inline]
fn name_len(data: &[u8]) -> Option<(usize, bool)> {
    let mut separators = 0_u64;
    let (words, tail) = data.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let nul = zero_bytes(word);
        let here = zero_bytes(word ^ (LOW_BITS * b'/' as u64)) | zero_bytes(word ^ (LOW_BITS * b'\\' as u64));
        if nul != 0 {
            // What follows the NUL is the id, whose bytes must not count.
            separators |= here & ((nul & nul.wrapping_neg()) - 1);
            return Some((at * 8 + nul.trailing_zeros() as usize / 8, separators != 0));
        }
        separators |= here;
    }
    let len = tail.iter().position(|byte| *byte == 0)?;
    let in_tail = tail.iter().take(len).any(|byte| matches!(byte, b'/' | b'\\'));
    Some((words.len() * 8 + len, separators != 0 || in_tail))
}

/// What a commit names, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitLinks {
    /// Its root tree.
    pub tree: ObjectId,
    /// Its parents in order.
    pub parents: Vec<ObjectId>,
    /// Committer time in seconds; 0 when unreadable.
    pub time: i64,
}

/// Reads a commit's links and its time.
pub fn commit_links(algo: HashAlgo, data: &[u8]) -> Result<CommitLinks, ParseError> {
    let (tree, mut rest) = id_line(algo, data, b"tree ").ok_or(ParseError::CommitTree)?;
    let mut parents = Vec::new();
    while rest.starts_with(b"parent ") {
        let (parent, after) = id_line(algo, rest, b"parent ").ok_or(ParseError::CommitParent)?;
        parents.push(parent);
        rest = after;
    }
    Ok(CommitLinks { tree, parents, time: committer_time(rest).unwrap_or(0) })
}

/// Reads what a tag points to.
pub fn tag_target(algo: HashAlgo, data: &[u8]) -> Result<(ObjectId, Kind), ParseError> {
    let (target, rest) = id_line(algo, data, b"object ").ok_or(ParseError::TagObject)?;
    let (line, _) = rest.strip_prefix(b"type ").and_then(line).ok_or(ParseError::TagType)?;
    Ok((target, Kind::from_name(line).ok_or(ParseError::TagType)?))
}

/// Splits off one line; `None` where no line feed follows.
pub(super) fn line(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|byte| *byte == b'\n')?;
    Some((data.get(..at)?, data.get(at + 1..)?))
}

/// Reads the line `<key><hex id>`.
pub(super) fn id_line<'a>(algo: HashAlgo, data: &'a [u8], key: &[u8]) -> Option<(ObjectId, &'a [u8])> {
    let (hex, rest) = data.strip_prefix(key)?.split_at_checked(2 * algo.bytes())?;
    Some((ObjectId::from_hex(algo, hex)?, rest.strip_prefix(b"\n")?))
}

/// The time in the committer line, which must be the second line. Read backwards from its end like git does, because
/// broken idents are broken in names.
fn committer_time(after_parents: &[u8]) -> Option<i64> {
    let (author, rest) = line(after_parents)?;
    let (committer, _) = line(rest)?;
    if !author.starts_with(b"author") || !committer.starts_with(b"committer") {
        return None;
    }
    let at = committer.iter().rposition(|byte| *byte == b'>')?;
    let date = committer.get(at + 1..)?.trim_ascii_start();
    let digits = date.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef01234567";

    fn tree(entries: &[(&str, &[u8])]) -> Vec<u8> {
        entries
            .iter()
            .flat_map(|(mode, name)| [mode.as_bytes(), b" ", name, b"\0", &[7; 20]].concat())
            .collect()
    }

    #[test]
    fn tree_entries_are_read_in_order() {
        let data =
            tree(&[("100644", b"a"), ("40000", b"sub-folder with a long name"), ("160000", b"module")]);
        let got: Vec<_> = TreeIter::new(HashAlgo::Sha1, &data).map(Result::unwrap).collect();
        assert_eq!(got.iter().map(|e| e.mode).collect::<Vec<_>>(), [0o100_644, 0o40_000, 0o160_000]);
        assert_eq!(got[1].name, b"sub-folder with a long name");
        assert_eq!(
            got.iter().map(TreeEntry::link_kind).collect::<Vec<_>>(),
            [Some(Kind::Blob), Some(Kind::Tree), None]
        );
    }

    #[test]
    fn every_cut_of_a_tree_is_told_or_is_at_an_entry() {
        let data = tree(&[("100644", b"abcdefgh"), ("100755", b"b")]);
        for end in 0..data.len() {
            let broken = TreeIter::new(HashAlgo::Sha1, &data[..end]).any(|entry| entry.is_err());
            assert_eq!(broken, end != 0 && end != 36, "cut at {end}");
        }
    }

    #[test]
    fn separators_are_found_in_names_but_not_in_ids() {
        for len in 1..40 {
            for at in 0..len {
                let mut name = vec![b'n'; len];
                let plain = [name.as_slice(), b"\0//////////\\\\"].concat();
                assert_eq!(name_len(&plain), Some((len, false)));
                name[at] = b'\\';
                assert_eq!(name_len(&[name.as_slice(), b"\0//////"].concat()), Some((len, true)));
            }
        }
    }

    #[test]
    fn a_commit_gives_its_links_and_time() {
        let data = format!(
            "tree {HEX}\nparent {HEX}\nparent {HEX}\nauthor A <a> 1 +0000\ncommitter B <b>> 1700000000 +0000\n\nhi"
        );
        let got = commit_links(HashAlgo::Sha1, data.as_bytes()).unwrap();
        assert_eq!((got.parents.len(), got.time), (2, 1_700_000_000));
        let got = commit_links(HashAlgo::Sha1, format!("tree {HEX}\nauthor A\n").as_bytes()).unwrap();
        assert_eq!(got.time, 0);
    }

    #[test]
    fn broken_links_are_errors() {
        let algo = HashAlgo::Sha1;
        assert_eq!(commit_links(algo, b"tree abc\n"), Err(ParseError::CommitTree));
        let parent = format!("tree {HEX}\nparent {HEX}x\n");
        assert_eq!(commit_links(algo, parent.as_bytes()), Err(ParseError::CommitParent));
        assert_eq!(
            tag_target(algo, format!("object {HEX}\ntype trees\n").as_bytes()),
            Err(ParseError::TagType)
        );
        let tag = format!("object {HEX}\ntype tag\n");
        assert_eq!(tag_target(algo, tag.as_bytes()).unwrap().1, Kind::Tag);
    }
}
