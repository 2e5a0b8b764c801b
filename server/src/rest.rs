//! REST: a file for each noun. Handlers decode, call `ops` or the catalog, and encode.

pub mod activity;
pub mod archive;
pub mod ask;
pub mod body;
pub mod cond;
pub mod content;
pub mod diagnose;
pub mod envelope;
pub mod forks;
pub mod imports;
pub mod listing;
pub mod log;
pub mod namespaces;
pub mod objects;
pub mod page;
pub mod path;
pub mod refs;
pub mod repos;
pub mod sniff;
pub mod stream;
pub mod text;
pub mod tokens;
pub mod usage;
