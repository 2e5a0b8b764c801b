//! How much of the mounted commit is here, whoever brought it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Repo;
use crate::gitdir::loose::Names;
use crate::limits::HYDRATED_AGE_MAX;
use crate::port::Objects;

/// Contents of the mounted commit, each counted once however many files have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hydrated {
    /// Those that are here.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// All that the commit has.
    pub of_blobs: u64,
}

/// The last count.
#[derive(Default)]
pub(super) struct Counted {
    names: OnceLock<Arc<Names>>,
    /// When it was made, and how many blobs had been fetched by then.
    last: Mutex<Option<(Instant, u64, Hydrated)>>,
}

impl Repo {
    /// Says which blobs are to be counted.
    pub fn count_of(&self, names: Arc<Names>) {
        // Said once, as the mount begins.
        let _ = self.counted.names.set(names);
    }

    /// Counts what is here, unless nothing came since the last count; other mounts may bring and take some, so that no
    /// count is kept for long. `None` where the commit has too many files to be counted.
    pub fn hydrated(&self) -> Option<Hydrated> {
        let names = self.counted.names.get()?;
        let fetched = self.hydrator.progress().fetched_blobs;
        let mut last = self.counted.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, of, count)) = *last
            && of == fetched
            && at.elapsed() < HYDRATED_AGE_MAX
        {
            return Some(count);
        }
        let mut count = Hydrated::default();
        for id in (0..).map_while(|place| names.at(place)) {
            count.of_blobs += 1;
            let known = || Objects::size(self, &id);
            let bytes = match self.blobs.size(&id) {
                Some(bytes) => Some(bytes),
                // A remote without filters sent all; and what is empty needs no remote.
                None if !self.mounted.is_partial => Some(known().unwrap_or_default()),
                None => known().filter(|bytes| *bytes == 0),
            };
            if let Some(bytes) = bytes {
                count.blobs += 1;
                count.bytes += bytes;
            }
        }
        *last = Some((Instant::now(), fetched, count));
        Some(count)
    }
}
