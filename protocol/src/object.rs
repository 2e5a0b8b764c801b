//! Objects: ids, kinds, hashes, their links and the rules that they must obey.

pub mod fsck;
mod id;
mod links;
mod parse;

pub use id::{Collision, HashAlgo, Hasher, Kind, ObjectId, hash_object};
pub use links::for_each_link;
pub use parse::{CommitLinks, ParseError, TreeEntry, TreeIter, commit_links, tag_target};
