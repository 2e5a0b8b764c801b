//! The settings of `cairn serve` that say how much memory large work may take.

use clap::Args;

use crate::config::Memory;
use crate::limits::{MEMORY_BUDGET_BYTES, MEMORY_UPLOAD_WAIT_MS_MAX, MEMORY_WAIT_MS_MAX, MEMORY_WAITING_MAX};

#[derive(Args)]
pub(super) struct MemoryArgs {
    /// Memory that all requests together take for large work, in bytes. What needs more takes all of it and runs alone.
    #[arg(long, env = "CAIRN_MEMORY_BUDGET", value_name = "BYTES", default_value_t = MEMORY_BUDGET_BYTES, value_parser = clap::value_parser!(u64).range(1..))]
    memory_budget: u64,
    /// Answer 503 to a request that waits longer for its share, in milliseconds.
    #[arg(long, env = "CAIRN_MEMORY_WAIT_MS", default_value_t = MEMORY_WAIT_MS_MAX)]
    memory_wait_ms: u64,
    /// The same for a push that is uploaded.
    #[arg(long, env = "CAIRN_MEMORY_UPLOAD_WAIT_MS", default_value_t = MEMORY_UPLOAD_WAIT_MS_MAX)]
    memory_upload_wait_ms: u64,
    /// Answer 503 at once where so many requests wait.
    #[arg(long, env = "CAIRN_MEMORY_WAITING", value_name = "REQUESTS", default_value_t = MEMORY_WAITING_MAX)]
    memory_waiting: usize,
}

impl From<MemoryArgs> for Memory {
    fn from(args: MemoryArgs) -> Self {
        Self {
            budget_bytes: args.memory_budget,
            wait_ms: args.memory_wait_ms,
            upload_wait_ms: args.memory_upload_wait_ms,
            waiting_max: args.memory_waiting,
        }
    }
}
