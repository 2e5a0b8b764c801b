//! The keys that are at work in this process, which is the only one that serves: a crash frees them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// One for the server. It holds at most one key for each request that is being served.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<HashSet<[u8; 32]>>>);

/// A key at work; dropping it frees the key.
#[derive(Debug)]
pub struct Held {
    running: Running,
    id: [u8; 32],
}

impl Running {
    /// `None` where the key is at work already.
    pub fn enter(&self, id: [u8; 32]) -> Option<Held> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        is_new.then(|| Held { running: self.clone(), id })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
