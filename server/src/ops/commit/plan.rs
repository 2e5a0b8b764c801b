//! From changes and a parent to the objects of a commit.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::path::Path;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId, hash_object};
use cairn_protocol::pack::{PackBytes, PackSink};
use cairn_protocol::source::ObjectSource;
use cairn_protocol::tree_edit::{EditError, Node, TreeEditor};
use cairn_protocol::walk::Reader;

use super::{Change, Content, Put, Wish, tree_of};
use crate::app::App;
use crate::error::{Error, code};
use crate::limits::COMMIT_TREE_BYTES_MAX;
use crate::ops::room::Room;
use crate::ops::spool::Spool;
use crate::ops::view::RepoView;
use crate::ops::write::{WriteError, bad};
use crate::ops::{OpError, Served};
use crate::store::catalog::RepoRow;
use crate::store::repo::Snapshot;

const MODE_FILE: u32 = 0o100_644;
const MODE_GITLINK: u32 = 0o160_000;

/// The objects of one attempt.
pub(super) struct Plan {
    algo: HashAlgo,
    /// The commit.
    pub commit: ObjectId,
    /// Its bytes.
    pub data: Vec<u8>,
    trees: Vec<(ObjectId, Vec<u8>)>,
    /// Numbers of the changes whose content is new here.
    blobs: Vec<usize>,
}

/// Reads trees of the repository, up to a limit in all.
struct Trees<'a> {
    reader: Reader<'a>,
    snapshot: &'a Snapshot,
    room: Room,
    bytes_left: u64,
}

impl Trees<'_> {
    fn read(&mut self, id: &ObjectId) -> Result<Vec<u8>, OpError> {
        let missing = || OpError::Request(format!("tree {id} is not in the repository"));
        let at = self.snapshot.lookup(id)?.ok_or_else(missing)?;
        let too_much = || {
            OpError::Request(format!(
                "the changes touch folders of more than {COMMIT_TREE_BYTES_MAX} bytes in all"
            ))
        };
        self.bytes_left = self.bytes_left.checked_sub(self.snapshot.record(at)?.size).ok_or_else(too_much)?;
        // As they are, and as the editor has them.
        self.room.hold((COMMIT_TREE_BYTES_MAX - self.bytes_left) * 2)?;
        let (kind, data) = self.reader.read(at)?;
        if kind != Kind::Tree {
            return Err(missing());
        }
        Ok(data.to_vec())
    }
}

/// Makes the trees and the commit in memory.
pub(super) fn plan(
    app: &App,
    row: &RepoRow,
    (served, snapshot): (&Served, &Snapshot),
    wish: &Wish,
    files: &[Option<ObjectId>],
    parent: Option<ObjectId>,
) -> Result<Plan, WriteError> {
    let algo = served.algo;
    let before = parent.map(|parent| tree_of(snapshot, &parent)).transpose()?;
    let mut trees = Trees {
        reader: served.reader(snapshot),
        snapshot,
        room: served.room,
        bytes_left: COMMIT_TREE_BYTES_MAX,
    };
    let mut edit = Edit { editor: TreeEditor::new(algo, before), trees: &mut trees };
    check_stored(app, row, wish, served.room)?;
    edit.apply(wish, files)?;
    let made = edit.editor.finish().map_err(|why| bad("/changes", why.to_string()))?;
    let is_empty = before.map_or(wish.changes.is_empty(), |before| before == made.root);
    if is_empty && !wish.allow_empty {
        return Err(bad("/changes", "the changes change nothing; allow_empty makes a commit all the same"));
    }
    let data = commit_data(wish, &made.root, parent);
    let commit = hash_object(algo, Kind::Commit, &data).map_err(|why| bad("/message", why.to_string()))?;
    let mut trees = Vec::new();
    let mut seen = HashSet::new();
    for (id, data) in made.trees {
        if seen.insert(id) && snapshot.lookup(&id)?.is_none() {
            trees.push((id, data));
        }
    }
    let mut blobs = Vec::new();
    for (at, (change, id)) in wish.changes.iter().zip(files).enumerate() {
        let is_new = matches!(
            change.put.as_ref().and_then(|put| put.content.as_ref()),
            Some(Content::Inline(_) | Content::Spooled { .. })
        );
        if let Some(id) = id.filter(|_| is_new)
            && seen.insert(id)
            && snapshot.lookup(&id)?.is_none()
        {
            blobs.push(at);
        }
    }
    Ok(Plan { algo, commit, data, trees, blobs })
}

fn commit_data(wish: &Wish, tree: &ObjectId, parent: Option<ObjectId>) -> Vec<u8> {
    let parent = parent.map(|parent| format!("parent {parent}\n")).unwrap_or_default();
    let (author, committer) = (&wish.author, &wish.committer);
    let mut data = format!("tree {tree}\n{parent}author {author}\ncommitter {committer}\n\n").into_bytes();
    data.extend_from_slice(&wish.message);
    data
}

/// Files that are named by id must be shown by a ref: an id is no proof of having seen the bytes.
fn check_stored(app: &App, row: &RepoRow, wish: &Wish, room: Room) -> Result<(), WriteError> {
    let mut view = None;
    for change in &wish.changes {
        let Some(Put { content: Some(Content::Stored(id)), mode, .. }) = &change.put else { continue };
        if *mode == Some(MODE_GITLINK) {
            continue;
        }
        let view = match &view {
            Some(view) => view,
            None => view.insert(RepoView::open(app, row, None, room)?),
        };
        if view.header(id)?.is_none_or(|(kind, _)| kind != Kind::Blob) {
            return Err(bad(change.at("blob"), format!("the repository has no blob {id}")));
        }
    }
    Ok(())
}

struct Edit<'a, 'b> {
    editor: TreeEditor,
    trees: &'a mut Trees<'b>,
}

impl Edit<'_, '_> {
    fn apply(&mut self, wish: &Wish, files: &[Option<ObjectId>]) -> Result<(), WriteError> {
        self.check_twice(wish)?;
        // What stays in place is looked at, and what moves is taken up, before anything is removed.
        let mut nodes = Vec::with_capacity(wish.changes.len());
        for (change, file) in wish.changes.iter().zip(files) {
            nodes.push(match &change.put {
                Some(put) => Some(self.node(change, put, *file)?),
                None => None,
            });
        }
        self.present(wish)?;
        let mut read = |id: &ObjectId| self.trees.read(id);
        for change in &wish.changes {
            match &change.put {
                None => drop(self.editor.remove(&change.path, &mut read)?),
                Some(Put { from: Some(from), copy: false, .. }) => {
                    self.editor.remove(from, &mut read)?;
                }
                Some(_) => {}
            }
        }
        for (change, node) in wish.changes.iter().zip(nodes) {
            let Some(node) = node else { continue };
            self.put(change, node)?;
        }
        Ok(())
    }

    /// A path is deleted once, moved away once, and put once.
    fn check_twice(&self, wish: &Wish) -> Result<(), WriteError> {
        let (mut gone, mut put) = (HashSet::new(), HashSet::new());
        for change in &wish.changes {
            let is_new = match &change.put {
                None => gone.insert(change.path.as_slice()),
                Some(Put { from: Some(from), copy: false, .. }) if !gone.insert(from.as_slice()) => {
                    return Err(bad(change.at("from"), "another change takes this away already"));
                }
                Some(_) => put.insert(change.path.as_slice()),
            };
            if !is_new {
                return Err(bad(change.at("path"), "another change names this path already"));
            }
        }
        Ok(())
    }

    /// Refuses deletions of what is not there.
    fn present(&mut self, wish: &Wish) -> Result<(), WriteError> {
        let mut read = |id: &ObjectId| self.trees.read(id);
        for change in wish.changes.iter().filter(|change| change.put.is_none()) {
            if self.editor.get(&change.path, &mut read)?.is_none() {
                return Err(bad(change.at("path"), "there is nothing to delete"));
            }
        }
        Ok(())
    }

    /// What a change puts at its path, seen from the parent.
    fn node(&mut self, change: &Change, put: &Put, file: Option<ObjectId>) -> Result<Node, WriteError> {
        let mut read = |id: &ObjectId| self.trees.read(id);
        let source = put.from.as_deref().unwrap_or(&change.path);
        let here = self.editor.get(source, &mut read)?.cloned();
        if put.from.is_some() && here.is_none() {
            return Err(bad(change.at("from"), "there is nothing to move"));
        }
        let old = here.as_ref().and_then(Node::file);
        let Some(id) = file else {
            let Some((_, id)) = old else {
                return match (here, put.mode, &put.from) {
                    (Some(folder), None, Some(_)) => Ok(folder),
                    (Some(_), _, _) => Err(bad(change.at("mode"), "a folder has no mode")),
                    (None, _, _) => Err(bad(change.at("path"), "there is no file whose mode could change")),
                };
            };
            let mode = put.mode.or(old.map(|(mode, _)| mode)).unwrap_or(MODE_FILE);
            return Ok(Node::new(mode, id));
        };
        if put.from.is_some() && old.is_none() {
            return Err(bad(change.at("from"), "a folder is moved as it is, without content"));
        }
        // A submodule that gets bytes becomes a file.
        let kept = old.map(|(mode, _)| mode).filter(|mode| *mode != MODE_GITLINK);
        Ok(Node::new(put.mode.or(kept).unwrap_or(MODE_FILE), id))
    }

    fn put(&mut self, change: &Change, node: Node) -> Result<(), WriteError> {
        let mut read = |id: &ObjectId| self.trees.read(id);
        let is_move = change.put.as_ref().is_some_and(|put| put.from.is_some());
        match self.editor.get(&change.path, &mut read)? {
            Some(there) if there.is_folder() => {
                return Err(bad(
                    change.at("path"),
                    "a folder is there; delete it to put something in its place",
                ));
            }
            Some(_) if is_move => {
                return Err(bad(
                    change.at("path"),
                    "a file is there; delete it to put something in its place",
                ));
            }
            _ => {}
        }
        match self.editor.put(&change.path, node, &mut read) {
            Ok(()) => Ok(()),
            Err(why @ EditError::FileInTheWay { .. }) => Err(bad(change.at("path"), why.to_string())),
            Err(why) => Err(why.into()),
        }
    }
}

/// A spool as somewhere to write.
struct Into<'a> {
    spool: Spool,
    folder: &'a Path,
}

impl Write for Into<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.spool.write(self.folder, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A part of a spool as something to read.
struct Part<'a> {
    files: &'a Spool,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let step = usize::try_from(self.left).unwrap_or(into.len()).min(into.len());
        self.files.read_at(self.at, into.get_mut(..step).unwrap_or_default())?;
        self.at += step as u64;
        self.left -= step as u64;
        Ok(step)
    }
}

impl Plan {
    /// The pack of everything that the repository does not have.
    pub(super) fn pack(&self, folder: &Path, wish: &Wish, snapshot: &Snapshot) -> Result<Spool, WriteError> {
        // Two branches that get the same commit in the same second share it.
        let is_new = snapshot.lookup(&self.commit).map_err(OpError::from)?.is_none();
        let count = self.blobs.len() + self.trees.len() + usize::from(is_new);
        let count = u32::try_from(count)
            .map_err(|_| WriteError::Refused(Error::new(code::QUOTA_EXCEEDED, "too many objects")))?;
        let out = Into { spool: Spool::default(), folder };
        let written = || -> io::Result<Spool> {
            let mut sink = PackSink::new(self.algo, count, io::BufWriter::new(out))?;
            for change in self.blobs.iter().filter_map(|at| wish.changes.get(*at)) {
                match change.put.as_ref().and_then(|put| put.content.as_ref()) {
                    Some(Content::Inline(bytes)) => sink.add(Kind::Blob, bytes)?,
                    Some(Content::Spooled { at, len }) => {
                        let mut part = Part { files: &wish.files, at: *at, left: *len };
                        sink.add_stream(Kind::Blob, *len, &mut part)?;
                    }
                    Some(Content::Stored(_)) | None => {}
                }
            }
            for (_, data) in &self.trees {
                sink.add(Kind::Tree, data)?;
            }
            if is_new {
                sink.add(Kind::Commit, &self.data)?;
            }
            let out = sink.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            Ok(out.spool)
        };
        Ok(written().map_err(OpError::from)?)
    }
}
