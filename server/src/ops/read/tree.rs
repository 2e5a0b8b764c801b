//! Trees: one whole, and walks through all below one that hold only the trees on the way down.

use bytes::Bytes;
use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::walk::{TREE_DEPTH_MAX, WalkError};

use super::{Halt, Reading};
use crate::error::{Error, code};
use crate::limits::{TREE_BYTES_MAX, TREE_WALK_BYTES_MAX};

/// What an entry of a tree is, in the words of the answers.
pub fn type_of(mode: u32) -> &'static str {
    match mode & 0o170_000 {
        0o040_000 => "tree",
        0o120_000 => "symlink",
        0o100_000 if mode & 0o100 != 0 => "exec",
        0o100_000 => "blob",
        _ => "gitlink",
    }
}

/// An entry that a walk came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// As written in the tree.
    pub mode: u32,
    /// What is there.
    pub id: ObjectId,
    /// From the root of the walk, with slashes.
    pub path: Vec<u8>,
    /// Where in `path` its own name starts.
    pub name_at: usize,
}

impl Item {
    /// Its own name.
    pub fn name(&self) -> &[u8] {
        self.path.get(self.name_at..).unwrap_or_default()
    }

    /// Whether it is a folder.
    pub fn is_tree(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }
}

/// A visible tree, whole. 507 where it is larger than trees may be here.
pub fn read_tree(reading: &Reading, id: &ObjectId) -> Result<Bytes, Halt> {
    let data = reading.shown(id, Kind::Tree)?.ok_or(WalkError::Missing(*id))?;
    if data.len() > TREE_BYTES_MAX {
        let text = format!("tree {id} has {} bytes, read are at most {TREE_BYTES_MAX}", data.len());
        return Err(Error::new(code::MEMORY_LIMIT, text).into());
    }
    Ok(data)
}

/// A mode, a name, and what is there.
type Fields<'a> = (u32, &'a [u8], ObjectId);

/// The entry at `at`, and where the next one starts; `None` at the end. The tree was checked when it came, so that
/// what does not parse is the end too.
pub fn entry_at(algo: HashAlgo, data: &[u8], at: usize) -> Option<(Fields<'_>, usize)> {
    let rest = data.get(at..)?;
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let digits = rest.get(..space)?;
    let mode = digits.iter().fold(0_u32, |mode, digit| mode << 3 | u32::from(digit.wrapping_sub(b'0') & 7));
    let name_len = rest.get(space + 1..)?.iter().position(|byte| *byte == 0)?;
    let name = rest.get(space + 1..space + 1 + name_len)?;
    let id_at = space + 2 + name_len;
    let id = ObjectId::from_bytes(algo, rest.get(id_at..id_at + algo.bytes())?)?;
    Some(((mode, name, id), at + id_at + algo.bytes()))
}

struct Frame {
    data: Bytes,
    at: usize,
    path_len: usize,
}

/// Goes through everything below a tree in git's order, folders before what is in them.
pub struct TreeWalk {
    algo: HashAlgo,
    frames: Vec<Frame>,
    path: Vec<u8>,
    held_bytes: usize,
}

impl TreeWalk {
    /// A walk that has not begun. `path` is put in front of the paths of its items, with a slash if it is not empty.
    pub fn new(reading: &Reading, root: &ObjectId, path: &[u8]) -> Result<Self, Halt> {
        let algo = reading.view.served.algo;
        let mut walk = Self { algo, frames: Vec::new(), path: path.to_vec(), held_bytes: 0 };
        if !walk.path.is_empty() {
            walk.path.push(b'/');
        }
        walk.push(read_tree(reading, root)?)?;
        Ok(walk)
    }

    fn push(&mut self, data: Bytes) -> Result<(), Halt> {
        if self.frames.len() >= TREE_DEPTH_MAX {
            return Err(WalkError::TooDeep.into());
        }
        self.held_bytes += data.len();
        if self.held_bytes > TREE_WALK_BYTES_MAX {
            let text = format!("the trees above an entry have more than {TREE_WALK_BYTES_MAX} bytes");
            return Err(Error::new(code::MEMORY_LIMIT, text).into());
        }
        self.frames.push(Frame { data, at: 0, path_len: self.path.len() });
        Ok(())
    }

    /// The next entry; `None` at the end.
    pub fn step(&mut self) -> Option<Item> {
        loop {
            let frame = self.frames.last_mut()?;
            self.path.truncate(frame.path_len);
            if let Some(((mode, name, id), next)) = entry_at(self.algo, &frame.data, frame.at) {
                frame.at = next;
                let mut path = self.path.clone();
                let name_at = path.len();
                path.extend_from_slice(name);
                return Some(Item { mode, id, path, name_at });
            }
            self.held_bytes -= frame.data.len();
            self.frames.pop();
        }
    }

    /// How many trees there are from the root to the one whose entries come next.
    pub fn depth(&self) -> usize {
        self.frames.len()
    }

    /// Bytes in front of the names of the entries that come next.
    pub fn path_len(&self) -> usize {
        self.frames.last().map_or(0, |frame| frame.path_len)
    }

    /// The regular file of that name in the tree whose entries come next.
    pub fn file(&self, wanted: &[u8]) -> Option<ObjectId> {
        let frame = self.frames.last()?;
        let mut at = 0;
        while let Some(((mode, name, id), next)) = entry_at(self.algo, &frame.data, at) {
            if name >= wanted {
                return (name == wanted && mode & 0o170_000 == 0o100_000).then_some(id);
            }
            at = next;
        }
        None
    }

    /// Goes into a folder that `step` just answered. Where it stops for the turn, it may be asked again.
    pub fn enter(&mut self, reading: &Reading, folder: &Item) -> Result<(), Halt> {
        let data = read_tree(reading, &folder.id)?;
        self.path.clone_from(&folder.path);
        self.path.push(b'/');
        self.push(data)
    }

    /// Goes to just behind `path`, which is relative to the root of the walk, entering the folders on the way. False
    /// where there is no such entry.
    pub fn seek(&mut self, reading: &Reading, path: &[u8]) -> Result<Option<Item>, Halt> {
        let mut found: Option<Item> = None;
        for part in path.split(|byte| *byte == b'/') {
            if let Some(folder) = &found {
                if !folder.is_tree() {
                    return Ok(None);
                }
                self.enter(reading, folder)?;
            }
            let depth = self.frames.len();
            found = loop {
                match self.step() {
                    Some(item) if self.frames.len() == depth && item.name() == part => break Some(item),
                    Some(_) if self.frames.len() == depth => {}
                    _ => return Ok(None),
                }
            };
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::{entry_at, type_of};
    use cairn_protocol::object::HashAlgo;

    #[test]
    fn modes_have_their_words() {
        let cases = [
            (0o100_644, "blob"),
            (0o100_664, "blob"),
            (0o100_755, "exec"),
            (0o040_000, "tree"),
            (0o120_000, "symlink"),
            (0o160_000, "gitlink"),
        ];
        for (mode, want) in cases {
            assert_eq!(type_of(mode), want, "{mode:o}");
        }
    }

    #[test]
    fn entries_follow_one_another_and_a_cut_one_is_the_end() {
        let one = [b"100644 a b\0".as_slice(), &[7; 20]].concat();
        let tree = [one.as_slice(), b"40000 \0", &[9; 20]].concat();
        let ((mode, name, _), next) = entry_at(HashAlgo::Sha1, &tree, 0).unwrap();
        assert_eq!((mode, name, next), (0o100_644, b"a b".as_slice(), one.len()));
        let ((mode, name, id), next) = entry_at(HashAlgo::Sha1, &tree, next).unwrap();
        assert_eq!((mode, name, id.as_bytes(), next), (0o40_000, b"".as_slice(), &[9; 20][..], tree.len()));
        assert!(entry_at(HashAlgo::Sha1, &tree, next).is_none());
        assert!((0..one.len()).all(|cut| entry_at(HashAlgo::Sha1, &one[..cut], 0).is_none()));
    }
}
