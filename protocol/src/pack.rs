//! Packs that others sent: entries, deltas, and the pass that turns a pack into a checked index in bounded memory.
//!
//! [`scan`] reads a pack once in order, [`Scanned::resolver`] plants the forest of its deltas, any number of threads
//! call [`Resolver::work`], and [`Resolver::finish`] judges connectivity and hands back an [`IndexedPack`].

pub mod delta;
pub mod entry;
pub mod inflate;
pub mod limits;
pub mod write;

mod check;
mod deflate;
mod error;
mod facts;
mod forest;
mod index;
mod linkset;
mod reader;
mod resolve;
mod rules;
mod scan;
mod sink;
mod table;
mod window;
mod worker;

pub use check::{Check, LinksOnly, ReadObject};
pub use error::{Class, PackError};
pub use facts::{CommitLinks, Commits, TagLink};
pub use index::{Entry, EntryBase, IndexedPack, Known, NothingKnown, RefBase};
pub use resolve::Resolver;
pub use rules::FsckRules;
pub use scan::{IndexOptions, Scanned, scan};
pub use sink::PackSink;
pub use window::PackBytes;
pub use write::PackWriter;
