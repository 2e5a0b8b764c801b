//! Pass 1: reads a pack once in order, inflating each entry in pieces.
//!
//! Whole objects are hashed as they stream. Of deltas only the size of their result is kept. Nothing is allocated for
//! what a header merely claims: an entry's size is checked against the limits before it is inflated, and inflating
//! stops at the first byte too many.

use crate::object::{Collision, HashAlgo, Hasher, Kind, ObjectId};
use crate::pack::delta::{self, DeltaError};
use crate::pack::entry::EntryKind;
use crate::pack::inflate::{Inflater, TOO_LONG, TOO_SHORT};
use crate::pack::limits::{
    ENTRY_BYTES_MIN, OBJECTS_MAX, PACK_HEADER_BYTES, RESOLVED_BYTES_FLOOR, RESOLVED_BYTES_PER_PACK_BYTE,
    STEP_BYTES,
};
use crate::pack::table::{Stored, Table};
use crate::pack::window::{PackBytes, Window};
use crate::pack::{Check, Known, PackError, Resolver};

/// What a pack may be, and with how much memory it is indexed.
#[derive(Clone, Copy, Debug)]
pub struct IndexOptions {
    /// The hash function of the repository.
    pub algo: HashAlgo,
    /// Bytes of delta bases that all workers together keep. 0 works, and builds bases again and again.
    pub cache_bytes: u64,
    /// Largest object and largest delta, in inflated bytes. A worker holds up to three of these.
    pub object_bytes_max: u64,
    /// Most entries.
    pub objects_max: u32,
    /// Whether the given [`Check`] judges objects; otherwise only their links are followed.
    pub fsck: bool,
}

/// A pack whose entries are known, and whose deltas are not yet resolved.
#[derive(Debug)]
pub struct Scanned {
    pub(crate) options: IndexOptions,
    pub(crate) table: Table,
    /// Raw base ids of the ref-deltas, in the order of the pack, repeated where deltas share a base.
    pub(crate) ref_bases: Vec<u8>,
    pub(crate) trailer: ObjectId,
    pub(crate) pack_bytes: u64,
    pub(crate) largest_held: u64,
    pub(crate) held_bytes_max: u64,
}

impl Scanned {
    /// The largest object, delta or base that resolving holds as a whole, in bytes. A worker holds up to three of these;
    /// what is only hashed while it is read does not count.
    pub fn largest_held(&self) -> u64 {
        self.largest_held
    }

    /// Sets, now that the pack is known, the bytes of delta bases that all workers together keep, and the largest object
    /// that may be held because a rule asks for it.
    pub fn set_memory(&mut self, cache_bytes: u64, held_bytes_max: u64) {
        self.options.cache_bytes = cache_bytes;
        self.held_bytes_max = held_bytes_max;
    }

    /// How many entries the pack has.
    pub fn object_count(&self) -> u32 {
        self.table.len()
    }

    /// The pack's checksum, which is right.
    pub fn trailer(&self) -> ObjectId {
        self.trailer
    }

    /// Plants the forest of deltas. `known` is asked for bases that are not in the pack and for what objects name;
    /// `check` judges objects.
    pub fn resolver<'a>(
        self,
        bytes: &'a dyn PackBytes,
        known: &'a dyn Known,
        check: &'a dyn Check,
    ) -> Result<Resolver<'a>, PackError> {
        Resolver::new(self, bytes, known, check)
    }
}

/// Entries between two calls of `progress`.
const PROGRESS_STEP: u32 = 1_024;

/// Reads the whole pack. `progress` is called with the entries done and in all, every thousand entries and at the end.
pub fn scan(
    bytes: &dyn PackBytes,
    options: &IndexOptions,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<Scanned, PackError> {
    let mut scanner = Scanner {
        window: Window::new(bytes, options.algo)?,
        options,
        inflater: Inflater::new(),
        out: vec![0; STEP_BYTES],
        table: Table::new(options.algo),
        ref_bases: Vec::new(),
        resolved_bytes_left: RESOLVED_BYTES_FLOOR
            .saturating_add(bytes.len().saturating_mul(RESOLVED_BYTES_PER_PACK_BYTE)),
        largest_held: 0,
    };
    let count = scanner.pack_header()?;
    for done in 0..count {
        scanner.entry()?;
        if done % PROGRESS_STEP == PROGRESS_STEP - 1 {
            progress(done + 1, count);
        }
    }
    progress(count, count);
    let Scanner { window, mut table, mut ref_bases, largest_held, .. } = scanner;
    table.end = window.end();
    let trailer = window.finish()?;
    table.shrink();
    ref_bases.shrink_to_fit();
    let pack_bytes = bytes.len();
    let held_bytes_max = options.object_bytes_max;
    Ok(Scanned { options: *options, table, ref_bases, trailer, pack_bytes, largest_held, held_bytes_max })
}

struct Scanner<'a> {
    window: Window<'a>,
    options: &'a IndexOptions,
    inflater: Inflater,
    out: Vec<u8>,
    table: Table,
    ref_bases: Vec<u8>,
    resolved_bytes_left: u64,
    largest_held: u64,
}

impl Scanner<'_> {
    fn pack_header(&mut self) -> Result<u32, PackError> {
        let [magic, version, count] =
            [self.window.take::<4>()?, self.window.take::<4>()?, self.window.take::<4>()?];
        if magic != *b"PACK" {
            return Err(PackError::Malformed { at: 0, why: "not a pack" });
        }
        if !matches!(u32::from_be_bytes(version), 2 | 3) {
            return Err(PackError::Malformed { at: 4, why: "unknown pack version" });
        }
        let count = u32::from_be_bytes(count);
        let max = self.options.objects_max.min(OBJECTS_MAX);
        if count > max {
            return Err(PackError::TooManyObjects { count, max });
        }
        if u64::from(count) > (self.window.end() - PACK_HEADER_BYTES) / ENTRY_BYTES_MIN {
            return Err(PackError::Malformed { at: 8, why: "more entries than the pack has room for" });
        }
        Ok(count)
    }

    fn entry(&mut self) -> Result<(), PackError> {
        let at = self.window.at();
        let header = self.window.header()?;
        self.admit(header.size)?;
        match header.kind {
            EntryKind::Whole(kind) => {
                let id = self.whole(at, kind, header.size)?;
                // A blob is held where a delta builds upon it, which then tells its size.
                if kind != Kind::Blob {
                    self.hold(header.size);
                }
                self.account(header.size)?;
                self.table.push_whole(at, kind, header.size, &id);
            }
            EntryKind::Ofs { back } => {
                let base = at.checked_sub(back).and_then(|base| self.table.find_offset(base));
                let base = base.ok_or(PackError::Malformed { at, why: "delta base is not an entry" })?;
                let result = self.delta(at, header.size)?;
                self.table.push_delta(at, Stored::Ofs, base, result);
            }
            EntryKind::Ref(base) => {
                let number = (self.ref_bases.len() / base.as_bytes().len()) as u32;
                let result = self.delta(at, header.size)?;
                self.ref_bases.extend_from_slice(base.as_bytes());
                self.table.push_delta(at, Stored::Ref, number, result);
            }
        }
        Ok(())
    }

    fn hold(&mut self, bytes: u64) {
        self.largest_held = self.largest_held.max(bytes);
    }

    fn admit(&self, bytes: u64) -> Result<(), PackError> {
        let max = self.options.object_bytes_max;
        if bytes > max { Err(PackError::ObjectTooLarge { bytes, max }) } else { Ok(()) }
    }

    fn account(&mut self, bytes: u64) -> Result<(), PackError> {
        let left = self.resolved_bytes_left.checked_sub(bytes);
        self.resolved_bytes_left = left.ok_or(PackError::TooMuch {
            max: RESOLVED_BYTES_FLOOR
                .saturating_add(self.window.end().saturating_mul(RESOLVED_BYTES_PER_PACK_BYTE)),
        })?;
        Ok(())
    }

    fn whole(&mut self, at: u64, kind: Kind, size: u64) -> Result<ObjectId, PackError> {
        let mut hasher = Hasher::for_object(self.options.algo, kind, size);
        self.inflate(at, size, &mut |piece| hasher.update(piece))?;
        hasher.finish().map_err(|Collision| PackError::Collision { at })
    }

    /// The size of the delta's result.
    fn delta(&mut self, at: u64, size: u64) -> Result<u64, PackError> {
        let (mut head, mut head_bytes) = ([0; 20], 0);
        self.inflate(at, size, &mut |piece| {
            for (slot, byte) in head.iter_mut().skip(head_bytes).zip(piece) {
                *slot = *byte;
                head_bytes += 1;
            }
        })?;
        let sizes = delta::sizes(head.get(..head_bytes).unwrap_or_default());
        let sizes = sizes.map_err(|source: DeltaError| PackError::Delta { at, source })?;
        self.admit(sizes.result)?;
        self.admit(sizes.base)?;
        self.account(sizes.result)?;
        self.hold(size.max(sizes.base).max(sizes.result));
        Ok(sizes.result)
    }

    fn inflate(&mut self, at: u64, size: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), PackError> {
        self.inflater.reset();
        let mut done = 0_u64;
        loop {
            let room = (size - done + 1).min(self.out.len() as u64) as usize;
            let out = self.out.get_mut(..room).unwrap_or_default();
            let step =
                self.inflater.step(self.window.available(), out).map_err(|error| error.moved_to(at))?;
            self.window.consume(step.used);
            done += step.written as u64;
            if done > size {
                return Err(TOO_LONG.moved_to(at));
            }
            sink(out.get(..step.written).unwrap_or_default());
            if step.done {
                return if done == size { Ok(()) } else { Err(TOO_SHORT.moved_to(at)) };
            }
            if step.used == 0 && step.written == 0 {
                if !self.window.fill()? {
                    return Err(PackError::Truncated { at });
                }
            } else if self.window.available().is_empty() {
                self.window.fill()?;
            }
        }
    }
}
