//! Starts, faults and watches the real binaries.

pub mod chain;
pub mod server;

pub use server::Server;
