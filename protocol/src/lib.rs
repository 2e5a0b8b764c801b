//! The git engine of Cairn: bytes in, decisions out. No I/O, no async, no threads, no clock.

#![deny(missing_docs)]

pub mod object;
pub mod pack;
pub mod source;
