//! The header of a pack entry (gitformat-pack, "pack-*.pack files have the following format").
//!
//! A decoder answers `None` where it needs more bytes. Numbers that are longer than they need be are accepted, as git
//! does, and overflow is refused. What we encode is canonical.

use crate::object::{HashAlgo, Kind, ObjectId};
use crate::pack::PackError;

/// What an entry is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A whole object.
    Whole(Kind),
    /// A delta whose base starts `back` bytes before this entry.
    Ofs {
        /// Never zero.
        back: u64,
    },
    /// A delta whose base has this name.
    Ref(ObjectId),
}

/// The header of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// What follows.
    pub kind: EntryKind,
    /// Inflated bytes of what follows: of the object, or of the delta.
    pub size: u64,
    /// Bytes of the header, base reference included.
    pub header_bytes: usize,
}

const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

/// Reads the header at the start of `bytes`. `None`: more bytes are needed. Errors count from the entry's start.
pub fn decode(algo: HashAlgo, bytes: &[u8]) -> Result<Option<EntryHeader>, PackError> {
    let Some((number, size, used)) = decode_size(bytes)? else {
        return Ok(None);
    };
    let rest = bytes.get(used..).unwrap_or_default();
    let (kind, more) = match number {
        OFS_DELTA => match decode_back(rest)? {
            Some((back, more)) => (EntryKind::Ofs { back }, more),
            None => return Ok(None),
        },
        REF_DELTA => match rest.get(..algo.bytes()).and_then(|raw| ObjectId::from_bytes(algo, raw)) {
            Some(id) => (EntryKind::Ref(id), algo.bytes()),
            None => return Ok(None),
        },
        number => match Kind::from_number(number) {
            Some(kind) => (EntryKind::Whole(kind), 0),
            None => return Err(malformed("unknown entry type")),
        },
    };
    Ok(Some(EntryHeader { kind, size, header_bytes: used + more }))
}

fn malformed(why: &'static str) -> PackError {
    PackError::Malformed { at: 0, why }
}

/// Type number, size, bytes used.
fn decode_size(bytes: &[u8]) -> Result<Option<(u8, u64, usize)>, PackError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let number = (first >> 4) & 7;
    let mut size = u64::from(first & 15);
    let mut more = first & 0x80 != 0;
    let (mut shift, mut used) = (4_u32, 1);
    let mut rest = rest.iter();
    while more {
        let Some(&byte) = rest.next() else { return Ok(None) };
        let part = u64::from(byte & 0x7f);
        if shift >= 64 || (part << shift) >> shift != part {
            return Err(malformed("entry size overflows 64 bits"));
        }
        size |= part << shift;
        (shift, used, more) = (shift + 7, used + 1, byte & 0x80 != 0);
    }
    Ok(Some((number, size, used)))
}

/// Distance back, bytes used.
fn decode_back(bytes: &[u8]) -> Result<Option<(u64, usize)>, PackError> {
    let mut back = 0_u64;
    for (at, &byte) in bytes.iter().enumerate() {
        if at > 0 {
            back += 1; // below 2^57 here
        }
        back = back << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return if back == 0 { Err(malformed("delta against itself")) } else { Ok(Some((back, at + 1))) };
        }
        if back >= (1 << 57) - 1 {
            return Err(malformed("delta base distance overflows 64 bits"));
        }
    }
    Ok(None)
}

fn encode_size(out: &mut Vec<u8>, number: u8, size: u64) {
    let mut byte = number << 4 | (size & 15) as u8;
    let mut rest = size >> 4;
    while rest != 0 {
        out.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    out.push(byte);
}

/// Appends the header of a whole object.
pub fn encode_whole(out: &mut Vec<u8>, kind: Kind, size: u64) {
    encode_size(out, kind as u8, size);
}

/// Appends the header of a delta of `size` bytes whose base starts `back` bytes before it; `back` is not zero.
pub fn encode_ofs(out: &mut Vec<u8>, size: u64, back: u64) {
    encode_size(out, OFS_DELTA, size);
    let mut bytes = [0; 10];
    let mut at = bytes.len();
    let (mut rest, mut flag) = (back, 0);
    for slot in bytes.iter_mut().rev() {
        *slot = (rest & 0x7f) as u8 | flag;
        (flag, at) = (0x80, at - 1);
        rest >>= 7;
        if rest == 0 {
            break;
        }
        rest -= 1;
    }
    out.extend(bytes.iter().skip(at));
}

/// Appends the header of a delta of `size` bytes whose base is `base`.
pub fn encode_ref(out: &mut Vec<u8>, size: u64, base: &ObjectId) {
    encode_size(out, REF_DELTA, size);
    out.extend_from_slice(base.as_bytes());
}

/// The twelve bytes that a pack of `count` entries starts with.
pub fn pack_header(count: u32) -> [u8; 12] {
    let mut header = *b"PACK\0\0\0\x02\0\0\0\0";
    header[8..].copy_from_slice(&count.to_be_bytes());
    header
}
