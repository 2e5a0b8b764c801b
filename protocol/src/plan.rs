//! Plans: a set of objects as the list of byte runs that make its pack, and the stream of that pack.
//!
//! Stored entries are copied byte for byte. An ofs-delta's header is rewritten only where a gap moved its base; a delta
//! whose base is neither sent nor had becomes a whole object. Sources go out deepest first and packs in their order,
//! so that a base precedes its deltas wherever it did in the store.

mod build;
mod stream;

pub use build::{PlanOptions, build};
pub use stream::PackStream;

use crate::object::ObjectId;
use crate::source::ObjRef;

/// A ready answer: what to copy, in order. Holds no object bytes but small literals.
#[derive(Debug, Default)]
pub struct Plan {
    /// Objects in the pack.
    pub objects: u32,
    /// What makes the bytes between header and trailer.
    pub(crate) items: Vec<Item>,
    /// Bytes of all [`Item::Literal`]s.
    pub(crate) literals: Vec<u8>,
    /// The trailing checksum, once the pack has been streamed to its end.
    pub trailer: std::sync::OnceLock<ObjectId>,
}

impl Plan {
    /// Bytes of memory that keeping the plan takes, about.
    pub fn memory_bytes(&self) -> usize {
        self.items.len() * size_of::<Item>() + self.literals.len() + 256
    }
}

/// A piece of the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// Bytes of a stored pack, verbatim.
    Copy { source: u16, pack: u32, offset: u64, bytes: u64 },
    /// The next so many bytes of `literals`.
    Literal { bytes: u32 },
    /// An object made whole and compressed anew when it is streamed; too many of them for `literals`.
    Whole { at: ObjRef },
}
