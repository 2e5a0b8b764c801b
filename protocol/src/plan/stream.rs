//! Streams a plan as a pack, a bounded batch at a time.

use std::sync::Arc;

use sha1::Digest as _;

use super::build::whole_entry;
use super::{Item, Plan};
use crate::object::{HashAlgo, ObjectId};
use crate::pack::entry::pack_header;
use crate::source::ObjectSource;
use crate::walk::{Reader, WalkError};

/// Short copies are cut out of a window of this many bytes, so that scattered entries cost one read together.
const WINDOW_BYTES: usize = 64 << 10;
/// Copies of at least this many bytes are read straight into the answer.
const DIRECT_BYTES: u64 = 16 << 10;

/// Hash of the pack so far. Nobody can choose both inputs of this hash, so it does without collision detection.
enum Trailer {
    Known(ObjectId),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

/// The pack of a plan, as a state that can move between threads from one batch to the next.
pub struct PackStream {
    plan: Arc<Plan>,
    algo: HashAlgo,
    item: usize,
    /// Bytes of the current item that are out.
    done: u64,
    literal: usize,
    /// A made object, or header or trailer, that is going out.
    pending: Vec<u8>,
    pending_at: usize,
    window: Vec<u8>,
    window_of: Option<(u16, u32, u64)>,
    trailer: Trailer,
    finished: bool,
    object_bytes_max: u64,
}

impl PackStream {
    /// Starts at the pack's first byte.
    pub fn new(plan: Arc<Plan>, algo: HashAlgo) -> Self {
        let trailer = match (plan.trailer.get(), algo) {
            (Some(id), _) => Trailer::Known(*id),
            (None, HashAlgo::Sha1) => Trailer::Sha1(sha1::Sha1::new()),
            (None, HashAlgo::Sha256) => Trailer::Sha256(sha2::Sha256::new()),
        };
        let pending = pack_header(plan.objects).to_vec();
        Self {
            plan,
            algo,
            item: 0,
            done: 0,
            literal: 0,
            pending,
            pending_at: 0,
            window: Vec::new(),
            window_of: None,
            trailer,
            finished: false,
            object_bytes_max: u64::MAX,
        }
    }

    /// Refuses from now on to make objects of more than so many bytes, also as bases. What is refused may be asked for
    /// again.
    pub fn limit(&mut self, object_bytes_max: u64) {
        self.object_bytes_max = object_bytes_max;
    }

    /// Whether the last byte is out.
    pub fn is_ended(&self) -> bool {
        self.finished && self.pending_at == self.pending.len()
    }

    /// Bytes of a made object that wait in memory to go out.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len() - self.pending_at
    }

    /// Takes them: they come next in the pack, before what [`PackStream::fill`] makes from now on.
    pub fn take_pending(&mut self) -> Vec<u8> {
        let rest = self.pending.split_off(self.pending_at);
        (self.pending, self.pending_at) = (Vec::new(), 0);
        if !self.finished {
            self.hash(&rest);
        }
        rest
    }

    /// Fills `into` from its start; answers how many bytes it wrote, fewer than its length only at the end, or before an
    /// error, which comes with the next call.
    pub fn fill(&mut self, source: &dyn ObjectSource, into: &mut [u8]) -> Result<usize, WalkError> {
        let mut filled = 0;
        while filled < into.len() {
            let rest = into.get_mut(filled..).unwrap_or_default();
            match self.piece(source, rest) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn piece(&mut self, source: &dyn ObjectSource, into: &mut [u8]) -> Result<usize, WalkError> {
        if self.pending_at < self.pending.len() {
            let left = self.pending.get(self.pending_at..).unwrap_or_default();
            let n = copy_some(left, into);
            self.pending_at += n;
            if !self.finished {
                self.hash(into.get(..n).unwrap_or_default());
            }
            return Ok(n);
        }
        let Some(item) = self.plan.items.get(self.item).copied() else {
            return self.end(into);
        };
        let (n, whole) = match item {
            Item::Copy { source: index, pack, offset, bytes } => {
                let left = bytes - self.done;
                let n = left.min(into.len() as u64) as usize;
                let into = into.get_mut(..n).unwrap_or_default();
                self.read(source, (index, pack, offset + self.done), into, left)?;
                (n, bytes)
            }
            Item::Literal { bytes } => {
                let left = self.plan.literals.get(self.literal..).unwrap_or_default();
                let left = left.get(..(u64::from(bytes) - self.done) as usize).unwrap_or_default();
                let n = copy_some(left, into);
                self.literal += n;
                (n, u64::from(bytes))
            }
            Item::Whole { at } => {
                let mut reader = Reader::new(source, self.algo).limited(self.object_bytes_max);
                self.pending = whole_entry(&mut reader, at)?;
                self.pending_at = 0;
                self.item += 1;
                return self.piece(source, into);
            }
        };
        self.hash(into.get(..n).unwrap_or_default());
        self.done += n as u64;
        if self.done == whole {
            self.done = 0;
            self.item += 1;
        }
        Ok(n)
    }

    fn read(
        &mut self,
        source: &dyn ObjectSource,
        from: (u16, u32, u64),
        into: &mut [u8],
        left: u64,
    ) -> Result<(), WalkError> {
        let (index, pack, offset) = from;
        if left >= DIRECT_BYTES {
            return Ok(source.pack_bytes(index, pack, offset, into)?);
        }
        let inside = |of: (u16, u32, u64), held: usize| {
            let skip = offset.checked_sub(of.2).filter(|_| (of.0, of.1) == (index, pack))? as usize;
            (skip + into.len() <= held).then_some(skip)
        };
        if self.window_of.and_then(|of| inside(of, self.window.len())).is_none() {
            self.window_of = None;
            let bytes = source.pack_len(index, pack)?.saturating_sub(offset).min(WINDOW_BYTES as u64);
            self.window.resize(bytes as usize, 0);
            source.pack_bytes(index, pack, offset, &mut self.window)?;
            self.window_of = Some((index, pack, offset));
        }
        let skip = self.window_of.map_or(0, |of| (offset - of.2) as usize);
        let n = into.len();
        into.copy_from_slice(self.window.get(skip..skip + n).unwrap_or_default());
        Ok(())
    }

    fn end(&mut self, into: &mut [u8]) -> Result<usize, WalkError> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(0);
        }
        let id = match &self.trailer {
            Trailer::Known(id) => Some(*id),
            Trailer::Sha1(hash) => ObjectId::from_bytes(self.algo, &hash.clone().finalize()),
            Trailer::Sha256(hash) => ObjectId::from_bytes(self.algo, &hash.clone().finalize()),
        };
        let id = id.expect("a hash has its algorithm's length");
        self.plan.trailer.get_or_init(|| id);
        self.pending = id.as_bytes().to_vec();
        self.pending_at = copy_some(&self.pending, into);
        Ok(self.pending_at)
    }

    fn hash(&mut self, bytes: &[u8]) {
        match &mut self.trailer {
            Trailer::Known(_) => {}
            Trailer::Sha1(hash) => hash.update(bytes),
            Trailer::Sha256(hash) => hash.update(bytes),
        }
    }
}

/// Copies as much as fits.
fn copy_some(from: &[u8], into: &mut [u8]) -> usize {
    let n = from.len().min(into.len());
    if let (Some(from), Some(into)) = (from.get(..n), into.get_mut(..n)) {
        into.copy_from_slice(from);
    }
    n
}
