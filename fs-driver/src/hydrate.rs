//! Brings contents and sizes of blobs from the remote: what is waited for first, the rest in the order in which it is needed.

pub mod ahead;
pub mod background;
pub mod hydrator;
pub mod learnt;
pub mod line;
pub mod order;
pub mod queue;
pub mod scan;
pub mod upstream;
