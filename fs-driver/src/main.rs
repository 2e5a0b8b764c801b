//! `cairn-fs`: mounts any git remote as a working tree.

use std::process::ExitCode;

use cairn_fs::cli::{Cli, run};
use clap::Parser;

/// glibc's allocator keeps what the preparation of a large tree took, in the holes of each thread.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cairn-fs: {error}");
            ExitCode::FAILURE
        }
    }
}
