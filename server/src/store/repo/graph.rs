//! The commits of one pack in memory, so that walks never inflate one: about 40 bytes a commit.
//!
//! Read on first need. Those of all repositories are kept in one cache of bounded size; what one snapshot has read it has
//! for as long as it lives, so that no walk reads a pack twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::file::locked;
use super::record::{Cursor, Place};
use crate::store::StoreError;

/// One commit as the file holds it.
#[derive(Clone, Debug)]
pub(crate) struct RawCommit {
    pub(crate) index: u32,
    pub(crate) generation: u32,
    pub(crate) time: i64,
    pub(crate) tree: Place,
    pub(crate) parents: Vec<Place>,
}

impl RawCommit {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.time.to_le_bytes());
        self.tree.encode(out);
        out.extend_from_slice(&(self.parents.len() as u32).to_le_bytes());
        self.parents.iter().for_each(|parent| parent.encode(out));
    }

    fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        let index = u32::from_le_bytes(cursor.array()?);
        let generation = u32::from_le_bytes(cursor.array()?);
        let time = i64::from_le_bytes(cursor.array()?);
        let tree = Place::decode(cursor)?;
        let count = u32::from_le_bytes(cursor.array()?);
        let parents = (0..count).map(|_| Place::decode(cursor)).collect::<Option<_>>()?;
        Some(Self { index, generation, time, tree, parents })
    }
}

/// A commit of `PackCommits`.
pub(crate) struct CommitRow<'a> {
    pub(crate) generation: u32,
    pub(crate) time: i64,
    pub(crate) tree: Place,
    pub(crate) parents: &'a [Place],
}

struct Fixed {
    index: u32,
    generation: u32,
    time: i64,
    tree: Place,
    parents_end: u32,
}

/// Names a pack of a running process: no other ever has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Serial(u64);

impl Serial {
    /// One that was not given out yet.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The commits of packs that were read lately, all repositories together. Leaf lock.
pub(crate) struct Graphs {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Each with its bytes and when it was used last.
    packs: HashMap<Serial, (Arc<PackCommits>, usize, u64)>,
    /// By when they were used last.
    order: BTreeMap<u64, Serial>,
    bytes: usize,
    clock: u64,
    dropped: u64,
}

impl Graphs {
    /// At most `bytes_max` bytes, or the commits of one pack.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::default() }
    }

    /// Bytes that are kept, and how many packs' commits were dropped to make room.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let kept = locked(&self.kept);
        (kept.bytes as u64, kept.dropped)
    }

    fn get(&self, serial: Serial) -> Option<Arc<PackCommits>> {
        let mut kept = locked(&self.kept);
        let Kept { packs, order, clock, .. } = &mut *kept;
        let (graph, _, used) = packs.get_mut(&serial)?;
        *clock += 1;
        order.remove(&std::mem::replace(used, *clock));
        order.insert(*clock, serial);
        Some(Arc::clone(graph))
    }

    fn put(&self, serial: Serial, graph: &Arc<PackCommits>) {
        let bytes = graph.memory_bytes() + KEPT_BYTES;
        let mut kept = locked(&self.kept);
        kept.clock += 1;
        let now = kept.clock;
        if let Some((_, old, used)) = kept.packs.insert(serial, (Arc::clone(graph), bytes, now)) {
            // Two snapshots read it at once.
            kept.order.remove(&used);
            kept.bytes -= old;
        }
        kept.order.insert(now, serial);
        kept.bytes += bytes;
        while kept.bytes > self.bytes_max && kept.packs.len() > 1 {
            let Some((_, oldest)) = kept.order.pop_first() else { break };
            if let Some((_, bytes, _)) = kept.packs.remove(&oldest) {
                kept.bytes -= bytes;
                kept.dropped += 1;
            }
        }
    }
}

/// Bytes that a pack costs beside its commits.
const KEPT_BYTES: usize = 160;

/// The commits of packs that one snapshot and its clones have read. Leaf lock.
#[derive(Default)]
pub(crate) struct Read(Mutex<HashMap<Serial, Arc<PackCommits>>>);

impl Read {
    /// Those of a pack: read before, or kept, or read now by `load`.
    pub(crate) fn get(
        &self,
        kept: &Graphs,
        serial: Serial,
        load: impl FnOnce() -> Result<PackCommits, StoreError>,
    ) -> Result<Arc<PackCommits>, StoreError> {
        if let Some(graph) = locked(&self.0).get(&serial) {
            return Ok(Arc::clone(graph));
        }
        let graph = match kept.get(serial) {
            Some(graph) => graph,
            None => {
                let graph = Arc::new(load()?);
                kept.put(serial, &graph);
                graph
            }
        };
        locked(&self.0).insert(serial, Arc::clone(&graph));
        Ok(graph)
    }
}

/// The commits of a pack, in pack order.
#[derive(Default)]
pub(crate) struct PackCommits {
    rows: Vec<Fixed>,
    parents: Vec<Place>,
}

impl PackCommits {
    /// Takes in those of one row of the file that are `wanted`. `canonical` moves a place to the canonical one.
    pub(crate) fn extend(
        &mut self,
        bytes: &[u8],
        wanted: &dyn Fn(u32) -> bool,
        canonical: &dyn Fn(Place) -> Result<Place, StoreError>,
    ) -> Result<(), StoreError> {
        let mut cursor = Cursor(bytes);
        while !cursor.0.is_empty() {
            let commit = RawCommit::decode(&mut cursor).ok_or_else(|| StoreError::corrupt("a commit row"))?;
            if !wanted(commit.index) {
                continue;
            }
            for parent in commit.parents {
                self.parents.push(canonical(parent)?);
            }
            self.rows.push(Fixed {
                index: commit.index,
                generation: commit.generation,
                time: commit.time,
                tree: canonical(commit.tree)?,
                parents_end: self.parents.len() as u32,
            });
        }
        Ok(())
    }

    /// Bytes of memory that it takes, about.
    fn memory_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Fixed>() + self.parents.capacity() * size_of::<Place>()
    }

    /// Frees what growing has left over.
    pub(crate) fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.parents.shrink_to_fit();
    }

    pub(crate) fn get(&self, index: u32) -> Option<CommitRow<'_>> {
        let at = self.rows.binary_search_by_key(&index, |row| row.index).ok()?;
        let row = self.rows.get(at)?;
        let start =
            at.checked_sub(1).and_then(|before| self.rows.get(before)).map_or(0, |row| row.parents_end);
        Some(CommitRow {
            generation: row.generation,
            time: row.time,
            tree: row.tree,
            parents: self.parents.get(start as usize..row.parents_end as usize)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Graphs, PackCommits, RawCommit, Read, Serial};
    use crate::store::repo::record::Place;

    fn commits(count: u32) -> PackCommits {
        let mut graph = PackCommits::default();
        let mut row = Vec::new();
        for index in 0..count {
            let (tree, parents) = (Place::InPack(index), vec![Place::InPack(index)]);
            RawCommit { index, generation: 1, time: 0, tree, parents }.encode(&mut row);
        }
        graph.extend(&row, &|_| true, &Ok).unwrap();
        graph.shrink();
        graph
    }

    #[test]
    fn what_was_used_longest_ago_goes_and_the_sum_stays_bounded() {
        let one = commits(100).memory_bytes() + super::KEPT_BYTES;
        let graphs = Graphs::new(3 * one);
        let serials: Vec<Serial> = (0..10).map(|_| Serial::next()).collect();
        for serial in &serials {
            graphs.put(*serial, &Arc::new(commits(100)));
            assert!(graphs.get(serials[0]).is_some(), "used again and again");
            assert!(graphs.counts().0 <= 3 * one as u64);
        }
        assert_eq!(graphs.counts(), (3 * one as u64, 7));
        let kept: Vec<bool> = serials.iter().map(|serial| graphs.get(*serial).is_some()).collect();
        assert_eq!(kept, [true, false, false, false, false, false, false, false, true, true]);
        graphs.put(serials[0], &Arc::new(commits(100)));
        assert_eq!(graphs.counts(), (3 * one as u64, 7), "put twice, counted once");
        graphs.put(serials[1], &Arc::new(commits(1_000)));
        assert!(graphs.get(serials[1]).is_some(), "one that is larger than all is kept alone");
        assert_eq!(graphs.counts().1, 10);
    }

    #[test]
    fn a_snapshot_reads_a_pack_once_also_where_nothing_is_kept() {
        let graphs = Graphs::new(0);
        let (read, first, second) = (Read::default(), Serial::next(), Serial::next());
        let mut loads = 0;
        for serial in [first, second, first, second, first] {
            let load = || {
                loads += 1;
                Ok(commits(9))
            };
            let graph = read.get(&graphs, serial, load).unwrap();
            assert!(graph.get(8).is_some() && graph.get(9).is_none());
        }
        assert_eq!(loads, 2);
        read.get(&Graphs::new(0), first, || panic!("it was read")).unwrap();
    }
}
