//! A repository as of one entry: what walks, plans and answers read.
//!
//! Holds no transaction between calls. Packs never change and are only appended, so cutting every source at
//! an ordinal is all that a snapshot needs.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::source::{Base, CommitNode, ObjRef, ObjectSource, Record, SourceError};
use cairn_protocol::walk::Reader;
use roaring::RoaringBitmap;
use rusqlite::OptionalExtension;

use super::cuts::{Cut, Lease};
use super::file::{PackMeta, RepoFile, locked};
use super::graph::{PackCommits, Read};
use super::index::{Finder, read_pack, read_record, read_row};
use super::kinds::extend_kinds;
use super::limits::RECORDS_PER_ROW;
use super::record::{Place, RawBase, RawRecord, record_bytes};
use super::refs::{self, Level, RefRow};
use super::schema::{Section, row_id};
use crate::stop::Stop;
use crate::store::StoreError;
use crate::store::files::{Files, Pin, RepoId};

/// A pack as readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRow {
    /// Its number in the file.
    pub id: u32,
    /// The ordinal of its first object.
    pub base_ordinal: u32,
    /// How many objects.
    pub object_count: u32,
    /// Bytes, header and trailer included.
    pub bytes: u64,
    /// Whether all its objects were reachable from refs when its entry was committed.
    pub whole: bool,
    /// The entry that brought it.
    pub seq: u64,
}

/// One source as far as it is visible.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) id: RepoId,
    /// No file: an empty log.
    pub(crate) file: Option<Arc<RepoFile>>,
    pub(crate) seq: u64,
    pub(crate) limit: u32,
    /// The one ref that is seen of it; `None` for all.
    pub(crate) only: Option<Arc<[u8]>>,
    /// Keeps the packs that were live when the snapshot was opened, and later ones.
    lease: Lease,
}

impl View {
    fn of(file: Option<Arc<RepoFile>>, pin: &Pin, seq: Option<u64>) -> Result<Self, StoreError> {
        let Some(file) = file else {
            return match seq {
                None | Some(0) => Ok({
                    let (only, lease) = (pin.only.clone(), Lease::default());
                    Self { id: pin.id, file: None, seq: 0, limit: 0, only, lease }
                }),
                Some(_) => Err(StoreError::MissingFile { repo: pin.id }),
            };
        };
        let packs = file.packs_to_open()?;
        let seq = seq.unwrap_or(packs.head);
        if seq > packs.head {
            return Err(StoreError::TooLarge { what: "seq", seen: seq, max: packs.head });
        }
        if packs.lacks_at(seq) {
            return Err(StoreError::Dropped { seq, floor: packs.drops.floor() });
        }
        let limit = packs.limit_at(seq);
        let lease = Arc::clone(&packs.lease);
        drop(packs);
        Ok(Self { id: pin.id, file: Some(file), seq, limit, only: pin.only.clone(), lease })
    }

    /// Its refs, as far as they are seen.
    pub(crate) fn level(&self) -> Option<Level<'_>> {
        Some(Level::At(self.file.as_deref()?, self.seq, self.only.as_deref()))
    }
}

/// A source of a snapshot: its index, whose log it is, its last visible entry, and the one ref that is seen of it.
pub type Shown = (u16, RepoId, u64, Option<Arc<[u8]>>);

/// A repository as of one entry of its own log.
#[derive(Clone)]
pub struct Snapshot {
    algo: HashAlgo,
    views: Arc<[View]>,
    read: Arc<Read>,
    /// That of the request it was opened for: reading fails once the request is to end.
    stop: Stop,
}

impl Snapshot {
    pub(crate) fn open(
        files: &Files,
        algo: HashAlgo,
        chain: &[Pin],
        at: Option<u64>,
    ) -> Result<Self, StoreError> {
        let open = |(index, pin): (usize, &Pin)| {
            View::of(files.get(pin.id, algo)?, pin, if index == 0 { at } else { pin.seq })
        };
        let views = chain.iter().enumerate().map(open).collect::<Result<_, _>>()?;
        Ok(Self { algo, views, read: Arc::default(), stop: Stop::current() })
    }

    /// The same without what it keeps in memory to walk commits: for what is held for long and does not walk.
    pub fn at_rest(&self) -> Self {
        Self { read: Arc::default(), ..self.clone() }
    }

    /// The same for work that goes on when the request is to end.
    pub fn to_the_end(self) -> Self {
        Self { stop: Stop::default(), ..self }
    }

    /// That of the request for which it is read.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The last visible entry of the own log; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.views.first().map_or(0, |view| view.seq)
    }

    /// The last visible entry of a source; 0 before its first, and for sources that the repository does not have.
    pub fn source_seq(&self, source: u16) -> u64 {
        self.views.get(usize::from(source)).map_or(0, |view| view.seq)
    }

    /// Names what the snapshot shows: each source that shows something, its index and its last visible entry. Fresh
    /// forks of one base at one entry have the same.
    pub fn fingerprint(&self) -> Vec<Shown> {
        let shown = self.views.iter().enumerate().filter(|(_, view)| view.seq > 0);
        shown.map(|(index, view)| (index as u16, view.id, view.seq, view.only.clone())).collect()
    }

    /// Names where the sources keep their objects: what names places in packs is good as long as this is the same.
    pub fn layout(&self) -> Vec<u32> {
        self.views.iter().filter(|view| view.seq > 0).map(|view| *view.lease).collect()
    }

    /// Whether some refs of the sources are not seen, so that some stored objects may not be either.
    pub fn is_narrowed(&self) -> bool {
        self.views.iter().any(|view| view.seq > 0 && view.only.is_some())
    }

    /// Keeps what the snapshot shows for as long as it is held.
    pub(crate) fn leases(&self) -> Vec<Lease> {
        self.views.iter().map(|view| Arc::clone(&view.lease)).collect()
    }

    /// The hash that names the objects.
    pub fn algo(&self) -> HashAlgo {
        self.algo
    }

    pub(crate) fn levels(&self) -> Vec<Level<'_>> {
        self.views.iter().filter_map(View::level).collect()
    }

    /// Calls `each` with the refs whose names start with `prefix`, in byte order, until it answers false.
    pub fn refs(&self, prefix: &[u8], each: &mut dyn FnMut(RefRow) -> bool) -> Result<(), StoreError> {
        let scanned =
            refs::scan_all(&self.levels(), prefix, &mut |row| self.stop.said().is_none() && each(row));
        self.stop.check()?;
        scanned
    }

    /// The same from `from` on, in batches of `batch` rows.
    pub fn refs_from(
        &self,
        prefix: &[u8],
        from: &[u8],
        batch: usize,
        each: &mut dyn FnMut(RefRow) -> bool,
    ) -> Result<(), StoreError> {
        let mut each = |row| self.stop.said().is_none() && each(row);
        let scanned = refs::scan(&self.levels(), (prefix, from), batch, &mut each);
        self.stop.check()?;
        scanned
    }

    /// One ref by its full name.
    pub fn reference(&self, name: &[u8]) -> Result<Option<RefRow>, StoreError> {
        refs::get(&self.levels(), name)
    }

    /// How many refs there are.
    pub fn refs_count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        self.refs(b"", &mut |_| {
            count += 1;
            true
        })?;
        Ok(count)
    }

    /// What `Repo::save_set` kept, by this repository or by a base about a source that both see.
    pub fn saved_set(&self, source: u16, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        for (level, view) in self.views.iter().take(usize::from(source) + 1).enumerate() {
            let Some(file) = &view.file else { continue };
            // The base counts its sources from itself.
            let source = i64::from(source) - level as i64;
            let found = file.read(|conn| {
                let mut select =
                    conn.prepare_cached("SELECT data FROM reach WHERE source = ?1 AND key = ?2")?;
                Ok(select.query_row((source, key), |row| row.get(0)).optional()?)
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The visible packs of a source, in order of their ordinals.
    pub fn packs(&self, source: u16) -> Result<Vec<PackRow>, StoreError> {
        let view = self.view(source)?;
        let Some(file) = &view.file else {
            return Ok(Vec::new());
        };
        let packs = file.packs();
        let visible = packs.list.iter().take_while(|pack| pack.base_ordinal < view.limit);
        Ok(visible.flat_map(|pack| rows(pack)).filter(|row| row.seq <= view.seq).collect())
    }

    /// Bytes of the packs of the own log, as stored.
    pub fn own_bytes(&self) -> Result<u64, StoreError> {
        let view = self.view(0)?;
        let Some(file) = &view.file else { return Ok(0) };
        let packs = file.packs();
        let visible = packs.list.iter().take_while(|pack| pack.base_ordinal < view.limit);
        Ok(visible.flat_map(|pack| rows(pack)).filter(|row| row.seq <= view.seq).map(|row| row.bytes).sum())
    }

    /// The canonical ordinals of the objects of one kind.
    pub fn kinds(&self, source: u16, kind: Kind) -> Result<RoaringBitmap, StoreError> {
        self.saved_kinds(source, kind as usize)
    }

    /// All canonical ordinals.
    pub fn canonical(&self, source: u16) -> Result<RoaringBitmap, StoreError> {
        self.saved_kinds(source, 0)
    }

    fn saved_kinds(&self, source: u16, which: usize) -> Result<RoaringBitmap, StoreError> {
        let view = self.view(source)?;
        let Some(file) = &view.file else {
            return Ok(RoaringBitmap::new());
        };
        let mut kinds = locked(&file.kinds);
        extend_kinds(file, &mut kinds)?;
        let mut set = kinds.sets.get(which).cloned().unwrap_or_default();
        drop(kinds);
        set.remove_range(view.limit..);
        Ok(set)
    }

    /// One past the last ordinal of the own log as of an entry of it.
    pub fn limit_at(&self, seq: u64) -> u32 {
        let view = self.views.first();
        let limit = view.and_then(|view| view.file.as_ref()).map_or(0, |file| file.packs().limit_at(seq));
        limit.min(self.own_limit())
    }

    /// One past the last ordinal of the own log.
    pub(crate) fn own_limit(&self) -> u32 {
        self.views.first().map_or(0, |view| view.limit)
    }

    pub(crate) fn views(&self) -> &[View] {
        &self.views
    }

    fn view(&self, source: u16) -> Result<&View, StoreError> {
        self.stop.check()?;
        self.views
            .get(usize::from(source))
            .ok_or(StoreError::NoSuchPlace { source_index: source, ordinal: 0 })
    }

    /// The file and pack of a visible place, and where in the pack it is.
    fn locate(&self, at: ObjRef) -> Result<(&RepoFile, Arc<PackMeta>, u32), StoreError> {
        let missing = StoreError::NoSuchPlace { source_index: at.source, ordinal: at.ordinal };
        let view = self.view(at.source)?;
        let Some(file) = view.file.as_deref().filter(|_| at.ordinal < view.limit) else {
            return Err(missing);
        };
        let pack = file.packs().at(at.ordinal).cloned().ok_or(missing)?;
        let index = at.ordinal - pack.base_ordinal;
        Ok((file, pack, index))
    }

    /// The canonical place of an object in the sources from `from` on.
    pub(crate) fn find_from(&self, from: u16, id: &ObjectId) -> Result<Option<ObjRef>, StoreError> {
        self.stop.check()?;
        for (source, view) in self.views.iter().enumerate().skip(usize::from(from)) {
            let Some(file) = view.file.as_deref().filter(|_| view.limit > 0) else {
                continue;
            };
            if let Some(ordinal) = file.read(|conn| Finder::new(file, conn, view.limit).find(id))? {
                return Ok(Some(ObjRef { source: source as u16, ordinal }));
            }
        }
        Ok(None)
    }

    /// The canonical places of many objects, in their order.
    fn find_many(&self, ids: &[ObjectId]) -> Result<Vec<Option<ObjRef>>, StoreError> {
        let mut places = vec![None; ids.len()];
        let mut open: Vec<usize> = (0..ids.len()).collect();
        // By id, so that neighbours share a row of the index.
        open.sort_unstable_by_key(|at| ids.get(*at));
        for (source, view) in self.views.iter().enumerate() {
            let Some(file) = view.file.as_deref().filter(|_| view.limit > 0) else {
                continue;
            };
            file.read(|conn| {
                let mut finder = Finder::new(file, conn, view.limit);
                for at in &open {
                    self.stop.check()?;
                    let (Some(id), Some(place)) = (ids.get(*at), places.get_mut(*at)) else { continue };
                    *place = finder.find(id)?.map(|ordinal| ObjRef { source: source as u16, ordinal });
                }
                Ok(())
            })?;
            open.retain(|at| places.get(*at).is_some_and(Option::is_none));
        }
        Ok(places)
    }

    /// Sets the place in `shown` of each of `ids` that is visible. Best in the order of ids.
    pub(crate) fn mark_visible(&self, ids: &[ObjectId], shown: &mut [bool]) -> Result<(), StoreError> {
        for view in self.views.iter() {
            let Some(file) = view.file.as_deref().filter(|_| view.limit > 0) else {
                continue;
            };
            file.read(|conn| {
                let mut finder = Finder::new(file, conn, view.limit);
                for (id, is_shown) in ids.iter().zip(shown.iter_mut()) {
                    self.stop.check()?;
                    *is_shown = *is_shown || finder.find(id)?.is_some();
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The canonical place that a place read from source `from` means.
    fn resolve(
        &self,
        from: u16,
        file: &RepoFile,
        pack: &PackMeta,
        place: Place,
    ) -> Result<ObjRef, StoreError> {
        match place {
            Place::Chain(at) => match at.source.checked_add(from) {
                Some(source) => Ok(ObjRef { source, ordinal: at.ordinal }),
                None => Err(StoreError::corrupt("a reference leaves the chain of sources")),
            },
            Place::InPack(index) if !pack.dups.contains(index) => {
                Ok(ObjRef { source: from, ordinal: pack.base_ordinal.saturating_add(index) })
            }
            Place::InPack(index) => {
                let id = file.read(|conn| read_record(conn, self.algo, pack.id, index))?.id;
                self.find_from(from, &id)?.ok_or(StoreError::MissingObject { id })
            }
        }
    }

    fn record_of(
        &self,
        source: u16,
        file: &RepoFile,
        pack: &PackMeta,
        raw: &RawRecord,
    ) -> Result<Record, StoreError> {
        let base = match raw.base {
            RawBase::None => Base::None,
            RawBase::Ofs(place) => Base::Ofs(self.resolve(source, file, pack, place)?),
            RawBase::Ref(place) => Base::Ref(self.resolve(source, file, pack, place)?),
        };
        Ok(Record {
            id: raw.id,
            kind: raw.kind,
            size: raw.size,
            pack: pack.id,
            offset: raw.offset,
            entry_bytes: u64::from(raw.entry_bytes),
            base,
        })
    }

    fn graph(&self, source: u16, file: &RepoFile, pack: &PackMeta) -> Result<Arc<PackCommits>, StoreError> {
        self.read.get(&file.graphs, pack.serial, || {
            let (first, last) =
                (row_id(pack.id, Section::Commits, 0), row_id(pack.id, Section::Index, 0) - 1);
            // Kept for every chain that reads this file: sources count from the file.
            let canonical = |place| {
                let at = self.resolve(source, file, pack, place)?;
                Ok(Place::Chain(ObjRef { source: at.source - source, ordinal: at.ordinal }))
            };
            let rows = file.read(|conn| {
                let mut select =
                    conn.prepare_cached("SELECT data FROM chunk WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
                Ok(select.query_map((first, last), |row| row.get(0))?.collect::<Result<Vec<Vec<u8>>, _>>()?)
            })?;
            let mut graph = PackCommits::default();
            // Copies and what was dropped are never named, and what they name may be gone.
            let wanted = |index| !pack.dups.contains(index);
            rows.iter().try_for_each(|row| graph.extend(row, &wanted, &canonical))?;
            graph.shrink();
            Ok(graph)
        })
    }

    pub(crate) fn commit_node(&self, at: ObjRef) -> Result<CommitNode, StoreError> {
        let (file, pack, index) = self.locate(at)?;
        let graph = self.graph(at.source, file, &pack)?;
        let row = graph.get(index).ok_or_else(|| StoreError::corrupt(format!("{at:?} is not a commit")))?;
        let resolve = |place: &Place| self.resolve(at.source, file, &pack, *place);
        Ok(CommitNode {
            tree: resolve(&row.tree)?,
            parents: row.parents.iter().map(resolve).collect::<Result<_, _>>()?,
            time: row.time,
            generation: row.generation,
        })
    }

    fn pack_records(
        &self,
        (source, file, pack): (u16, &RepoFile, &PackMeta),
        range: Range<u32>,
        each: &mut dyn FnMut(u32, &Record),
    ) -> Result<(), StoreError> {
        let bytes = record_bytes(self.algo);
        let mut row = Vec::new();
        let mut index = range.start;
        while index < range.end {
            self.stop.check()?;
            let n = index / RECORDS_PER_ROW;
            file.read(|conn| read_row(conn, row_id(pack.id, Section::Records, n), &mut row))?;
            let end = ((n + 1) * RECORDS_PER_ROW).min(range.end);
            let first = (index % RECORDS_PER_ROW) as usize;
            for raw in row.chunks_exact(bytes).skip(first).take((end - index) as usize) {
                if pack.dups.is_empty() || !pack.dups.contains(index) {
                    let raw = RawRecord::decode(self.algo, raw)?;
                    each(pack.base_ordinal + index, &self.record_of(source, file, pack, &raw)?);
                }
                index += 1;
            }
            if index != end {
                return Err(StoreError::corrupt(format!("pack {} lacks records", pack.id)));
            }
        }
        Ok(())
    }
}

/// A pack as its entries brought it: one row each, where several were rolled into one.
fn rows(pack: &PackMeta) -> Vec<PackRow> {
    let PackMeta { id, base_ordinal, object_count, bytes, whole, seq, .. } = *pack;
    if pack.cuts.is_empty() {
        return vec![PackRow { id, base_ordinal, object_count, bytes, whole, seq }];
    }
    let mut start = 0;
    let row = |cut: &Cut| {
        let first = std::mem::replace(&mut start, cut.end);
        let (base_ordinal, object_count) = (base_ordinal + first, cut.end - first);
        PackRow { id, base_ordinal, object_count, bytes: cut.bytes, whole: cut.whole, seq: cut.seq }
    };
    pack.cuts.iter().map(row).collect()
}

impl ObjectSource for Snapshot {
    fn limits(&self) -> Vec<u32> {
        self.views.iter().map(|view| view.limit).collect()
    }

    fn lookup(&self, id: &ObjectId) -> Result<Option<ObjRef>, SourceError> {
        Ok(self.find_from(0, id)?)
    }

    fn lookup_many(&self, ids: &[ObjectId]) -> Result<Vec<Option<ObjRef>>, SourceError> {
        Ok(self.find_many(ids)?)
    }

    fn kind_set(&self, source: u16, kind: Kind) -> Result<RoaringBitmap, SourceError> {
        Ok(self.kinds(source, kind)?)
    }

    fn record(&self, at: ObjRef) -> Result<Record, SourceError> {
        let (file, pack, index) = self.locate(at)?;
        let raw = file.read(|conn| read_record(conn, self.algo, pack.id, index))?;
        Ok(self.record_of(at.source, file, &pack, &raw)?)
    }

    fn records(
        &self,
        source: u16,
        range: Range<u32>,
        each: &mut dyn FnMut(u32, &Record),
    ) -> Result<(), SourceError> {
        let mut ordinal = range.start;
        while ordinal < range.end {
            let (file, pack, index) = self.locate(ObjRef { source, ordinal })?;
            let end = range.end.min(pack.end());
            self.pack_records((source, file, &pack), index..end - pack.base_ordinal, each)?;
            ordinal = end;
        }
        Ok(())
    }

    fn read(&self, at: ObjRef) -> Result<(Kind, Vec<u8>), SourceError> {
        let (kind, data) =
            Reader::new(self, self.algo).read(at).map_err(|error| SourceError(Box::new(error)))?;
        Ok((kind, Rc::unwrap_or_clone(data)))
    }

    fn commit(&self, at: ObjRef) -> Result<CommitNode, SourceError> {
        Ok(self.commit_node(at)?)
    }

    fn pack_len(&self, source: u16, pack: u32) -> Result<u64, SourceError> {
        Ok(self.pack(source, pack)?.1.bytes)
    }

    fn pack_bytes(&self, source: u16, pack: u32, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        let (file, pack) = self.pack(source, pack)?;
        if offset.checked_add(into.len() as u64).is_none_or(|end| end > pack.bytes) {
            return Err(StoreError::corrupt(format!(
                "{} bytes at {offset} leave pack {}",
                into.len(),
                pack.id
            ))
            .into());
        }
        Ok(file.read(|conn| read_pack(conn, pack.id, offset, into))?)
    }
}

impl Snapshot {
    /// A visible pack and the file that holds it.
    fn pack(&self, source: u16, pack: u32) -> Result<(&RepoFile, Arc<PackMeta>), StoreError> {
        let view = self.view(source)?;
        let missing = StoreError::NoSuchPlace { source_index: source, ordinal: 0 };
        let Some(file) = view.file.as_deref() else { return Err(missing) };
        let found = file.packs().by_id(pack).cloned().filter(|pack| pack.base_ordinal < view.limit);
        Ok((file, found.ok_or(missing)?))
    }
}
