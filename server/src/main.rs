//! The binary `cairn`; everything is in the library.

use std::process::ExitCode;

/// glibc's allocator passes a gigabyte in a minute under many agents that write: it keeps the holes between buffers.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cairn_server::cli::run()
}
