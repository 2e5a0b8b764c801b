//! REST: a file for each noun. Handlers decode, call `ops` or the catalog, and encode.

pub mod api_tokens;
pub mod body;
pub mod diagnose;
pub mod docs;
pub mod envelope;
pub mod forks;
pub mod namespaces;
pub mod page;
pub mod path;
pub mod repos;
pub mod tokens;
