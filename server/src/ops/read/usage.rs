//! How much a repository holds. Sums over packs; nothing is walked.

use super::{Halt, Reading};

/// What some logs hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes of packs, as stored.
    pub bytes: u64,
    /// Objects in packs; one that came twice counts twice.
    pub objects: u64,
    /// Packs.
    pub packs: u64,
    /// Entries.
    pub entries: u64,
}

/// What the own log holds, and what the prefixes of the logs hold that it was forked from.
pub fn usage(reading: &Reading) -> Result<(Held, Held), Halt> {
    let snapshot = &reading.view.snapshot;
    let (mut own, mut shared) = (Held::default(), Held::default());
    for source in 0..snapshot.fingerprint().last().map_or(0, |(index, ..)| index + 1) {
        let held = if source == 0 { &mut own } else { &mut shared };
        held.entries += snapshot.source_seq(source);
        for pack in snapshot.packs(source)? {
            held.bytes += pack.bytes;
            held.objects += u64::from(pack.object_count);
            held.packs += 1;
        }
    }
    Ok((own, shared))
}
