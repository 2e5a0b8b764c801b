//! What `git checkout` would write instead of a blob's own bytes (gitattributes): line ends, `$Id$`, encodings.
//!
//! Filters that are commands are never run: such files are shown as they are stored.

pub mod convert;
pub mod rules;
pub mod view;
