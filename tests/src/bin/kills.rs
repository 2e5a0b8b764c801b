//! Kills a real server under load, a thousand times or more: `cargo run -p cairn-tests --bin kills -- --kills 1000`.
//! Ends with an error at the first acknowledged thing that is gone, and with `cairn fsck` and a clone by stock git.

use cairn_tests::kills::{Plan, run};
use clap::Parser;

#[derive(Parser)]
struct Args {
    /// How often.
    #[arg(long, default_value_t = 1_000)]
    kills: u64,
    /// Of the moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The kill falls within so many milliseconds of the start.
    #[arg(long, default_value_t = 150)]
    kill_ms_max: u64,
    /// `cairn fsck` of everything after each so many kills.
    #[arg(long, default_value_t = 50)]
    fsck_every: u64,
}

fn main() {
    let Args { kills, seed, kill_ms_max, fsck_every } = Args::parse();
    let plan = Plan { kills, seed, kill_ms_max: kill_ms_max.max(1), fsck_every: fsck_every.max(1) };
    let tally = run(plan, &mut |tally| eprintln!("{tally:?}"));
    println!("{tally:#?}");
}
