//! The git engine of Cairn: bytes in, decisions out. No I/O, no async, no threads, no clock.

#![deny(missing_docs)]

pub mod capability;
pub mod filter;
pub mod limit;
pub mod limits;
pub mod object;
pub mod pack;
pub mod pktline;
pub mod plan;
pub mod receive_pack;
pub mod refs;
pub mod request;
pub mod scan;
pub mod source;
pub mod tree_edit;
pub mod upload_pack;
pub mod walk;
