//! Objects: ids, kinds, hashes.

mod id;

pub use id::{Collision, HashAlgo, Hasher, Kind, ObjectId, hash_object};
