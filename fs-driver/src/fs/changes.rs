//! Which paths changed, for git's fsmonitor.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::limits::CHANGED_PATHS_MAX;

/// An answer to "what changed since?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// To be given with the next question.
    pub token: u64,
    /// Paths from the root without a leading slash; a directory of which all may have changed ends with a slash.
    /// `None` where everything may have changed.
    pub paths: Option<Vec<Vec<u8>>>,
}

/// The latest change of each path. Numbers begin at the time of the mount, so that a token of an earlier one is known
/// to be too old.
pub(super) struct ChangeLog {
    latest: HashMap<Vec<u8>, u64>,
    floor: u64,
    seq: u64,
}

impl ChangeLog {
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
        Self { latest: HashMap::new(), floor: now, seq: now }
    }

    pub(super) fn record(&mut self, path: Vec<u8>) {
        self.seq += 1;
        if self.latest.len() >= CHANGED_PATHS_MAX && !self.latest.contains_key(&path) {
            self.latest.clear();
            self.floor = self.seq;
        }
        self.latest.insert(path, self.seq);
    }

    pub(super) fn since(&self, token: u64) -> Changes {
        let known = (self.floor..=self.seq).contains(&token);
        let paths = known.then(|| {
            let newer = self.latest.iter().filter(|(_, seq)| **seq > token);
            newer.map(|(path, _)| path.clone()).collect()
        });
        Changes { token: self.seq, paths }
    }
}
