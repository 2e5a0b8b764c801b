//! REST: a file for each noun. Handlers decode, call `ops` or the catalog, and encode.

pub mod body;
pub mod diagnose;
pub mod envelope;
pub mod forks;
pub mod imports;
pub mod namespaces;
pub mod page;
pub mod path;
pub mod repos;
pub mod tokens;
