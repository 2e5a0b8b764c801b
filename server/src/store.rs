//! The only door to SQLite: the catalog, and a file for each repository that holds anything.

pub mod catalog;
pub mod id;
pub mod maintain;

pub use id::{Pin, RepoId};
