//! What is kept of blobs on this machine: contents for all mounts, sizes for all mounts of one remote.

pub mod blobs;
mod recent;
pub mod sizes;
