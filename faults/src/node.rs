//! One file: what is read back, what survives, and the locks of SQLite on it.

use crate::Random;
use crate::disk::Loss;

/// What a disk writes whole or not at all, in bytes.
pub(crate) const SECTOR_BYTES: usize = 512;

enum Pending {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// A file.
#[derive(Default)]
pub(crate) struct Node {
    /// As it is read.
    pub(crate) bytes: Vec<u8>,
    /// As it is on the disk for sure.
    durable: Vec<u8>,
    /// What was done since, in order.
    pending: Vec<Pending>,
    /// How often it was written to or cut.
    pub(crate) changes: u64,
    pub(crate) locks: Locks,
}

/// Locks of SQLite: of the file, and of its shared memory.
#[derive(Default)]
pub(crate) struct Locks {
    /// Each holder's level.
    pub(crate) file: Vec<(u64, i32)>,
    /// Holder, slot, whether it is alone.
    pub(crate) shared: Vec<(u64, u32, bool)>,
    /// Who has the shared memory mapped.
    pub(crate) mapped: Vec<u64>,
    /// Its regions. Each stays where it is until the last holder leaves.
    pub(crate) regions: Vec<Box<[u64]>>,
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

impl Node {
    /// The file as a crash leaves it; nobody has it open.
    pub(crate) fn left(&mut self, loss: Loss, random: &mut Random) -> Self {
        if loss == Loss::Nothing {
            let (durable, pending) = (self.durable.clone(), std::mem::take(&mut self.pending));
            let (bytes, changes) = (self.bytes.clone(), self.changes);
            return Self { bytes, durable, pending, changes, locks: Locks::default() };
        }
        let bytes = self.after_loss(loss, random);
        Self { durable: bytes.clone(), bytes, ..Self::default() }
    }

    pub(crate) fn read(&self, at: usize, into: &mut [u8]) -> usize {
        let from = self.bytes.get(at..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        count
    }

    pub(crate) fn write(&mut self, at: usize, data: &[u8]) {
        self.changes += 1;
        put(&mut self.bytes, at, data);
        self.pending.push(Pending::Write(at, data.to_vec()));
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.changes += 1;
        self.bytes.resize(len, 0);
        self.pending.push(Pending::Truncate(len));
    }

    pub(crate) fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Write(at, data) => put(&mut self.durable, at, &data),
                Pending::Truncate(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// The sync failed: what was to be written counts as written from now on, and any part of it is on the disk.
    pub(crate) fn sync_failed(&mut self, random: &mut Random) {
        self.durable = self.after_loss(Loss::Torn, random);
        self.pending.clear();
    }

    /// What a loss of power leaves.
    fn after_loss(&self, loss: Loss, random: &mut Random) -> Vec<u8> {
        let mut left = self.durable.clone();
        let file_loses_all = loss == Loss::All || random.one_in(4);
        // From some moment on nothing may have been written; before it, nearly everything.
        let cut = random.below(self.pending.len() as u64 + 1) as usize;
        for (n, pending) in self.pending.iter().enumerate() {
            let kept_of_eight = match (file_loses_all, n < cut) {
                (true, _) => 0,
                (false, true) => 7,
                (false, false) => 2,
            };
            match pending {
                Pending::Truncate(len) if random.below(8) < kept_of_eight => left.resize(*len, 0),
                Pending::Truncate(_) => {}
                Pending::Write(at, data) => {
                    let mut done = 0;
                    while done < data.len() {
                        let sector_end = ((at + done) / SECTOR_BYTES + 1) * SECTOR_BYTES - at;
                        let end = sector_end.min(data.len());
                        if random.below(8) < kept_of_eight {
                            put(&mut left, at + done, &data[done..end]);
                        }
                        done = end;
                    }
                }
            }
        }
        left
    }
}
