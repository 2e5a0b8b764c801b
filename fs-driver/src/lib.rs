//! Mounts any git remote as a working tree: the whole tree at once, contents on first read.

pub mod errno;
pub mod fs;
pub mod fuse;
pub mod limits;
pub mod overlay;
pub mod port;
pub mod tree;
