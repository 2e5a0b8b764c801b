//! Which ordinals of a file hold which kind of object, in sets that grow with its packs.

use std::sync::Arc;

use cairn_protocol::object::Kind;
use roaring::RoaringBitmap;
use rusqlite::Connection;

use super::file::{PackMeta, RepoFile};
use super::record::bitmap_from;
use crate::store::StoreError;

/// Ordinals by kind (by `Kind` as a number; 0 for all canonical ones), as far as they were asked for.
#[derive(Default)]
pub(crate) struct KindSets {
    pub(crate) limit: u32,
    pub(crate) sets: [RoaringBitmap; 5],
}

/// Brings the kind sets of a file up to its last pack.
pub(crate) fn extend_kinds(file: &RepoFile, kinds: &mut KindSets) -> Result<(), StoreError> {
    let fresh: Vec<Arc<PackMeta>> = {
        let packs = file.packs();
        let known = packs.list.partition_point(|pack| pack.end() <= kinds.limit);
        packs.list.iter().skip(known).cloned().collect()
    };
    if fresh.is_empty() {
        return Ok(());
    }
    file.read(|conn| {
        for pack in &fresh {
            let mut rest = RoaringBitmap::new();
            rest.insert_range(0..pack.object_count);
            rest -= &pack.dups;
            let whole = rest.clone();
            let named = pack_kinds(conn, pack.id)?;
            for (kind, mut set) in named {
                set &= &whole;
                rest -= &set;
                shift_into(&set, pack.base_ordinal, kinds.sets.get_mut(kind as usize));
            }
            shift_into(&rest, pack.base_ordinal, kinds.sets.get_mut(Kind::Blob as usize));
            shift_into(&whole, pack.base_ordinal, kinds.sets.get_mut(0));
            kinds.limit = pack.end();
        }
        kinds.sets.iter_mut().for_each(|set| {
            set.optimize();
        });
        Ok(())
    })
}

fn pack_kinds(conn: &Connection, pack: u32) -> Result<[(Kind, RoaringBitmap); 3], StoreError> {
    let mut select = conn.prepare_cached("SELECT commits, trees, tags FROM pack WHERE id = ?1")?;
    let [commits, trees, tags]: [Vec<u8>; 3] =
        select.query_row([pack], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
    Ok([
        (Kind::Commit, bitmap_from(&commits)?),
        (Kind::Tree, bitmap_from(&trees)?),
        (Kind::Tag, bitmap_from(&tags)?),
    ])
}

fn shift_into(set: &RoaringBitmap, by: u32, into: Option<&mut RoaringBitmap>) {
    let Some(into) = into else { return };
    let mut runs = set.iter();
    while let Some(run) = runs.next_range() {
        into.insert_range(run.start().saturating_add(by)..=run.end().saturating_add(by));
    }
}
