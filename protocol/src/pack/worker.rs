//! Pass 2: one worker walks delta trees depth first, without recursion, and hands its findings over in batches.
//!
//! A frame waits on the stack only while it has children left: a parent's data is handed on or freed before its last
//! child is descended. Where waiting data exceeds the budget, the oldest is dropped, and built again when its turn
//! comes.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::object::{Collision, Kind, ObjectId, ParseError, commit_links, hash_object, tag_target};
use crate::pack::PackError;
use crate::pack::delta;
use crate::pack::facts::{Commits, TagLink};
use crate::pack::forest::NONE;
use crate::pack::limits::{
    BATCH_OBJECTS, DELTA_DEPTH_MAX, REBUILD_BYTES_MIN, REBUILT_BYTES_MAX, ROOTS_AT_ONCE, SCRATCH_BYTES_MAX,
    STEP_BYTES,
};
use crate::pack::linkset::{LinkWriter, naming};
use crate::pack::reader::Reader;
use crate::pack::resolve::Resolver;
use crate::pack::table::{Stored, raw, to_id};

/// Where a base lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// An entry of the pack.
    Entry(u32),
    /// The base of a group of ref-deltas, which the repository has.
    External(u32),
}

struct Frame {
    place: Place,
    /// `None` after the budget took it.
    data: Option<Vec<u8>>,
    /// Links below the root.
    depth: u32,
    /// The next children, ref-deltas first.
    next_ref: u32,
    next_ofs: u32,
}

impl Frame {
    fn is_spent(&self) -> bool {
        self.next_ref == NONE && self.next_ofs == NONE
    }
}

/// Findings that were not handed over yet.
pub(crate) struct Batch {
    /// Entry and raw id of resolved deltas, parallel.
    pub(crate) deltas: Vec<u32>,
    pub(crate) ids: Vec<u8>,
    pub(crate) commits: Commits,
    pub(crate) tags: Vec<TagLink>,
    /// Entries that are done, whole ones included.
    pub(crate) done: u32,
}

pub(crate) struct Worker<'r, 'a> {
    resolver: &'r Resolver<'a>,
    reader: Reader<'a>,
    links: LinkWriter<'r>,
    stack: Vec<Frame>,
    /// No frame below this one has data.
    oldest: usize,
    delta: Vec<u8>,
    /// The object at hand.
    result: Vec<u8>,
    /// A buffer for the next one.
    spare: Vec<u8>,
    batch: Batch,
}

impl Drop for Worker<'_, '_> {
    fn drop(&mut self) {
        while self.pop() {}
    }
}

impl<'r, 'a> Worker<'r, 'a> {
    pub(crate) fn new(resolver: &'r Resolver<'a>) -> Self {
        let reader = Reader::new(resolver.bytes, resolver.options.object_bytes_max);
        let commits = Commits::new(resolver.table.algo);
        let batch = Batch { deltas: vec![], ids: vec![], commits, tags: vec![], done: 0 };
        let links = LinkWriter::new(&resolver.links, resolver.table.len() < 1_000);
        let (stack, oldest, delta, result, spare) = Default::default();
        Self { resolver, reader, links, stack, oldest, delta, result, spare, batch }
    }

    /// Takes roots until none is left, or another worker failed.
    pub(crate) fn run(&mut self) -> Result<(), PackError> {
        let resolver = self.resolver;
        let count = u64::from(resolver.table.len());
        let end = count + u64::from(resolver.forest.groups.len());
        while !resolver.stopped.load(Ordering::Relaxed) {
            let first = resolver.cursor.fetch_add(ROOTS_AT_ONCE, Ordering::Relaxed);
            if first >= end {
                break;
            }
            for root in first..end.min(first + ROOTS_AT_ONCE) {
                match root.checked_sub(count) {
                    None => self.entry_root(root as u32)?,
                    Some(group) => self.external_root(group as u32)?,
                }
            }
            self.trim();
        }
        self.links.flush();
        self.hand_over();
        Ok(())
    }

    fn entry_root(&mut self, index: u32) -> Result<(), PackError> {
        let resolver = self.resolver;
        let table = &resolver.table;
        let (Stored::Whole, Some(kind)) = (table.stored(index), table.kind(index)) else {
            return Ok(());
        };
        self.batch.done += 1;
        if kind == Kind::Blob
            && resolver.forest.first_child(index) == NONE
            && resolver.forest.groups.len() == 0
        {
            return Ok(());
        }
        let id = {
            let gathered = resolver.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            to_id(table.algo, raw(&gathered.ids, table.algo, index))
        };
        let frame = self.frame(Place::Entry(index), &id, 0);
        if kind == Kind::Blob && frame.is_spent() {
            return Ok(());
        }
        if table.size(index) > resolver.largest_held {
            let at = table.offset(index);
            return Err(PackError::Malformed { at, why: "a delta is for a base of another size" });
        }
        let mut result = std::mem::take(&mut self.result);
        self.reader.read(table, index, &mut result)?;
        self.result = result;
        self.look_at(index, kind, &id)?;
        self.wait(frame);
        self.descend(kind)
    }

    fn external_root(&mut self, group: u32) -> Result<(), PackError> {
        let groups = &self.resolver.forest.groups;
        if !groups.is_external(group) {
            return Ok(());
        }
        let id = to_id(self.resolver.table.algo, groups.raw_id(group));
        let (kind, data) = self.resolver.external(&id)?;
        self.result = data;
        let frame = self.frame(Place::External(group), &id, 0);
        self.wait(frame);
        self.descend(kind)
    }

    /// A frame with its children, and without data.
    fn frame(&self, place: Place, id: &ObjectId, depth: u32) -> Frame {
        let forest = &self.resolver.forest;
        let (group, next_ofs) = match place {
            Place::Entry(index) => (forest.groups.claim(id.as_bytes(), index), forest.first_child(index)),
            Place::External(group) => (Some(group), NONE),
        };
        let next_ref = group.map_or(NONE, |group| forest.groups.first_child(group));
        Frame { place, data: None, depth, next_ref, next_ofs }
    }

    /// Puts `result` on the stack, unless nothing is built upon it.
    fn wait(&mut self, frame: Frame) {
        if frame.is_spent() {
            return;
        }
        let mut data = std::mem::replace(&mut self.result, std::mem::take(&mut self.spare));
        if data.capacity() > 2 * data.len() + STEP_BYTES {
            data.shrink_to_fit();
        }
        let held = &self.resolver.held_bytes;
        held.fetch_add(data.capacity() as u64, Ordering::Relaxed);
        self.stack.push(Frame { data: Some(data), ..frame });
        let cache_bytes = self.resolver.options.cache_bytes;
        while held.load(Ordering::Relaxed) > cache_bytes && self.oldest + 1 < self.stack.len() {
            let data = self.stack.get_mut(self.oldest).and_then(|frame| frame.data.take());
            held.fetch_sub(data.map_or(0, |data| data.capacity() as u64), Ordering::Relaxed);
            self.oldest += 1;
        }
    }

    /// Takes the top off the stack and keeps its buffer. `false` where the stack is empty.
    fn pop(&mut self) -> bool {
        let Some(frame) = self.stack.pop() else {
            return false;
        };
        if let Some(data) = frame.data {
            self.resolver.held_bytes.fetch_sub(data.capacity() as u64, Ordering::Relaxed);
            self.spare = data;
        }
        true
    }

    /// Resolves all that is built upon what is on the stack.
    fn descend(&mut self, kind: Kind) -> Result<(), PackError> {
        let resolver = self.resolver;
        while let Some(top) = self.stack.last_mut() {
            let next = if top.next_ref != NONE { &mut top.next_ref } else { &mut top.next_ofs };
            let child = *next;
            if child == NONE {
                self.pop();
                continue;
            }
            *next = resolver.forest.next_sibling(child);
            if resolver.stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            let depth = top.depth + 1;
            if depth > DELTA_DEPTH_MAX {
                return Err(PackError::TooDeep { max: DELTA_DEPTH_MAX });
            }
            self.resolve(child, kind, depth)?;
        }
        Ok(())
    }

    /// Resolves one delta against the top of the stack.
    fn resolve(&mut self, index: u32, kind: Kind, depth: u32) -> Result<(), PackError> {
        let resolver = self.resolver;
        let table = &resolver.table;
        if self.stack.last().is_some_and(|top| top.data.is_none()) {
            self.rebuild_top()?;
        }
        self.reader.read(table, index, &mut self.delta)?;
        let at = table.offset(index);
        let top = self.stack.last();
        let base = top.and_then(|top| top.data.as_deref()).unwrap_or_default();
        delta::apply(base, &self.delta, &mut self.result, resolver.options.object_bytes_max)
            .map_err(|source| PackError::Delta { at, source })?;
        if top.is_some_and(Frame::is_spent) {
            self.pop();
        }
        let id =
            hash_object(table.algo, kind, &self.result).map_err(|Collision| PackError::Collision { at })?;
        table.set_kind(index, kind);
        self.batch.deltas.push(index);
        self.batch.ids.extend_from_slice(id.as_bytes());
        self.batch.done += 1;
        self.look_at(index, kind, &id)?;
        let frame = self.frame(Place::Entry(index), &id, depth);
        self.wait(frame);
        Ok(())
    }

    /// Judges the object in `result` and notes what it names.
    fn look_at(&mut self, index: u32, kind: Kind, id: &ObjectId) -> Result<(), PackError> {
        if self.batch.deltas.len() >= BATCH_OBJECTS || self.batch.commits.len() >= BATCH_OBJECTS {
            self.hand_over();
        }
        let algo = self.resolver.table.algo;
        let (data, links) = (self.result.as_slice(), &mut self.links);
        let bad = |why: ParseError| PackError::Object { kind, id: *id, why: why.to_string() };
        if kind == Kind::Blob {
            return Ok(());
        }
        let mut name = |raw: &[u8], named_as: Kind| links.name(raw, naming(kind, named_as));
        self.resolver.check().object(kind, id, data, &mut name)?;
        if kind == Kind::Commit {
            self.batch.commits.push(index, &commit_links(algo, data).map_err(bad)?);
        } else if kind == Kind::Tag {
            let (target, kind) = tag_target(algo, data).map_err(bad)?;
            self.batch.tags.push(TagLink { index, target, kind });
        }
        Ok(())
    }

    fn hand_over(&mut self) {
        let done = std::mem::take(&mut self.batch.done);
        self.resolver.take_in(&mut self.batch);
        self.resolver.done.fetch_add(done, Ordering::AcqRel);
    }

    /// One huge object does not stay in memory for the rest of the pack.
    fn trim(&mut self) {
        for buffer in [&mut self.delta, &mut self.result, &mut self.spare] {
            if buffer.capacity() > SCRATCH_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
    }

    fn rebuild_top(&mut self) -> Result<(), PackError> {
        let Some((top, waiting)) = self.stack.split_last_mut() else {
            return Ok(());
        };
        let mut waiting = waiting.iter().rev().peekable();
        let mut path = Vec::new();
        let mut place = top.place;
        let mut cached = None;
        while let Some((index, below)) = self.resolver.step_down(place) {
            path.push(index);
            place = below;
            if let Some(frame) = waiting.next_if(|frame| frame.place == place) {
                cached = frame.data.as_deref();
                if cached.is_some() {
                    break;
                }
            }
        }
        let data = match cached {
            Some(base) => replay(self.resolver, &mut self.reader, base, &path)?,
            None => {
                let base = self.resolver.load(place, &mut self.reader)?;
                if path.is_empty() { base } else { replay(self.resolver, &mut self.reader, &base, &path)? }
            }
        };
        self.resolver.held_bytes.fetch_add(data.capacity() as u64, Ordering::Relaxed);
        top.data = Some(data);
        self.oldest = self.oldest.min(self.stack.len() - 1);
        Ok(())
    }

    /// Any object of the pack, once all is resolved.
    pub(crate) fn object(&mut self, index: u32) -> Result<Vec<u8>, PackError> {
        let (bytes, max) = (self.resolver.table.size(index), self.resolver.held_bytes_max);
        if bytes > max {
            return Err(PackError::Held { bytes, max });
        }
        let mut path = Vec::new();
        let mut place = Place::Entry(index);
        while let Some((index, below)) = self.resolver.step_down(place) {
            path.push(index);
            place = below;
        }
        let base = self.resolver.load(place, &mut self.reader)?;
        if path.is_empty() { Ok(base) } else { replay(self.resolver, &mut self.reader, &base, &path) }
    }
}

/// Applies the deltas of `path`, the last one first, to `base`.
fn replay(
    resolver: &Resolver<'_>,
    reader: &mut Reader<'_>,
    base: &[u8],
    path: &[u32],
) -> Result<Vec<u8>, PackError> {
    let (mut delta, mut next) = (Vec::new(), Vec::new());
    let mut current: Option<Vec<u8>> = None;
    for index in path.iter().rev() {
        reader.read(&resolver.table, *index, &mut delta)?;
        let at = resolver.table.offset(*index);
        delta::apply(
            current.as_deref().unwrap_or(base),
            &delta,
            &mut next,
            resolver.options.object_bytes_max,
        )
        .map_err(|source| PackError::Delta { at, source })?;
        let before =
            resolver.rebuilt_bytes.fetch_add(next.len() as u64 + REBUILD_BYTES_MIN, Ordering::Relaxed);
        if before > REBUILT_BYTES_MAX {
            return Err(PackError::TooMuch { max: REBUILT_BYTES_MAX });
        }
        let last = current.replace(std::mem::take(&mut next));
        next = last.unwrap_or_default();
    }
    Ok(current.unwrap_or_default())
}

impl Resolver<'_> {
    /// The delta at `place` and where its base lies; `None` where `place` is no delta.
    fn step_down(&self, place: Place) -> Option<(u32, Place)> {
        let Place::Entry(index) = place else { return None };
        let base = self.table.base(index);
        match self.table.stored(index) {
            Stored::Whole => None,
            Stored::Ofs => Some((index, Place::Entry(base))),
            Stored::Ref => {
                let in_pack = self.forest.groups.base(base);
                Some((index, in_pack.map_or(Place::External(base), Place::Entry)))
            }
        }
    }

    /// The object at a place that is no delta.
    fn load(&self, place: Place, reader: &mut Reader<'_>) -> Result<Vec<u8>, PackError> {
        match place {
            Place::Entry(index) => {
                let mut data = Vec::new();
                reader.read(&self.table, index, &mut data)?;
                Ok(data)
            }
            Place::External(group) => {
                let id = to_id(self.table.algo, self.forest.groups.raw_id(group));
                Ok(self.external(&id)?.1)
            }
        }
    }
}
