//! `cairn-fs`: the filesystem driver. Only its command line stands so far.

use clap::Parser;

/// Mounts any git remote as a working tree (not built yet: see docs/SHORTCOMINGS.md).
#[derive(Parser)]
#[command(name = "cairn-fs", version, arg_required_else_help = true)]
struct Cli {}

fn main() {
    Cli::parse();
}
