//! The fixed-size record of an object in a pack, and references that survive in a file.
//!
//! A record: offset (5 bytes), size (5), entry bytes (4), kind and base form (1), base place (6), id (20 or
//! 32).

use std::io;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::source::ObjRef;

use crate::store::StoreError;

/// Bytes of a record before its id.
const FIXED_BYTES: usize = 21;

/// Bytes of one record.
pub(crate) const fn record_bytes(algo: HashAlgo) -> usize {
    FIXED_BYTES + algo.bytes()
}

/// An object as a file names it: sources count from the file's own log, whichever chain the file is read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The same pack, counted from its first object.
    InPack(u32),
    /// A source of the chain that starts with this file, and the ordinal there.
    Chain(ObjRef),
}

const IN_PACK: u16 = u16::MAX;

impl Place {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        let (source, ordinal) = match self {
            Self::InPack(index) => (IN_PACK, index),
            Self::Chain(at) => (at.source, at.ordinal),
        };
        out.extend_from_slice(&source.to_le_bytes());
        out.extend_from_slice(&ordinal.to_le_bytes());
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        let source = u16::from_le_bytes(cursor.array()?);
        let ordinal = u32::from_le_bytes(cursor.array()?);
        Some(if source == IN_PACK { Self::InPack(ordinal) } else { Self::Chain(ObjRef { source, ordinal }) })
    }
}

/// How an entry leans on its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawBase {
    None,
    Ofs(Place),
    Ref(Place),
}

/// A record as the file holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord {
    pub(crate) id: ObjectId,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) offset: u64,
    pub(crate) entry_bytes: u32,
    pub(crate) base: RawBase,
}

impl RawRecord {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let five = |value: u64| value.to_le_bytes().into_iter().take(5);
        out.extend(five(self.offset));
        out.extend(five(self.size));
        out.extend_from_slice(&self.entry_bytes.to_le_bytes());
        let (form, place) = match self.base {
            RawBase::None => (0, Place::InPack(0)),
            RawBase::Ofs(place) => (1, place),
            RawBase::Ref(place) => (2, place),
        };
        out.push(self.kind as u8 | form << 3);
        place.encode(out);
        out.extend_from_slice(self.id.as_bytes());
    }

    /// From exactly `record_bytes(algo)` bytes.
    pub(crate) fn decode(algo: HashAlgo, bytes: &[u8]) -> Result<Self, StoreError> {
        Self::parse(algo, bytes).ok_or_else(|| StoreError::corrupt("an object record does not parse"))
    }

    fn parse(algo: HashAlgo, bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let offset = five(cursor.array()?);
        let size = five(cursor.array()?);
        let entry_bytes = u32::from_le_bytes(cursor.array()?);
        let [tag] = cursor.array()?;
        let place = Place::decode(&mut cursor)?;
        let base = match tag >> 3 {
            0 => RawBase::None,
            1 => RawBase::Ofs(place),
            2 => RawBase::Ref(place),
            _ => return None,
        };
        let id = ObjectId::from_bytes(algo, cursor.0)?;
        Some(Self { id, kind: Kind::from_number(tag & 7)?, size, offset, entry_bytes, base })
    }
}

fn five(bytes: [u8; 5]) -> u64 {
    let [a, b, c, d, e] = bytes;
    u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
}

/// Reads stored bytes front to back; `None` at the end.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl Cursor<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
}

/// A bitmap as the file holds it.
pub(crate) fn bitmap_bytes(bitmap: &mut roaring::RoaringBitmap) -> Result<Vec<u8>, io::Error> {
    if bitmap.is_empty() {
        return Ok(Vec::new());
    }
    bitmap.optimize();
    let mut out = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut out)?;
    Ok(out)
}

/// A bitmap from the file's bytes.
pub(crate) fn bitmap_from(bytes: &[u8]) -> Result<roaring::RoaringBitmap, StoreError> {
    if bytes.is_empty() {
        return Ok(roaring::RoaringBitmap::new());
    }
    Ok(roaring::RoaringBitmap::deserialize_from(bytes)?)
}
