//! Cairn's server as a library: the binary is a thin wrapper, integration tests use it in process.

pub mod store;
