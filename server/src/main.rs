//! The binary `cairn`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cairn_server::cli::run()
}
