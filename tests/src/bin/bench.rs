//! Cairn beside stock git, on any local repository, in one run: a table of figures, ratios and bars.
//!
//! Measures and never asserts: a row that fails says why and the others go on. `docs/BENCHMARKS.md`
//! tells what each row means. The bars are those of the design's section on speed and size.

use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;

#[path = "../bench/catalog.rs"]
mod catalog;
#[path = "../bench/contents.rs"]
mod contents;
#[path = "../bench/context.rs"]
mod context;
#[path = "../bench/fetch.rs"]
mod fetch;
#[path = "../bench/forks.rs"]
mod forks;
#[path = "../bench/http.rs"]
mod http;
#[path = "../bench/idle.rs"]
mod idle;
#[path = "../bench/made.rs"]
mod made;
#[path = "../bench/maintain.rs"]
mod maintain;
#[path = "../bench/memory.rs"]
mod memory;
#[path = "../bench/pkt.rs"]
mod pkt;
#[path = "../bench/proc.rs"]
mod proc;
#[path = "../bench/push.rs"]
mod push;
#[path = "../bench/rates.rs"]
mod rates;
#[path = "../bench/report.rs"]
mod report;
#[path = "../bench/server.rs"]
mod server;
#[path = "../bench/stock.rs"]
mod stock;

use context::Context;
use report::{Figure, Row, Unit};

/// A bench reports its errors to a person; nobody acts on their kind.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Groups that run when `--rows` is not given; the others take long or much memory.
const DEFAULT_GROUPS: [&str; 4] = ["push", "fetch", "ls-refs", "rates"];
const GROUPS: [&str; 11] =
    ["push", "fetch", "ls-refs", "rates", "forks", "file", "commits", "memory", "catalog", "idle", "maintain"];

/// Measure Cairn beside stock git on one repository.
#[derive(Parser)]
struct Args {
    /// The repository to measure with; it is only read.
    #[arg(long, required_unless_present = "made_mib")]
    repo: Option<PathBuf>,
    /// Measure with a repository that is made for the run: so many MiB of random blobs in varied sizes.
    #[arg(long, conflicts_with = "repo", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    made_mib: Option<u64>,
    /// The server's binary; by default the one beside this.
    #[arg(long)]
    cairn: Option<PathBuf>,
    /// Where to write the report as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Groups (push, fetch, ls-refs, rates, forks, file, commits, memory, catalog, idle, maintain), ids of fetch rows, or
    /// `all`.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Leave stock git out of the memory rows, where it takes most of the time.
    #[arg(long)]
    memory_alone: bool,
    /// Paired rounds per row; the table shows medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Repositories of the catalog rows.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    repos: u32,
    /// Small pushes of the maintain rows.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pushes: u32,
    /// Folder for all data of the run; its disk is what is measured.
    #[arg(long)]
    temp: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    machine: String,
    git: String,
    repository: String,
    rounds: u32,
    rows: &'a [Row],
}

fn main() -> Result<()> {
    let args = Args::parse();
    let known = |row: &&String| {
        let fetch = row.strip_suffix("-repeat").unwrap_or(row);
        row.as_str() == "all" || GROUPS.contains(&row.as_str()) || fetch::IDS.contains(&fetch)
    };
    if let Some(unknown) = args.rows.iter().find(|row| !known(row)) {
        return Err(format!(
            "no such row: {unknown}; there are all, {}, {}",
            GROUPS.join(", "),
            fetch::IDS.join(", ")
        )
        .into());
    }
    let parent = args.temp.clone().unwrap_or_else(std::env::temp_dir);
    let temp = tempfile::Builder::new().prefix("cairn-bench-").tempdir_in(parent)?;
    let cairn = match &args.cairn {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("cairn"),
    };
    let counts = (args.rounds, args.repos, args.pushes);
    let mut context = Context::new(cairn, temp, counts)?;
    context.memory_alone = args.memory_alone;
    match (args.made_mib, &args.repo) {
        (Some(mib), _) => context.make(mib << 20)?,
        (None, Some(repo)) => context.repo = repo.canonicalize()?,
        (None, None) => return Err("there is no repository to measure with".into()),
    }
    let rows = measure(&mut context, &args.rows);

    let machine = proc::machine();
    let git = context.git.text(&["--version"])?;
    let repository = context.source().map(|source| source.about).unwrap_or_default();
    println!("{machine}; {git}; {repository}; {} rounds", args.rounds);
    report::print(&rows);
    if let Some(path) = &args.json {
        let report = Report { machine, git, repository, rounds: args.rounds, rows: &rows };
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

/// Runs what was asked for, group by group. Pushing comes first: what it loads, the others read.
fn measure(context: &mut Context, asked: &[String]) -> Vec<Row> {
    let group = |name: &str| {
        let listed = asked.iter().any(|row| row == name || row == "all");
        listed || (asked.is_empty() && DEFAULT_GROUPS.contains(&name))
    };
    let fetch_row = |id: &str| group("fetch") || asked.iter().any(|row| row == id);
    let any_fetch = fetch::IDS.iter().any(|id| fetch_row(id) || fetch_row(&format!("{id}-repeat")));
    let mut rows = Vec::new();
    let mut take = |name: &str, measured: Result<Vec<Row>>| {
        rows.extend(measured.unwrap_or_else(|error| {
            let cairn = Figure::one("cairn", Err(error));
            vec![Row { cairn, ..Row::new(name, Unit::Count, &[]) }]
        }));
    };
    if group("push") {
        take("push", push::rows(context));
    }
    if any_fetch {
        take("fetch", fetch::rows(context, &fetch_row));
    }
    if group("ls-refs") {
        take("ls-refs", push::ls_refs(context));
    }
    if group("rates") {
        take("rates", rates::rows(context));
    }
    if group("forks") {
        take("forks", forks::rows(context));
    }
    if group("file") {
        take("file", contents::file(context));
    }
    if group("commits") {
        take("commits", contents::commits(context));
    }
    if group("memory") {
        take("memory", memory::peaks(context));
    }
    if group("maintain") {
        take("maintain", maintain::rows(context));
    }
    if group("catalog") {
        take("catalog", catalog::rows(context));
    }
    if group("idle") {
        take("idle", idle::rows(context));
    }
    rows
}
