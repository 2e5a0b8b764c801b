//! The index pass of an upload: how much memory it takes, and how it is done within that.

use std::rc::Rc;
use std::sync::Mutex;

use cairn_protocol::object::{Kind, ObjectId};
use cairn_protocol::pack::limits::ENTRY_BYTES_MIN as PACK_ENTRY_BYTES_MIN;
use cairn_protocol::pack::{FsckRules, IndexOptions, IndexedPack, Known, PackBytes, PackError, scan};
use cairn_protocol::source::{ObjectSource, SourceError};

use super::push::Hidden;
use super::room::Room;
use super::shallow::Beyond;
use super::spool::Spool;
use super::watched::Watched;
use super::{OpError, Served};
use crate::limits::{
    INDEX_CACHE_BYTES, INDEX_ENTRY_BYTES, INDEX_OBJECT_BYTES, INDEX_THREADS_MAX, OBJECT_BYTES_MAX,
    OBJECT_COPIES, PUSH_OBJECTS_MAX,
};
use crate::store::repo::Snapshot;

/// The repository as packs see it: bases of thin packs and the far ends of links. One lock around one snapshot, since
/// a snapshot's connection serves one thread.
struct KnownObjects<'a> {
    snapshot: Mutex<&'a Snapshot>,
    served: &'a Served,
    hidden: &'a Hidden,
    beyond: Beyond,
}

impl Known for KnownObjects<'_> {
    fn find(&self, id: &ObjectId) -> Result<Option<(Kind, Vec<u8>)>, SourceError> {
        let snapshot = self.snapshot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(at) = self.hidden.place(&snapshot, id)? else { return Ok(None) };
        let mut reader = self.served.reader(*snapshot);
        let (kind, data) = reader.read(at).map_err(|e| SourceError(Box::new(e)))?;
        Ok(Some((kind, Rc::unwrap_or_clone(data))))
    }

    fn kinds(&self, ids: &[ObjectId]) -> Result<Vec<Option<Kind>>, SourceError> {
        let snapshot = self.snapshot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let kind = |id: &ObjectId| -> Result<Option<Kind>, SourceError> {
            match self.hidden.place(&snapshot, id)? {
                Some(at) => Ok(Some(snapshot.record(at)?.kind)),
                None => Ok(self.beyond.take(id)),
            }
        };
        ids.iter().map(kind).collect()
    }
}

/// Memory that the index pass of an upload surely takes, in bytes; 0 for a small one, which may still turn out to need more.
pub fn index_bytes(upload: &Spool) -> u64 {
    if !upload.is_on_disk(0) {
        return 0;
    }
    let objects = INDEX_OBJECT_BYTES * OBJECT_COPIES * index_threads(upload) as u64;
    table_bytes(upload) + INDEX_CACHE_BYTES + objects
}

/// What the pack's entries take while it is indexed, as far as its header tells the truth: one that does not is refused
/// before anything is made for it.
fn table_bytes(upload: &Spool) -> u64 {
    let mut count = [0; 4];
    // A pack without a whole header is refused.
    let count = upload.read_at(8, &mut count).map_or(0, |()| u32::from_be_bytes(count));
    u64::from(count.min(PUSH_OBJECTS_MAX)).min(upload.len() / PACK_ENTRY_BYTES_MIN) * INDEX_ENTRY_BYTES
}

fn index_threads(upload: &Spool) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if upload.is_on_disk(0) { cores.min(INDEX_THREADS_MAX) } else { 1 }
}

/// How many threads index a pack whose largest object has `largest` bytes, and how many bytes of delta bases they keep.
fn index_plan(room: Room, upload: &Spool, largest: u64) -> Result<(usize, u64), OpError> {
    let held = largest.saturating_mul(OBJECT_COPIES).max(1);
    let need = table_bytes(upload).saturating_add(held);
    room.hold(need)?;
    let spare = room.bytes() - need;
    let more = spare.saturating_sub(INDEX_CACHE_BYTES) / held;
    let threads = index_threads(upload).min(usize::try_from(more).unwrap_or(usize::MAX).saturating_add(1));
    Ok((threads, INDEX_CACHE_BYTES.min(spare - held * (threads as u64 - 1))))
}

/// Indexes and checks an upload. Stops with a wish for more room where it would hold more than it may.
pub(super) fn index(
    served: &Served,
    snapshot: &Snapshot,
    hidden: &Hidden,
    upload: &Spool,
    is_cut: bool,
    progress: &mut dyn FnMut(String),
) -> Result<(IndexedPack, Beyond), OpError> {
    let _span = tracing::debug_span!("index").entered();
    served.room.hold(table_bytes(upload))?;
    let options = IndexOptions {
        algo: served.algo,
        cache_bytes: 0,
        object_bytes_max: OBJECT_BYTES_MAX,
        objects_max: PUSH_OBJECTS_MAX,
        fsck: true,
    };
    let bytes = &Watched::new(upload);
    let mut scanned = scan(bytes, &options, &mut |done, total| {
        progress(format!(
            "Receiving objects: {}% ({done}/{total})\r",
            u64::from(done) * 100 / u64::from(total.max(1))
        ));
    })?;
    let known = KnownObjects { snapshot: Mutex::new(snapshot), served, hidden, beyond: Beyond::default() };
    let (threads, cache_bytes) = index_plan(served.room, upload, scanned.largest_held())?;
    scanned.set_memory(cache_bytes, served.room.object_bytes_max());
    let rules = FsckRules::new(&known);
    let resolver = scanned.resolver(bytes, &known, &rules)?;
    if threads == 1 {
        resolver.work()?;
    } else {
        progress("Checking objects\n".to_owned());
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| resolver.work())).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(PackError::Unfinished)))
        })?;
    }
    if is_cut {
        known.beyond.open();
    }
    let pack = resolver.finish()?;
    Ok((pack, known.beyond))
}
