//! git's side of a mount: the objects that mounts of one remote share, the git dir, its index.

pub mod bases;
pub mod head;
pub mod idx;
pub mod index;
pub mod kept;
pub mod layout;
pub mod loose;
pub mod pack;
pub mod receive;
pub mod staging;
pub mod store;
pub mod text;
pub mod untracked;
