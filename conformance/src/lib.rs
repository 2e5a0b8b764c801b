//! One script of cases against stock git and against Cairn.
//!
//! Each case drives stock clients (git, libgit2, gix, or bytes by hand) against a host and notes *facts*:
//! refs, objects, exit codes, what was said of each ref. The judge runs it on stock `git http-backend` and
//! on the real `cairn` binary and compares the facts. Nothing of the product is imported: a judge that
//! shares code shares its bugs.

pub mod cgi;
pub mod facts;
pub mod fixture;
pub mod front;
pub mod git;
pub mod host;
pub mod http;
pub mod judge;
pub mod pack;
pub mod wire;
