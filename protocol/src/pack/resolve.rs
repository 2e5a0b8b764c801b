//! Pass 2: what the workers share, and the judgement over the pack as a whole.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::object::{Kind, ObjectId};
use crate::pack::facts::{Commits, TagLink};
use crate::pack::forest::{Forest, Groups};
use crate::pack::index::{Bits, sort_ids};
use crate::pack::limits::KNOWN_BATCH;
use crate::pack::linkset::{LinkSet, Naming, named_as, named_by};
use crate::pack::table::{Stored, Table, raw, to_id};
use crate::pack::worker::{Batch, Worker};
use crate::pack::{Check, IndexOptions, IndexedPack, Known, LinksOnly, PackBytes, PackError, Scanned};

/// Resolves the deltas of a scanned pack. Call [`Resolver::work`] on as many threads as you like, then
/// [`Resolver::finish`] once.
pub struct Resolver<'a> {
    pub(crate) bytes: &'a dyn PackBytes,
    known: &'a dyn Known,
    check: &'a dyn Check,
    pub(crate) options: IndexOptions,
    /// Its ids are in `gathered` while workers run.
    pub(crate) table: Table,
    pub(crate) forest: Forest,
    pub(crate) links: LinkSet,
    /// No other lock is taken while this one is held.
    pub(crate) gathered: Mutex<Gathered>,
    /// The next root: an entry, or beyond the entries a group.
    pub(crate) cursor: AtomicU64,
    /// Entries that are resolved and handed over.
    pub(crate) done: AtomicU32,
    /// Bytes of bases that wait on the stacks of all workers.
    pub(crate) held_bytes: AtomicU64,
    pub(crate) rebuilt_bytes: AtomicU64,
    /// A worker failed: the others stop.
    pub(crate) stopped: AtomicBool,
    trailer: ObjectId,
    pack_bytes: u64,
    /// What the deltas say is the largest object that has to be held.
    pub(crate) largest_held: u64,
    pub(crate) held_bytes_max: u64,
}

/// What workers found.
pub(crate) struct Gathered {
    pub(crate) ids: Vec<u8>,
    commits: Commits,
    tags: Vec<TagLink>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        scanned: Scanned,
        bytes: &'a dyn PackBytes,
        known: &'a dyn Known,
        check: &'a dyn Check,
    ) -> Result<Self, PackError> {
        let Scanned { options, mut table, ref_bases, trailer, pack_bytes, largest_held, held_bytes_max } =
            scanned;
        let mut forest = Forest::plant(&mut table, &ref_bases);
        drop(ref_bases);
        find_external(&table, &mut forest.groups, known)?;
        let links = LinkSet::new(options.algo, table.len());
        let ids = std::mem::take(&mut table.ids);
        let gathered = Gathered { ids, commits: Commits::new(options.algo), tags: Vec::new() };
        Ok(Self {
            bytes,
            known,
            check,
            options,
            table,
            forest,
            links,
            gathered: Mutex::new(gathered),
            cursor: AtomicU64::new(0),
            done: AtomicU32::new(0),
            held_bytes: AtomicU64::new(0),
            rebuilt_bytes: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            trailer,
            pack_bytes,
            largest_held,
            held_bytes_max,
        })
    }

    /// Resolves deltas until none is left. Where it fails, it fails on all threads soon after: the others answer `Ok`.
    pub fn work(&self) -> Result<(), PackError> {
        let outcome = Worker::new(self).run();
        if outcome.is_err() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// How many entries are resolved, for showing progress.
    pub fn done(&self) -> u32 {
        self.done.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> &dyn Check {
        if self.options.fsck { self.check } else { &LinksOnly }
    }

    pub(crate) fn take_in(&self, batch: &mut Batch) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let width = self.table.algo.bytes();
        for (index, id) in batch.deltas.drain(..).zip(batch.ids.chunks_exact(width)) {
            let at = index as usize * width;
            gathered.ids[at..at + width].copy_from_slice(id);
        }
        batch.ids.clear();
        gathered.commits.append(&mut batch.commits);
        gathered.tags.append(&mut batch.tags);
    }

    /// A base that the repository has.
    pub(crate) fn external(&self, id: &ObjectId) -> Result<(Kind, Vec<u8>), PackError> {
        let (kind, data) = self.known.find(id)?.ok_or(PackError::MissingBase { id: *id })?;
        let (bytes, max) = (data.len() as u64, self.options.object_bytes_max);
        if bytes > max { Err(PackError::ObjectTooLarge { bytes, max }) } else { Ok((kind, data)) }
    }

    /// Judges what is left when all workers are done: bases that are nowhere, objects that are twice in the pack,
    /// what objects name, and what [`Check::finish`] has to say.
    pub fn finish(mut self) -> Result<IndexedPack, PackError> {
        self.all_resolved()?;
        let Gathered { ids, mut commits, mut tags } = self.take_gathered();
        self.table.ids = ids;
        self.forest.drop_children();
        commits.sort();
        tags.sort_unstable_by_key(|tag| tag.index);
        let sorted = sort_ids(&self.table)?;
        self.finish_check(&sorted)?;
        let Self { table, forest, mut links, known, .. } = self;
        let referred = referred(&table, &mut links)?;
        let outside = outside(&table, links);
        let external = external(known, outside)?;
        let (trailer, pack_bytes) = (self.trailer, self.pack_bytes);
        let bases = forest.groups.into_bases();
        Ok(IndexedPack { table, bases, sorted, referred, commits, tags, external, trailer, pack_bytes })
    }

    fn take_gathered(&mut self) -> Gathered {
        let gathered = self.gathered.get_mut().unwrap_or_else(PoisonError::into_inner);
        let empty = Gathered { ids: vec![], commits: Commits::new(self.options.algo), tags: vec![] };
        std::mem::replace(gathered, empty)
    }

    fn all_resolved(&self) -> Result<(), PackError> {
        let roots = u64::from(self.table.len()) + u64::from(self.forest.groups.len());
        if self.stopped.load(Ordering::Relaxed) || self.cursor.load(Ordering::Relaxed) < roots {
            return Err(PackError::Unfinished);
        }
        if self.done.load(Ordering::Acquire) == self.table.len() {
            return Ok(());
        }
        let groups = &self.forest.groups;
        match (0..groups.len()).find(|group| groups.is_open(*group)) {
            Some(group) => Err(PackError::MissingBase { id: to_id(self.table.algo, groups.raw_id(group)) }),
            None => Err(PackError::Unfinished),
        }
    }

    fn finish_check(&self, sorted: &[u32]) -> Result<(), PackError> {
        let worker = RefCell::new(Worker::new(self));
        let read = |id: &ObjectId| match self.table.find(sorted, id) {
            Some(index) => worker.borrow_mut().object(index).map(Some),
            None => Ok(None),
        };
        self.check().finish(&read)
    }
}

/// Finds out which bases the repository has, after those that are whole in the pack. What is left must show up as the
/// result of a delta.
fn find_external(table: &Table, groups: &mut Groups, known: &dyn Known) -> Result<(), PackError> {
    if groups.len() == 0 {
        return Ok(());
    }
    for index in (0..table.len()).filter(|index| table.stored(*index) == Stored::Whole) {
        groups.claim(table.raw_id(index), index);
    }
    let open: Vec<u32> = (0..groups.len()).filter(|group| groups.is_open(*group)).collect();
    for batch in open.chunks(KNOWN_BATCH) {
        let ids: Vec<ObjectId> = batch.iter().map(|group| to_id(table.algo, groups.raw_id(*group))).collect();
        for (group, kind) in batch.iter().zip(known.kinds(&ids)?) {
            if kind.is_some() {
                groups.set_external(*group);
            }
        }
    }
    Ok(())
}

/// Which entries are named by others, all of them as what they are.
fn referred(table: &Table, links: &mut LinkSet) -> Result<Bits, PackError> {
    let mut referred = Bits::new(table.len());
    for index in 0..table.len() {
        let (Some(naming), Some(kind)) = (links.find_in_pack(table.raw_id(index)), table.kind(index)) else {
            continue;
        };
        if named_as(naming) != Some(kind) {
            return Err(PackError::WrongKind {
                id: table.id(index),
                found: kind,
                named_by: named_by(naming),
            });
        }
        referred.set(index);
    }
    Ok(referred)
}

/// Named ids that are not in the pack: raw, ascending, each followed by its naming.
fn outside(table: &Table, links: LinkSet) -> Vec<(ObjectId, Naming)> {
    let mut outside = Vec::new();
    links.outside(&mut |id, naming| outside.push((to_id(table.algo, raw(id, table.algo, 0)), naming)));
    outside.sort_unstable();
    outside
}

fn external(known: &dyn Known, outside: Vec<(ObjectId, Naming)>) -> Result<Vec<(ObjectId, Kind)>, PackError> {
    let mut external = Vec::with_capacity(outside.len());
    for batch in outside.chunks(KNOWN_BATCH) {
        let ids: Vec<ObjectId> = batch.iter().map(|(id, _)| *id).collect();
        let mut kinds = known.kinds(&ids)?.into_iter();
        for (id, naming) in batch {
            let (wanted, named_by) = (named_as(*naming), named_by(*naming));
            match kinds.next().flatten() {
                Some(found) if wanted == Some(found) => external.push((*id, found)),
                Some(found) => {
                    return Err(PackError::WrongKind { id: *id, found, named_by });
                }
                None => {
                    let kind = wanted.unwrap_or(Kind::Blob);
                    return Err(PackError::Missing { id: *id, kind, named_by });
                }
            }
        }
    }
    Ok(external)
}
