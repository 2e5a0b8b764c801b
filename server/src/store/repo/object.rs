//! A whole object from pack entries: headers, inflation, delta application.

use flate2::{Decompress, FlushDecompress, Status};

use super::limits::OBJECT_BYTES_MAX;
use crate::store::StoreError;

/// The compressed data of an entry, past its header and base reference.
pub(crate) fn entry_data(entry: &[u8], id_bytes: usize) -> Result<(u8, u64, &[u8]), StoreError> {
    parse_header(entry, id_bytes).ok_or_else(|| StoreError::corrupt("a pack entry's header does not parse"))
}

fn parse_header(entry: &[u8], id_bytes: usize) -> Option<(u8, u64, &[u8])> {
    let (first, mut rest) = entry.split_first()?;
    let form = first >> 4 & 7;
    let (mut size, mut shift, mut more) = (u64::from(first & 15), 4, first & 0x80 != 0);
    while more {
        let (byte, tail) = rest.split_first()?;
        size |= u64::from(byte & 0x7f).checked_shl(shift)?;
        (shift, more, rest) = (shift + 7, byte & 0x80 != 0, tail);
    }
    match form {
        6 => {
            let end = rest.iter().position(|byte| byte & 0x80 == 0)?;
            rest = rest.get(end + 1..)?;
        }
        7 => rest = rest.get(id_bytes..)?,
        _ => {}
    }
    Some((form, size, rest))
}

/// Inflates exactly `size` bytes.
pub(crate) fn inflate(data: &[u8], size: u64) -> Result<Vec<u8>, StoreError> {
    if size > OBJECT_BYTES_MAX {
        return Err(StoreError::TooLarge { what: "bytes of an object", seen: size, max: OBJECT_BYTES_MAX });
    }
    // One byte more than declared, so that a stream that is too long shows itself.
    let mut out = Vec::with_capacity(size as usize + 1);
    let mut state = Decompress::new(true);
    loop {
        let (read, wrote) = (state.total_in(), out.len());
        let rest = data.get(read as usize..).unwrap_or_default();
        let status = state
            .decompress_vec(rest, &mut out, FlushDecompress::Finish)
            .map_err(|error| StoreError::corrupt(format!("an entry does not inflate: {error}")))?;
        if status == Status::StreamEnd && out.len() as u64 == size {
            return Ok(out);
        }
        if status == Status::StreamEnd || (state.total_in() == read && out.len() == wrote) {
            return Err(StoreError::corrupt(format!("an entry inflates to {} bytes, not {size}", out.len())));
        }
    }
}

/// The object that `delta` makes of `base`.
pub(crate) fn apply_delta(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, StoreError> {
    apply(base, delta).ok_or_else(|| StoreError::corrupt("a delta does not fit its base"))
}

fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let (base_size, mut rest) = varint(delta)?;
    let size;
    (size, rest) = varint(rest)?;
    if base_size != base.len() as u64 || size > OBJECT_BYTES_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(size as usize);
    while let Some((op, tail)) = rest.split_first() {
        rest = tail;
        if op & 0x80 == 0 {
            let (literal, tail) = rest.split_at_checked(usize::from(*op))?;
            if literal.is_empty() {
                return None;
            }
            out.extend_from_slice(literal);
            rest = tail;
        } else {
            let (mut offset, mut count) = (0, 0);
            for bit in 0..7 {
                if op >> bit & 1 == 1 {
                    let (byte, tail) = rest.split_first()?;
                    rest = tail;
                    let value = usize::from(*byte);
                    if bit < 4 { offset |= value << (8 * bit) } else { count |= value << (8 * (bit - 4)) }
                }
            }
            let count = if count == 0 { 0x10000 } else { count };
            out.extend_from_slice(base.get(offset..offset.checked_add(count)?)?);
        }
        if out.len() as u64 > size {
            return None;
        }
    }
    (out.len() as u64 == size).then_some(out)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut rest) = (0, bytes);
    for shift in (0..63).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}
