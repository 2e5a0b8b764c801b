//! All files of a mounted commit: from the trees that an earlier mount of it kept, or from packs.

use std::io;

use cairn_protocol::object::ObjectId;

use super::Repo;
use crate::gitdir::index::{Listing, list};
use crate::gitdir::kept::{Keeper, Kept};

impl Repo {
    /// All files; `None` where there are too many. Trees that had to be read from packs are kept for the next mount, and for
    /// what is asked of this one.
    pub fn list(&self) -> io::Result<Option<Listing>> {
        let folder = self.record.store().join("trees");
        if let Some(kept) = Kept::open(&folder, &self.root) {
            let _ = self.kept.set(kept);
            return list(&mut |id| self.tree_of(id), &self.root);
        }
        let mut keeper = usable(Keeper::new(&folder, self.root));
        let listing = list(
            &mut |id| {
                let raw = self.store.tree(id)?;
                keeper = keeper.take().and_then(|mut keeper| usable(keeper.add(id, &raw)).map(|()| keeper));
                Ok(raw)
            },
            &self.root,
        )?;
        // The trees of a listing that was given up are not all there.
        let keeper = keeper.filter(|_| listing.is_some());
        if keeper.and_then(|keeper| usable(keeper.finish())).is_some()
            && let Some(kept) = Kept::open(&folder, &self.root)
        {
            let _ = self.kept.set(kept);
        }
        Ok(listing)
    }

    /// The bytes of a tree, from wherever they come soonest.
    pub(super) fn tree_of(&self, id: &ObjectId) -> io::Result<Vec<u8>> {
        match self.kept.get().map(|kept| kept.get(id)) {
            Some(Ok(Some(raw))) => Ok(raw),
            _ => self.store.tree(id),
        }
    }
}

/// Without kept trees all goes on; it only takes longer.
fn usable<T>(outcome: io::Result<T>) -> Option<T> {
    outcome.map_err(|error| log::info!("the trees are not kept: {error}")).ok()
}
