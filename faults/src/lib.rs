//! For tests alone, never part of the `cairn` binary: a disk in memory under SQLite.
//!
//! A `Disk` stands for everything below one folder. SQLite reaches it through a VFS of the name `VFS`, everything else
//! through its methods. It tells what was written from what was made durable by fsync, fails at the call that a `Fault`
//! names, and can lose power: of each file and folder, what was not synced is then kept, dropped or torn by chance.

pub mod disk;
pub mod fault;
mod node;
mod vfs;

pub use disk::{Disk, Loss};
pub use fault::{Call, Fault, Harm};
pub use vfs::VFS;

/// Small pseudo-random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// True once in `of` times.
    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}
