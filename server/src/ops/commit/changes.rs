//! What one commit changes, and the rules for its paths.

use cairn_protocol::object::fsck;
use cairn_protocol::object::{Collision, HashAlgo, Hasher, Kind, ObjectId, hash_object};
use cairn_protocol::pack::{FsckRules, PackBytes};

use super::Wish;
use crate::error::Error;
use crate::limits::{COMMIT_PATH_BYTES_MAX, OBJECT_BYTES_MAX, STREAM_STEP_BYTES};
use crate::ops::OpError;
use crate::ops::write::{WriteError, bad};

/// Where a file's bytes are.
#[derive(Clone, Debug)]
pub enum Content {
    /// In the request.
    Inline(Vec<u8>),
    /// In `Wish::files`.
    Spooled {
        /// Bytes from its start.
        at: u64,
        /// Length, in bytes.
        len: u64,
    },
    /// In the repository already; a commit's id for mode 160000.
    Stored(ObjectId),
}

/// What is put at a path.
#[derive(Clone, Debug)]
pub struct Put {
    /// The bytes; `None` keeps what is there or what `from` names.
    pub content: Option<Content>,
    /// git's mode; `None` keeps the mode of what is there or what `from` names, and is 100644 for new files.
    pub mode: Option<u32>,
    /// What is moved here.
    pub from: Option<Vec<u8>>,
    /// Whether what `from` names also stays where it is.
    pub copy: bool,
}

/// One change.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where in the request it is: `/changes/3`.
    pub pointer: String,
    /// The path, checked.
    pub path: Vec<u8>,
    /// What is put there; `None` deletes.
    pub put: Option<Put>,
}

impl Change {
    /// The pointer of one of its fields.
    pub fn at(&self, field: &str) -> String {
        format!("{}/{field}", self.pointer)
    }
}

/// Judges a path by git's rules; `mode` is that of its last part.
pub fn check_path(algo: HashAlgo, path: &str, mode: u32) -> Result<Vec<u8>, String> {
    if path.len() > COMMIT_PATH_BYTES_MAX {
        return Err(format!("path of {} bytes, {COMMIT_PATH_BYTES_MAX} are allowed", path.len()));
    }
    if path.contains('\0') {
        return Err("a path may not hold NUL".to_owned());
    }
    let last = path.rsplit('/').next().map_or(0, str::len);
    let mut at = 0;
    for part in path.split('/') {
        at += part.len() + 1;
        if part.is_empty() || part == "." || part == ".." {
            return Err("a path has parts between single slashes, none of them . or ..".to_owned());
        }
        let is_last = at > path.len() - last;
        let mode = if is_last { mode } else { cairn_protocol::tree_edit::MODE_TREE };
        if let Some(why) = finding(algo, mode, part) {
            return Err(format!("'{part}' is not allowed in a tree: {why}"));
        }
    }
    Ok(path.as_bytes().to_vec())
}

/// What git's rules say of a tree with this one name.
fn finding(algo: HashAlgo, mode: u32, name: &str) -> Option<String> {
    let mut tree = format!("{mode:o} {name}\0").into_bytes();
    tree.extend(std::iter::repeat_n(1, algo.bytes()));
    let mut why = None;
    fsck::check(algo, Kind::Tree, &tree, &mut |found| {
        if why.is_none() && FsckRules::stops(&found) {
            why = Some(found.to_string());
        }
    });
    why
}

/// The ids of all new files, in the order of changes; `None` where a change brings none.
pub(super) fn hashed(algo: HashAlgo, wish: &Wish) -> Result<Vec<Option<ObjectId>>, WriteError> {
    wish.changes.iter().map(|change| hash_one(algo, wish, change)).collect()
}

fn hash_one(algo: HashAlgo, wish: &Wish, change: &Change) -> Result<Option<ObjectId>, WriteError> {
    let Some(content) = change.put.as_ref().and_then(|put| put.content.as_ref()) else { return Ok(None) };
    let collision =
        |_: Collision| bad(change.at("content"), "the content is part of a SHA-1 collision attack");
    let too_large = |len: u64| {
        let text = format!("a file of {len} bytes, {OBJECT_BYTES_MAX} are allowed");
        WriteError::Refused(Error::input(change.at("path"), text).with_status(413))
    };
    Ok(Some(match content {
        Content::Stored(id) => *id,
        Content::Inline(bytes) => hash_object(algo, Kind::Blob, bytes).map_err(collision)?,
        Content::Spooled { len, .. } if *len > OBJECT_BYTES_MAX => return Err(too_large(*len)),
        Content::Spooled { at, len } => {
            let mut hasher = Hasher::for_object(algo, Kind::Blob, *len);
            let mut buffer = vec![0; STREAM_STEP_BYTES];
            let (mut at, end) = (*at, *at + *len);
            while at < end {
                let step = usize::try_from(end - at).unwrap_or(STREAM_STEP_BYTES).min(STREAM_STEP_BYTES);
                let piece = buffer.get_mut(..step).unwrap_or_default();
                wish.files.read_at(at, piece).map_err(OpError::from)?;
                hasher.update(piece);
                at += step as u64;
            }
            hasher.finish().map_err(collision)?
        }
    }))
}

#[cfg(test)]
mod tests {
    use cairn_protocol::object::HashAlgo;
    use cairn_protocol::refs::RefName;

    use super::{Change, Content, OBJECT_BYTES_MAX, Put, Wish, WriteError, hashed};
    use crate::ops::write::Wanted;

    #[test]
    fn a_file_of_an_upload_stops_at_its_limit() {
        let file = |len: u64| {
            let content = Some(Content::Spooled { at: 0, len });
            let put = Some(Put { content, mode: None, from: None, copy: false });
            let wish = Wish {
                branch: RefName::new(b"refs/heads/main").expect("a name"),
                expected_head: Wanted::Any,
                start_point: None,
                message: Vec::new(),
                author: String::new(),
                committer: String::new(),
                changes: vec![Change { pointer: "/changes/0".to_owned(), path: b"f".to_vec(), put }],
                // Empty: reading it fails, which tells that it was not refused before.
                files: std::sync::Arc::default(),
                allow_empty: false,
            };
            hashed(HashAlgo::Sha1, &wish).expect_err("there is nothing to read")
        };
        assert!(!matches!(file(OBJECT_BYTES_MAX), WriteError::Refused(_)), "at the limit");
        let WriteError::Refused(past) = file(OBJECT_BYTES_MAX + 1) else { panic!("one byte past it") };
        let numbers = [OBJECT_BYTES_MAX, OBJECT_BYTES_MAX + 1].map(|number| number.to_string());
        assert!(numbers.iter().all(|number| past.message.contains(number)), "{}", past.message);
    }
}
