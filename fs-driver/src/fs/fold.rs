//! Folding back: a written file that holds again what the base has at its path is shown from the base again, so that
//! going to another branch and back leaves nothing in the state directory. Nobody sees it: the inode, its times and its
//! size stay as they are.

use std::fs::File;
use std::io::Read;
use std::time::Instant;

use cairn_protocol::object::{Kind as ObjectKind, ObjectId, hash_object};

use super::state::State;
use super::{Fs, Res};
use crate::limits::{FOLD_AFTER, FOLD_BYTES_MAX, FOLD_WAITING_MAX};
use crate::overlay::{Ino, Kind};
use crate::tree::EntryKind;

impl Fs {
    /// Looks at the files that were closed since the last call, or not written for a while where no close is told of, and
    /// folds back those it can. Gives their number.
    pub fn fold_back(&self) -> usize {
        let is_at_rest = |at: &mut Option<Instant>| at.is_none_or(|written| written.elapsed() >= FOLD_AFTER);
        let waiting: Vec<Ino> = {
            let mut state = self.lock();
            state.settled.extract_if(|_, at| is_at_rest(at)).map(|(ino, _)| ino).collect()
        };
        let mut folded = 0;
        for ino in waiting {
            match self.fold(ino) {
                Ok(done) => folded += usize::from(done),
                // It stays as it is, and that is right too.
                Err(error) => log::warn!("cannot fold a file back: {error:?}"),
            }
        }
        folded
    }

    fn fold(&self, ino: Ino) -> Res<bool> {
        let base = {
            let mut state = self.lock();
            if state.open(ino).is_some() || self.writes.is_written(ino) {
                state.note_settled(ino, None);
                return Ok(false);
            }
            state.settle(ino)?;
            let Some(base) = base_of(&state, ino)? else { return Ok(false) };
            state.folding = Some(ino);
            base
        };
        let len = std::fs::metadata(self.upper_path(ino))?.len();
        // Only what is here is folded: a file that can be read without the remote must stay one.
        let blob = self.open_blob(&base).filter(|blob| blob.size == len && len <= FOLD_BYTES_MAX);
        if blob.is_none() || self.objects.size(&base) != Some(len) {
            return Ok(false);
        }
        let mut content = Vec::new();
        File::open(self.upper_path(ino))?.take(FOLD_BYTES_MAX).read_to_end(&mut content)?;
        if hash_object(self.objects.algo(), ObjectKind::Blob, &content).ok() != Some(base) {
            return Ok(false);
        }
        let mut state = self.lock();
        // Whoever wrote to it meanwhile took it out, and whoever moved it may have moved it to another base.
        if state.folding.take() != Some(ino) || base_of(&state, ino)? != Some(base) {
            return Ok(false);
        }
        let mut facts = state.facts(ino)?;
        facts.kind = Kind::Base(base);
        state.put(ino, facts)?;
        state.publish.remove(&ino);
        state.uppers.remove(&ino);
        state.doomed.push(ino);
        state.doomed_bytes += len;
        self.reap(state);
        Ok(true)
    }
}

/// The blob that the base has at the path of a written file which nobody has open.
fn base_of(state: &State, ino: Ino) -> Res<Option<ObjectId>> {
    let Some(inode) = state.overlay.inodes.get(&ino) else { return Ok(None) };
    if inode.facts.kind != Kind::Upper || inode.dirty || state.open(ino).is_some() {
        return Ok(None);
    }
    let Some((parent, name)) = inode.links.first() else { return Ok(None) };
    let tree = state.trees.get(state.dir_base(*parent)?)?;
    let entry = tree.get(name).filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Exec));
    Ok(entry.map(|entry| entry.id))
}

impl State {
    /// Notes that a file was written: at a time, or until it was closed.
    pub(super) fn note_settled(&mut self, ino: Ino, at: Option<Instant>) {
        if self.settled.len() < FOLD_WAITING_MAX || self.settled.contains_key(&ino) {
            self.settled.insert(ino, at);
        }
    }
}
