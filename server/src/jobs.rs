//! What outlives a request: it goes on when the caller is gone, and at the next start when the process is.

pub mod dropping;
pub mod import;
pub mod limits;
pub mod maintenance;
mod retry;
