//! REST: a file for each noun. Handlers decode, call `ops` or the catalog, and encode.

pub mod body;
pub mod commits;
pub mod diagnose;
pub mod envelope;
pub mod forks;
pub mod idempotency;
pub mod log;
pub mod multipart;
pub mod namespaces;
pub mod page;
pub mod path;
pub mod refs;
pub mod repos;
pub mod tokens;
