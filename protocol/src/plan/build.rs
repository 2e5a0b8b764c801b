//! From a set of objects to a [`Plan`].

use super::{Item, Plan};
use crate::object::{HashAlgo, Kind};
use crate::pack::delta;
use crate::pack::entry::{self, EntryKind};
use crate::pack::inflate::deflate_fast;
use crate::source::{Base, ObjRef, Record};
use crate::walk::{ObjSet, Reader, Versions, WalkError, each_record};

/// Bytes of whole objects that a plan keeps compressed; beyond, they are made again when the pack is streamed.
pub const PLAN_LITERAL_BYTES_MAX: usize = 8 << 20;
const PACK_HEADER_BYTES: u64 = 12;
/// More than any entry header with its base takes: 10 bytes of size, 32 of base.
const HEADER_BYTES_MAX: usize = 64;
/// Objects below this are sent as they are: naming a base costs some 24 bytes.
const DELTA_BYTES_MIN: u64 = 128;
/// Objects beyond this are sent as they are: a delta of them costs too much while a client waits.
const DELTA_BYTES_MAX: u64 = 1 << 20;
/// Bytes read at once where headers are rewritten.
const WINDOW_BYTES: u64 = 16 << 10;

/// What the client can read.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions {
    /// It knows ofs-deltas; else their bases are named in full.
    pub ofs_delta: bool,
    /// It accepts deltas against objects that it has.
    pub thin: bool,
}

/// Where a run of ordinals went: to its old offset plus `shift`.
#[derive(Clone, Copy)]
struct Shift {
    first: ObjRef,
    /// Source and pack.
    pack: (u16, u32),
    shift: i64,
}

struct Builder<'r, 'a, 's> {
    reader: &'r mut Reader<'a>,
    set: &'s ObjSet,
    had: &'s ObjSet,
    versions: &'s Versions,
    options: PlanOptions,
    plan: Plan,
    /// Bytes of the pack so far.
    at: u64,
    /// By source, ascending by ordinal within one.
    shifts: Vec<Vec<Shift>>,
    /// Bytes of the pack around the last header that was read, and where they are from.
    window: Vec<u8>,
    window_of: Option<(u16, u32, u64)>,
}

/// Plans the pack of `set`. `had` is what the client surely has, `versions` what of it a new object may resemble.
pub fn build(
    reader: &mut Reader<'_>,
    set: &ObjSet,
    (had, versions): (&ObjSet, &Versions),
    options: PlanOptions,
) -> Result<Plan, WalkError> {
    let sources = set.source_count();
    let mut builder = Builder {
        reader,
        set,
        had,
        versions,
        options,
        plan: Plan { objects: set.len() as u32, ..Plan::default() },
        at: PACK_HEADER_BYTES,
        shifts: (0..sources).map(|_| Vec::new()).collect(),
        window: Vec::new(),
        window_of: None,
    };
    for index in (0..sources).rev() {
        let mut one = ObjSet::new();
        if let Some(bits) = set.source(index) {
            bits.iter().for_each(|ordinal| {
                one.insert(ObjRef { source: index, ordinal });
            });
        }
        let mut failed = Ok(());
        each_record(builder.reader.source, &one, &mut |at, record| {
            if failed.is_ok() {
                failed = builder.add(at, record);
            }
        })?;
        failed?;
    }
    Ok(builder.plan)
}

impl Builder<'_, '_, '_> {
    fn add(&mut self, at: ObjRef, record: &Record) -> Result<(), WalkError> {
        let (base, is_ofs) = match record.base {
            Base::None if self.delta(at, record)? => return Ok(()),
            Base::None => return self.copy(at, record, 0),
            Base::Ofs(base) => (base, true),
            Base::Ref(base) => (base, false),
        };
        if self.set.contains(base) {
            let here = self.at as i64 - record.offset as i64;
            // Sources go out deepest first; a base that is not out yet comes later in its delta's own pack.
            let is_out = base.source > at.source || base.ordinal < at.ordinal;
            match self.shift_of(base).filter(|_| is_out && self.options.ofs_delta) {
                Some(went) if went.pack == (at.source, record.pack) && is_ofs => {
                    if went.shift == here {
                        return self.copy(at, record, 0);
                    }
                    self.moved(at, record, base, went.shift, true)
                }
                Some(went) => self.moved(at, record, base, went.shift, false),
                None => self.by_name(at, record, base),
            }
        } else if self.options.thin && self.had.contains(base) {
            self.by_name(at, record, base)
        } else {
            self.whole(at, record)
        }
    }

    /// Where an object that is out already went.
    fn shift_of(&self, base: ObjRef) -> Option<Shift> {
        let shifts = self.shifts.get(usize::from(base.source))?;
        let after = shifts.partition_point(|shift| shift.first <= base);
        shifts.get(after.checked_sub(1)?).copied()
    }

    /// Copies an entry from `skip` bytes behind its start.
    fn copy(&mut self, at: ObjRef, record: &Record, skip: u64) -> Result<(), WalkError> {
        if skip == 0 {
            self.note(at, record);
        }
        let (offset, bytes) = (record.offset + skip, record.entry_bytes.saturating_sub(skip));
        self.at += bytes;
        if let Some(Item::Copy { source, pack, offset: from, bytes: run }) = self.plan.items.last_mut()
            && (*source, *pack, *from + *run) == (at.source, record.pack, offset)
        {
            *run += bytes;
            return Ok(());
        }
        self.plan.items.push(Item::Copy { source: at.source, pack: record.pack, offset, bytes });
        Ok(())
    }

    fn note(&mut self, at: ObjRef, record: &Record) {
        let shift = self.at as i64 - record.offset as i64;
        let shifts = self.shifts.get_mut(usize::from(at.source)).expect("one for each source of the set");
        if shifts.last().is_none_or(|last| (last.pack, last.shift) != ((at.source, record.pack), shift)) {
            shifts.push(Shift { first: at, pack: (at.source, record.pack), shift });
        }
    }

    fn literal(&mut self, bytes: &[u8]) {
        self.plan.literals.extend_from_slice(bytes);
        self.at += bytes.len() as u64;
        match self.plan.items.last_mut() {
            Some(Item::Literal { bytes: run }) => *run += bytes.len() as u32,
            _ => self.plan.items.push(Item::Literal { bytes: bytes.len() as u32 }),
        }
    }

    /// An ofs-delta whose base has another distance now. `stored_so`: the entry itself knows the old distance.
    fn moved(
        &mut self,
        at: ObjRef,
        record: &Record,
        base: ObjRef,
        shift: i64,
        stored_so: bool,
    ) -> Result<(), WalkError> {
        let header = self.header(at, record)?;
        let old = match header.kind {
            EntryKind::Ofs { back } if stored_so => record.offset.saturating_sub(back),
            _ => self.reader.source.record(base)?.offset,
        };
        let new_base = old as i64 + shift;
        let mut bytes = Vec::with_capacity(24);
        entry::encode_ofs(&mut bytes, header.size, (self.at as i64 - new_base) as u64);
        self.rewritten(at, record, header.header_bytes, &bytes)
    }

    /// A delta that names its base in full.
    fn by_name(&mut self, at: ObjRef, record: &Record, base: ObjRef) -> Result<(), WalkError> {
        let header = self.header(at, record)?;
        let id = self.reader.source.record(base)?.id;
        let mut bytes = Vec::with_capacity(48);
        entry::encode_ref(&mut bytes, header.size, &id);
        self.rewritten(at, record, header.header_bytes, &bytes)
    }

    fn rewritten(&mut self, at: ObjRef, record: &Record, old: usize, header: &[u8]) -> Result<(), WalkError> {
        self.note(at, record);
        self.literal(header);
        self.copy(at, record, old as u64)
    }

    /// A delta whose base the client will not have.
    fn whole(&mut self, at: ObjRef, record: &Record) -> Result<(), WalkError> {
        if self.delta(at, record)? {
            return Ok(());
        }
        self.note(at, record);
        let bytes = whole_entry(self.reader, at)?;
        if self.plan.literals.len() + bytes.len() <= PLAN_LITERAL_BYTES_MAX {
            self.literal(&bytes);
        } else {
            self.at += bytes.len() as u64;
            self.plan.items.push(Item::Whole { at });
        }
        Ok(())
    }

    /// An object that would go out whole, as a new delta against the version of it that the client has. False where there
    /// is none, or where it saves little.
    fn delta(&mut self, at: ObjRef, record: &Record) -> Result<bool, WalkError> {
        if !self.options.thin || !(DELTA_BYTES_MIN..=DELTA_BYTES_MAX).contains(&record.size) {
            return Ok(false);
        }
        let Some(old) = self.versions.before(at, self.set) else { return Ok(false) };
        let old_record = self.reader.source.record(old)?;
        if old_record.kind != record.kind || old_record.size > DELTA_BYTES_MAX {
            return Ok(false);
        }
        let (_, base) = self.reader.read(old)?;
        let (_, data) = self.reader.read(at)?;
        let Some(delta) = delta::make(&base, &data, data.len() / 2) else { return Ok(false) };
        let mut bytes = Vec::with_capacity(delta.len() / 2 + 48);
        entry::encode_ref(&mut bytes, delta.len() as u64, &old_record.id);
        bytes.extend_from_slice(&deflate_fast(&delta));
        let is_less = record.base != Base::None || (bytes.len() as u64) < record.entry_bytes;
        if !is_less || self.plan.literals.len() + bytes.len() > PLAN_LITERAL_BYTES_MAX {
            return Ok(false);
        }
        self.note(at, record);
        self.literal(&bytes);
        Ok(true)
    }

    fn header(&mut self, at: ObjRef, record: &Record) -> Result<entry::EntryHeader, WalkError> {
        let bytes = (record.entry_bytes as usize).min(HEADER_BYTES_MAX);
        let held = self.window_of.and_then(|(source, pack, offset)| {
            let skip =
                record.offset.checked_sub(offset).filter(|_| (source, pack) == (at.source, record.pack))?;
            self.window.get(skip as usize..skip as usize + bytes)
        });
        let head = match held {
            Some(head) => head,
            None => {
                // Headers are read in the order of the pack: one read serves those that follow closely.
                let source = self.reader.source;
                let left = source.pack_len(at.source, record.pack)?.saturating_sub(record.offset);
                self.window_of = None;
                self.window.resize(left.min(WINDOW_BYTES) as usize, 0);
                source.pack_bytes(at.source, record.pack, record.offset, &mut self.window)?;
                self.window_of = Some((at.source, record.pack, record.offset));
                self.window.get(..bytes).unwrap_or_default()
            }
        };
        let algo: HashAlgo = self.reader.algo();
        entry::decode(algo, head).ok().flatten().ok_or_else(|| WalkError::Corrupt {
            id: record.id,
            why: "entry header cannot be read".to_owned(),
        })
    }
}

/// An object as a whole entry, compressed the same way each time.
pub(super) fn whole_entry(reader: &mut Reader<'_>, at: ObjRef) -> Result<Vec<u8>, WalkError> {
    let (kind, data): (Kind, _) = reader.read(at)?;
    let mut out = Vec::new();
    entry::encode_whole(&mut out, kind, data.len() as u64);
    out.extend_from_slice(&deflate_fast(&data));
    Ok(out)
}
