//! `cairn-fs`: mounts any git remote as a working tree.

use std::process::ExitCode;

use cairn_fs::cli::{Cli, run};
use clap::Parser;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cairn-fs: {error}");
            ExitCode::FAILURE
        }
    }
}
