//! Each limit that a caller can reach, at the limit and one past it, and what an error says of it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "edges/bodies.rs"]
mod bodies;
#[path = "edges/built.rs"]
mod built;
#[path = "edges/compared.rs"]
mod compared;
#[path = "edges/kept.rs"]
mod kept;
#[path = "edges/merged.rs"]
mod merged;
#[path = "model/objects.rs"]
#[allow(dead_code, reason = "the packs of these files are made by hand")]
mod objects;
#[path = "edges/pages.rs"]
mod pages;
#[path = "edges/reads.rs"]
mod reads;
#[path = "support/server.rs"]
mod support;
#[path = "model/wire.rs"]
#[allow(dead_code, reason = "these files only push")]
mod wire;
