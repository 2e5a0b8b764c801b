//! Mounts any git remote as a working tree: the whole tree at once, contents on first read.

pub mod port;
