//! What lets packs be rolled while they are read: where the old ones end inside the new one, and how long the old
//! ones stay.
//!
//! A snapshot holds the lease of the list that it was opened on. Packs that leave the list are retired under that
//! lease: their rows are deleted when every snapshot that may name them is gone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::file::PackMeta;
use crate::store::StoreError;

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
