//! The entries of a tree, or of all trees below one, in pages.

use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::source::ObjectSource;

use super::tree::{Item, TreeWalk};
use super::{Halt, Reading, names};
use crate::error::{Error, code};
use crate::limits::TREE_WALK_ENTRIES_MAX;

/// An entry, with the size of its blob.
pub struct Sized {
    /// The entry.
    pub item: Item,
    /// Bytes of a blob; folders and submodules have none.
    pub size: Option<u64>,
}

/// Which entries.
pub struct Query<'a> {
    /// The tree, which is visible.
    pub tree: ObjectId,
    /// The path of the tree, put in front of its entries' paths.
    pub path: &'a [u8],
    /// Also those of the folders below.
    pub recursive: bool,
    /// The path, relative to the tree, of the entry before the first; if absent, `skip` are left out.
    pub after: Option<&'a [u8]>,
    /// How many to leave out from the start.
    pub skip: u64,
    /// How many at most.
    pub take: u64,
}

/// A page, and how many entries there are in all.
pub fn list(reading: &Reading, query: &Query<'_>) -> Result<(Vec<Sized>, u64), Halt> {
    let total = total(reading, query)?;
    let mut walk = Steps::new(reading, query)?;
    match query.after {
        Some(after) => walk.seek(after)?,
        None => {
            for _ in 0..query.skip.min(total) {
                walk.step()?;
            }
        }
    }
    let mut items = Vec::new();
    while (items.len() as u64) < query.take {
        let Some(item) = walk.step()? else { break };
        items.push(item);
    }
    Ok((sized(reading, items)?, total))
}

struct Steps<'a> {
    reading: &'a Reading,
    walk: TreeWalk,
    folder: Option<Item>,
    recursive: bool,
}

impl<'a> Steps<'a> {
    fn new(reading: &'a Reading, query: &Query<'_>) -> Result<Self, Halt> {
        let walk = TreeWalk::new(reading, &query.tree, query.path)?;
        Ok(Self { reading, walk, folder: None, recursive: query.recursive })
    }

    fn step(&mut self) -> Result<Option<Item>, Halt> {
        if let Some(folder) = self.folder.take() {
            self.walk.enter(self.reading, &folder)?;
        }
        let item = self.walk.step();
        self.folder = item.clone().filter(|item| self.recursive && item.is_tree());
        Ok(item)
    }

    fn seek(&mut self, after: &[u8]) -> Result<(), Halt> {
        let found = self.walk.seek(self.reading, after)?;
        let item = found.ok_or_else(|| Error::input("/cursor", "Invalid cursor"))?;
        self.folder = Some(item).filter(|item| self.recursive && item.is_tree());
        Ok(())
    }
}

/// Counts once and keeps: the same tree has the same number of entries for ever.
fn total(reading: &Reading, query: &Query<'_>) -> Result<u64, Halt> {
    let key = names::key(reading, "entries", &[query.tree.as_bytes(), &[u8::from(query.recursive)]]);
    if let Some(total) = reading.reads.counts.get(&key) {
        return Ok(total);
    }
    let mut walk = Steps::new(reading, query)?;
    let mut total = 0;
    while walk.step()?.is_some() {
        total += 1;
        if total > TREE_WALK_ENTRIES_MAX {
            let text = format!("there are more than {TREE_WALK_ENTRIES_MAX} entries: list folder by folder");
            return Err(Error::new(code::QUOTA_EXCEEDED, text).into());
        }
    }
    reading.reads.counts.put(key, total, 8);
    Ok(total)
}

fn sized(reading: &Reading, items: Vec<Item>) -> Result<Vec<Sized>, Halt> {
    let snapshot = &reading.view.snapshot;
    let blobs: Vec<ObjectId> = items.iter().filter(|item| is_blob(item.mode)).map(|item| item.id).collect();
    let mut places = snapshot.lookup_many(&blobs)?.into_iter();
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        let place = if is_blob(item.mode) { places.next().flatten() } else { None };
        let size = match place {
            Some(at) => Some(snapshot.record(at)?).filter(|record| record.kind == Kind::Blob),
            None => None,
        };
        out.push(Sized { item, size: size.map(|record| record.size) });
    }
    Ok(out)
}

fn is_blob(mode: u32) -> bool {
    matches!(mode & 0o170_000, 0o100_000 | 0o120_000)
}
