//! The ids that an object names.

use crate::object::{HashAlgo, Kind, ObjectId};

/// The object's content is not what its kind promises; the text says where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadObject(pub &'static str);

/// Calls `each` with the raw id and the kind of every object that `data` names, in order. Commits of submodules
/// (gitlinks) are not links.
pub fn for_each_link(
    algo: HashAlgo,
    kind: Kind,
    data: &[u8],
    each: &mut dyn FnMut(&[u8], Kind),
) -> Result<(), BadObject> {
    match kind {
        Kind::Blob => Ok(()),
        Kind::Tree => tree_links(algo, data, each),
        Kind::Commit => {
            let head = commit_head(algo, data)?;
            each(head.tree.as_bytes(), Kind::Tree);
            head.parents(algo).for_each(|parent| each(parent.as_bytes(), Kind::Commit));
            Ok(())
        }
        Kind::Tag => {
            let (target, kind) = tag_target(algo, data)?;
            each(target.as_bytes(), kind);
            Ok(())
        }
    }
}

fn tree_links(algo: HashAlgo, data: &[u8], each: &mut dyn FnMut(&[u8], Kind)) -> Result<(), BadObject> {
    const BAD: BadObject = BadObject("tree entry ends early");
    let mut rest = data;
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or(BAD)?;
        let mode = parse_mode(rest.get(..space).ok_or(BAD)?)?;
        let name = rest.get(space + 1..).ok_or(BAD)?;
        let end = name.iter().position(|byte| *byte == 0).ok_or(BAD)?;
        let (id, tail) =
            name.get(end + 1..).and_then(|tail| tail.split_at_checked(algo.bytes())).ok_or(BAD)?;
        rest = tail;
        match mode & 0o170_000 {
            0o160_000 => {}
            0o040_000 => each(id, Kind::Tree),
            _ => each(id, Kind::Blob),
        }
    }
    Ok(())
}

fn parse_mode(digits: &[u8]) -> Result<u32, BadObject> {
    if digits.is_empty() || digits.len() > 7 {
        return Err(BadObject("bad mode in tree"));
    }
    digits.iter().try_fold(0, |mode, digit| match digit {
        b'0'..=b'7' => Ok(mode << 3 | u32::from(digit - b'0')),
        _ => Err(BadObject("bad mode in tree")),
    })
}

/// The links of a commit.
#[derive(Clone, Copy, Debug)]
pub struct CommitHead<'a> {
    /// Its root tree.
    pub tree: ObjectId,
    parents: &'a [u8],
    rest: &'a [u8],
}

impl CommitHead<'_> {
    /// Its parents in order.
    pub fn parents(&self, algo: HashAlgo) -> impl Iterator<Item = ObjectId> + '_ {
        let line = b"parent \n".len() + 2 * algo.bytes();
        let hex = move |line: &[u8]| ObjectId::from_hex(algo, line.get(7..7 + 2 * algo.bytes())?);
        self.parents.chunks_exact(line).filter_map(hex)
    }

    /// Committer time in seconds; 0 where it cannot be read.
    pub fn time(&self) -> i64 {
        let mut lines = self.rest.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
        let committer = lines.find_map(|line| line.strip_prefix(b"committer "));
        committer.and_then(time_of).unwrap_or(0)
    }
}

fn time_of(committer: &[u8]) -> Option<i64> {
    let at = committer.iter().rposition(|byte| *byte == b'>')?;
    let text = std::str::from_utf8(committer.get(at + 1..)?).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Reads the links of a commit.
pub fn commit_head(algo: HashAlgo, data: &[u8]) -> Result<CommitHead<'_>, BadObject> {
    let (tree, rest) = id_line(algo, b"tree ", data).ok_or(BadObject("commit without a tree line"))?;
    let mut tail = rest;
    while tail.starts_with(b"parent ") {
        (_, tail) = id_line(algo, b"parent ", tail).ok_or(BadObject("bad parent line in commit"))?;
    }
    let parents = rest.get(..rest.len() - tail.len()).unwrap_or_default();
    Ok(CommitHead { tree, parents, rest: tail })
}

/// Reads what a tag points to.
pub fn tag_target(algo: HashAlgo, data: &[u8]) -> Result<(ObjectId, Kind), BadObject> {
    let (target, rest) = id_line(algo, b"object ", data).ok_or(BadObject("tag without an object line"))?;
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let kind = line.strip_prefix(b"type ").and_then(Kind::from_name);
    Ok((target, kind.ok_or(BadObject("tag without a type line"))?))
}

fn id_line<'a>(algo: HashAlgo, word: &[u8], data: &'a [u8]) -> Option<(ObjectId, &'a [u8])> {
    let (hex, rest) = data.strip_prefix(word)?.split_at_checked(2 * algo.bytes())?;
    Some((ObjectId::from_hex(algo, hex)?, rest.strip_prefix(b"\n")?))
}
