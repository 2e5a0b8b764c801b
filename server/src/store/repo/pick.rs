//! Which packs are rolled into one next.

use std::sync::Arc;

use super::file::{PackMeta, Packs};
use super::limits::{ROLL_PACK_BYTES_MAX, ROLL_STEP_BYTES_MAX, ROLL_STEP_OBJECTS_MAX};

/// How much is rolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Every run of at least so many small packs.
    Runs(usize),
    /// Runs of so many packs of about the same number of entries, so that each entry is rolled a few times only, however
    /// many there are: for repositories that are pushed to.
    Tiers(usize),
    /// Each pack of which what was dropped is at least one byte in so many, whatever its size.
    Dropped(u64),
}

/// Whether a pack may be rolled. Packs that came with an index of their own stay: they hold much already.
fn is_small(pack: &PackMeta) -> bool {
    (pack.fanout.is_empty() || !pack.cuts.is_empty()) && pack.bytes < ROLL_PACK_BYTES_MAX
}

/// Whether a pack is small, and as its entry brought it.
pub(crate) fn is_loose(pack: &PackMeta) -> bool {
    pack.cuts.is_empty() && is_small(pack)
}

/// The first run of neighbours that are worth a step.
pub(crate) fn pick(packs: &Packs, want: Want) -> Option<Vec<Arc<PackMeta>>> {
    match want {
        // Those are not told by what is kept in memory of packs.
        Want::Dropped(_) => None,
        Want::Runs(least) => run(packs, least.max(2), |_| true),
        Want::Tiers(least) => {
            let least = least.max(2);
            let tier = |pack: &PackMeta| pack.cuts.len().max(1).ilog(least);
            let highest = packs.list.iter().map(|pack| tier(pack)).max().unwrap_or(0);
            (0..=highest).find_map(|max| run(packs, least, |pack| tier(pack) <= max))
        }
    }
}

fn run(packs: &Packs, least: usize, fits: impl Fn(&PackMeta) -> bool) -> Option<Vec<Arc<PackMeta>>> {
    let (mut run, mut bytes, mut objects) = (Vec::new(), 0, 0);
    for pack in &packs.list {
        let is_taken = is_small(pack) && fits(pack);
        let has_room = bytes + pack.bytes <= ROLL_STEP_BYTES_MAX
            && objects + u64::from(pack.object_count) <= u64::from(ROLL_STEP_OBJECTS_MAX);
        if !(is_taken && has_room) {
            if run.len() >= least {
                break;
            }
            (run, bytes, objects) = (Vec::new(), 0, 0);
        }
        if is_taken {
            run.push(Arc::clone(pack));
            bytes += pack.bytes;
            objects += u64::from(pack.object_count);
        }
    }
    (run.len() >= least).then_some(run)
}
