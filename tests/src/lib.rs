//! Starts, faults and watches the real binaries.

pub mod chain;
pub mod kills;
pub mod server;
pub mod small_disk;

pub use server::Server;
