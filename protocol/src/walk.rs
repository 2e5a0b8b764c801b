//! Walks over a repository's graph: which commits, and which objects, answer a fetch.
//!
//! In: references to objects in an [`ObjectSource`](crate::source::ObjectSource). Out: [`ObjSet`]s. Memory is a set of
//! bitmaps, a bounded cache of trees and, for a walk of commits, one entry for each commit that it visits.

mod commits;
mod diverge;
mod reach;
mod reader;
mod select;
mod set;
mod trees;

pub use commits::{ancestors, is_ancestor, merge_reachable};
pub use diverge::{Divergence, diverge};
pub use reach::{Tips, reach};
pub use reader::Reader;
pub use select::{DEPTH_INFINITE, DeepenTo, FullSet, Selection, WalkRequest, each_record, select};
pub use set::ObjSet;
pub use trees::Versions;

/// Bytes of whole objects that one walk keeps, so that delta chains and neighbouring trees are not inflated twice.
pub const READER_CACHE_BYTES: usize = 24 << 20;
/// Deepest nesting of trees that a walk follows; git itself stops at 2,048 (`core.maxTreeDepth`).
pub const TREE_DEPTH_MAX: usize = 2_048;

/// Why a walk stopped.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The store could not answer.
    #[error(transparent)]
    Source(#[from] crate::source::SourceError),
    /// An object that must be there is not: the repository is damaged.
    #[error("object {0} is missing from the repository")]
    Missing(crate::object::ObjectId),
    /// An object cannot be read as what it claims to be.
    #[error("object {id} cannot be read: {why}")]
    Corrupt {
        /// Which one.
        id: crate::object::ObjectId,
        /// What is wrong with it.
        why: String,
    },
    /// An object, or one that it is stored against, is larger than the reader may make.
    #[error("an object of {bytes} bytes would be made, at most {max} are allowed")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// What the reader may make.
        max: u64,
    },
    /// Trees nest deeper than [`TREE_DEPTH_MAX`].
    #[error("trees nest deeper than {TREE_DEPTH_MAX} levels")]
    TooDeep,
    /// `deepen-since` or `deepen-not` left nothing to send.
    #[error("no commits selected for shallow requests")]
    NothingSelected,
}
