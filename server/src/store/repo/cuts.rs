//! What lets packs be rolled while they are read: where the old ones end inside the new one, and how long the old
//! ones stay.
//!
//! A snapshot holds the lease of the list that it was opened on. Packs that leave the list are retired under that
//! lease: their rows are deleted when every snapshot that may name them is gone.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use cairn_protocol::object::HashAlgo;
use rusqlite::{Connection, OptionalExtension};

use super::drops::Drops;
use super::file::{PackMeta, Packs};
use super::index::read_row;
use super::limits::RECORDS_PER_ROW;
use super::record::{RawRecord, record_bytes};
use super::schema::{self, Section, row_id};
use crate::store::{StoreError, outside};

/// Held by snapshots. Its number is that of the newest rolled pack: the same places of objects, the same number.
pub(crate) type Lease = Arc<u32>;

/// Where one entry's pack ends inside the pack that it was rolled into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The entry that brought it.
    pub(crate) seq: u64,
    /// One past its last place in the pack.
    pub(crate) end: u32,
    /// Bytes of its entries as they are stored now.
    pub(crate) bytes: u64,
    /// As in a pack of one entry.
    pub(crate) whole: bool,
}

fn put(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Differences as numbers of seven bits a byte: about five bytes a cut.
pub(crate) fn encode_cuts(cuts: &[Cut]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut seq, mut end) = (0, 0);
    for cut in cuts {
        put(cut.seq - seq, &mut out);
        put(u64::from(cut.end - end), &mut out);
        put(cut.bytes << 1 | u64::from(cut.whole), &mut out);
        (seq, end) = (cut.seq, cut.end);
    }
    out
}

pub(crate) fn decode_cuts(mut bytes: &[u8]) -> Result<Vec<Cut>, StoreError> {
    let (mut cuts, mut seq, mut end) = (Vec::new(), 0_u64, 0_u32);
    while !bytes.is_empty() {
        let mut one = || {
            seq = seq.checked_add(take(&mut bytes)?)?;
            end = end.checked_add(u32::try_from(take(&mut bytes)?).ok()?)?;
            let packed = take(&mut bytes)?;
            Some(Cut { seq, end, bytes: packed >> 1, whole: packed & 1 == 1 })
        };
        cuts.push(one().ok_or_else(|| StoreError::corrupt("the cuts of a pack do not parse"))?);
    }
    Ok(cuts)
}

/// Packs that were rolled into others, oldest first, each batch with the lease under which it may be read.
#[derive(Default)]
pub(crate) struct Retired {
    batches: VecDeque<(Lease, Vec<u32>)>,
    /// Each with whether the pack that it was rolled into has an index of its own.
    metas: HashMap<u32, (Arc<PackMeta>, bool)>,
}

impl Retired {
    pub(crate) fn add(&mut self, lease: Lease, packs: Vec<(Arc<PackMeta>, bool)>) {
        self.batches.push_back((lease, packs.iter().map(|(pack, _)| pack.id).collect()));
        self.metas.extend(packs.into_iter().map(|pack| (pack.0.id, pack)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether a snapshot holds one of the leases.
    pub(crate) fn is_read(&self) -> bool {
        self.batches.iter().any(|(lease, _)| Arc::strong_count(lease) > 1)
    }

    pub(crate) fn by_id(&self, id: u32) -> Option<&Arc<PackMeta>> {
        self.metas.get(&id).map(|(pack, _)| pack)
    }

    /// Takes out the packs that no snapshot can name any more. A snapshot names what was live when it was opened or
    /// later, so a batch waits for all older ones.
    pub(crate) fn take_free(&mut self) -> Vec<(Arc<PackMeta>, bool)> {
        let mut free = Vec::new();
        while let Some((_, packs)) = self.batches.pop_front_if(|(lease, _)| Arc::strong_count(lease) == 1) {
            free.extend(packs.iter().filter_map(|id| self.metas.remove(id)));
        }
        free
    }

    /// Takes back what was taken out and could not be deleted. No snapshot can name it.
    pub(crate) fn put_back(&mut self, packs: Vec<(Arc<PackMeta>, bool)>) {
        self.batches.push_front((Lease::default(), packs.iter().map(|(pack, _)| pack.id).collect()));
        self.metas.extend(packs.into_iter().map(|pack| (pack.0.id, pack)));
    }
}

/// Deletes the packs that were staged when an earlier process ended, and those that it had rolled away, unless another
/// process reads: it may name those, and the next open sweeps them.
pub(crate) fn sweep(
    conn: &Connection,
    data_dir: &Path,
    algo: HashAlgo,
    packs: &Packs,
) -> Result<(), StoreError> {
    let left: Vec<(u32, bool)> = conn
        .prepare("SELECT id, base_ordinal IS NOT NULL FROM pack WHERE live = 0")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let was_live = left.iter().any(|(_, was_live)| *was_live);
    let alone = if was_live { outside::keep_out(data_dir) } else { None };
    for (pack, _) in left.into_iter().filter(|(_, was_live)| !was_live || alone.is_some()) {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        delete_retired(conn, algo, pack, &packs.drops, |ordinal| packs.is_sharded(ordinal))?;
        conn.execute_batch("COMMIT")?;
    }
    Ok(())
}

/// Deletes a pack that is not live, and the ids in `object` where the index of the pack that it was rolled into holds
/// them (`is_indexed`, which is given its first ordinal) or where they were dropped: not before, since a lookup that began
/// with the list of packs as it was must find them.
pub(crate) fn delete_retired(
    conn: &Connection,
    algo: HashAlgo,
    pack: u32,
    drops: &Drops,
    is_indexed: impl FnOnce(u32) -> bool,
) -> Result<(), StoreError> {
    let base =
        "SELECT base_ordinal, object_count FROM pack WHERE id = ?1 AND live = 0 AND base_ordinal IS NOT NULL
        AND fanout = x''";
    let mut select = conn.prepare_cached(base)?;
    let found: Option<(u32, u32)> =
        select.query_row([pack], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    if let Some((base, object_count)) = found {
        let all = is_indexed(base);
        let goes = |ordinal: &u32| all || drops.places.contains(*ordinal);
        let holds = all || drops.places.range_cardinality(base..base.saturating_add(object_count)) > 0;
        let rows = if holds { object_count.div_ceil(RECORDS_PER_ROW) } else { 0 };
        let mut delete = conn.prepare_cached("DELETE FROM object WHERE id = ?1 AND ordinal = ?2")?;
        let mut row = Vec::new();
        for n in 0..rows {
            read_row(conn, row_id(pack, Section::Records, n), &mut row)?;
            let places = (base + n * RECORDS_PER_ROW..).zip(row.chunks_exact(record_bytes(algo)));
            for (ordinal, raw) in places.filter(|(ordinal, _)| goes(ordinal)) {
                delete.execute((RawRecord::decode(algo, raw)?.id.as_bytes(), ordinal))?;
            }
        }
    }
    schema::delete_staged(conn, pack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_come_back_as_they_were_and_a_cut_short_list_is_refused() {
        let cut = |seq, end, bytes, whole| Cut { seq, end, bytes, whole };
        let cuts = [cut(1, 3, 0, true), cut(2, 3, 127, false), cut(900, u32::MAX, 1 << 40, true)];
        let bytes = encode_cuts(&cuts);
        assert_eq!(decode_cuts(&bytes).unwrap(), cuts);
        assert!(decode_cuts(&bytes[..bytes.len() - 1]).is_err());
        assert!(decode_cuts(&[0xff; 12]).is_err(), "a number without an end");
    }
}
