//! Mounts any git remote as a working tree: the whole tree at once, contents on first read.

pub mod attributes;
pub mod cache;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod errno;
pub mod fs;
pub mod fuse;
pub mod gitdir;
pub mod hydrate;
pub mod ids;
pub mod limits;
pub mod mount;
mod mount_log;
pub mod overlay;
pub mod port;
pub mod registry;
pub mod repo;
pub mod tree;
