//! `cairn log`, `cat`, `ls`, `activity`, `usage` and `archive`: reading without a clone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;
use ureq::http::header;

use super::http::{Payload, Problem, parts, result, route};
use super::show;
use super::target::{Spot, Target};

/// A moment of a repository, for every command that reads.
#[derive(Args)]
pub(super) struct Moment {
    /// As of the number of an entry or an RFC 3339 time
    #[arg(long, value_name = "SEQ|TIME")]
    at: Option<String>,
}

/// The parts of a query that were given.
type Query<'a> = Vec<(&'a str, &'a str)>;

fn query<'a>(spot: &'a Spot, moment: &'a Moment) -> Query<'a> {
    let parts = [("ref", &spot.reference), ("path", &spot.path), ("at", &moment.at)];
    parts.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect()
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn log team/site\n  cairn log team/site@v1.2:src/main.rs --limit 5\n  \
    cairn log team/site --all --oneline\n  cairn log team/site --at 2026-01-31T12:00:00Z --json"
)]
pub(super) struct LogArgs {
    #[command(flatten)]
    target: Target,
    /// NAMESPACE/NAME[@REF][:PATH]; only commits that changed PATH
    #[arg(value_name = "NS/NAME[@REF][:PATH]")]
    of: String,
    /// How many commits at most
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: usize,
    /// All that the ref reaches, not first parents alone
    #[arg(long)]
    all: bool,
    /// One line for each commit
    #[arg(long)]
    oneline: bool,
    #[command(flatten)]
    moment: Moment,
}

pub(super) fn log(args: LogArgs) -> Result<(), Problem> {
    let (client, spot) = (args.target.client()?, args.target.spot(&args.of)?);
    let mut query = query(&spot, &args.moment);
    let limit = args.limit.min(1_000).to_string();
    query.push(("limit", &limit));
    if args.all {
        query.push(("all", "true"));
    }
    let commits = client.all(&route(&spot.repo, "/log"), &query, args.limit)?;
    if args.target.json {
        return show::json(&Value::Array(commits));
    }
    commits.iter().try_for_each(|commit| match args.oneline {
        true => show::line(&one_line(commit)),
        false => whole(commit),
    })
}

/// A commit's short id and the first line of its message.
pub(super) fn one_line(commit: &Value) -> String {
    let message = commit.get("message").and_then(Value::as_str).unwrap_or_default();
    let hash: String = show::text(commit, "hash").chars().take(10).collect();
    format!("{hash} {}", show::clean(message.lines().next().unwrap_or_default()))
}

fn whole(commit: &Value) -> Result<(), Problem> {
    show::line(&format!("commit {}", show::text(commit, "hash")))?;
    let parents = commit.get("parents").and_then(Value::as_array).cloned().unwrap_or_default();
    if parents.len() > 1 {
        let short = |id: &Value| id.as_str().unwrap_or_default().chars().take(10).collect::<String>();
        show::line(&format!("Merge:  {}", parents.iter().map(short).collect::<Vec<_>>().join(" ")))?;
    }
    let author = commit.get("author").unwrap_or(&Value::Null);
    show::line(&format!("Author: {} <{}>", show::text(author, "name"), show::text(author, "email")))?;
    let seconds = commit.get("authoredAt").and_then(Value::as_i64).unwrap_or_default();
    show::line(&format!("Date:   {}\n", show::time(seconds)))?;
    let message = commit.get("message").and_then(Value::as_str).unwrap_or_default();
    message.lines().try_for_each(|text| show::line(format!("    {}", show::clean(text)).trim_end()))?;
    show::line("")
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn cat team/site:README.md\n  cairn cat team/site@v1.2:src/main.rs >main.rs"
)]
pub(super) struct CatArgs {
    #[command(flatten)]
    target: Target,
    /// NAMESPACE/NAME[@REF]:PATH
    #[arg(value_name = "NS/NAME[@REF]:PATH")]
    of: String,
    #[command(flatten)]
    moment: Moment,
}

pub(super) fn cat(args: CatArgs) -> Result<(), Problem> {
    let (client, spot) = (args.target.client()?, args.target.spot(&args.of)?);
    if spot.path.as_ref().is_none_or(String::is_empty) {
        return Err(Problem::Usage(format!("{} names no file: NAMESPACE/NAME[@REF]:PATH does", args.of)));
    }
    let mut query = query(&spot, &args.moment);
    if spot.reference.is_none() {
        query.push(("ref", "HEAD"));
    }
    let answer = client.raw("GET", &route(&spot.repo, "/file"), &query, Payload::None)?;
    let mut from = answer.into_body().into_with_config().limit(u64::MAX).reader();
    match copy(&mut from, &mut io::stdout().lock(), &indicatif::ProgressBar::hidden())? {
        Copied::All(_) | Copied::NobodyReads => Ok(()),
    }
}

enum Copied {
    All(u64),
    NobodyReads,
}

/// Copies to the end in bounded memory, and moves the bar.
fn copy(from: &mut dyn Read, to: &mut dyn Write, bar: &indicatif::ProgressBar) -> Result<Copied, Problem> {
    let (mut buffer, mut copied) = (vec![0; 64 << 10], 0);
    loop {
        let count = from
            .read(&mut buffer)
            .map_err(|error| Problem::Failed(format!("the answer broke off: {error}")))?;
        if count == 0 {
            to.flush()?;
            return Ok(Copied::All(copied));
        }
        match to.write_all(&buffer[..count]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Copied::NobodyReads),
            done => done?,
        }
        copied += count as u64;
        bar.set_position(copied);
    }
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn ls team/site\n  cairn ls -l team/site@main:src\n  cairn ls -r team/site --json"
)]
pub(super) struct LsArgs {
    #[command(flatten)]
    target: Target,
    /// NAMESPACE/NAME[@REF][:PATH]
    #[arg(value_name = "NS/NAME[@REF][:PATH]")]
    of: String,
    /// With all that lies below
    #[arg(short, long)]
    recursive: bool,
    /// With mode, id and size
    #[arg(short, long)]
    long: bool,
    /// How many entries at most
    #[arg(long, default_value_t = 100_000)]
    limit: usize,
    #[command(flatten)]
    moment: Moment,
}

pub(super) fn ls(args: LsArgs) -> Result<(), Problem> {
    let (client, spot) = (args.target.client()?, args.target.spot(&args.of)?);
    let mut query = query(&spot, &args.moment);
    query.push(("limit", "1000"));
    if args.recursive {
        query.push(("recursive", "true"));
    }
    let entries = client.all(&route(&spot.repo, "/tree"), &query, args.limit)?;
    if args.target.json {
        return show::json(&Value::Array(entries));
    }
    let path = |entry: &Value| {
        let slash = if show::text(entry, "type") == "tree" { "/" } else { "" };
        format!("{}{slash}", show::text(entry, if args.recursive { "path" } else { "name" }))
    };
    match args.long {
        false => entries.iter().try_for_each(|entry| show::line(&path(entry))),
        true => entries.iter().try_for_each(|entry| {
            let [mode, hash, size] = ["mode", "hash", "size"].map(|field| show::text(entry, field));
            let size = if size.is_empty() { "-" } else { &size };
            show::line(&format!("{mode:0>6} {hash} {size:>10} {}", path(entry)))
        }),
    }
}

#[derive(Args)]
#[command(after_help = "Examples:\n  cairn activity team/site\n  cairn activity team/site --limit 5 --json")]
pub(super) struct ActivityArgs {
    #[command(flatten)]
    target: Target,
    /// NAMESPACE/NAME
    #[arg(value_name = "NS/NAME")]
    of: String,
    /// How many entries at most
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    moment: Moment,
}

pub(super) fn activity(args: ActivityArgs) -> Result<(), Problem> {
    let (client, spot) = (args.target.client()?, args.target.spot(&args.of)?);
    let mut query = query(&spot, &args.moment);
    let limit = args.limit.min(100).to_string();
    query.push(("limit", &limit));
    let entries = client.all(&route(&spot.repo, "/activity"), &query, args.limit)?;
    if args.target.json {
        return show::json(&Value::Array(entries));
    }
    let change = |change: &Value| {
        let [name, old, new] = ["name", "old", "new"].map(|field| show::text(change, field));
        let short = |id: &str| if id.is_empty() { "-".to_owned() } else { id.chars().take(10).collect() };
        format!("{name} {}→{}", short(&old), short(&new))
    };
    let rows = entries.iter().map(|entry| {
        let changes = entry.get("ref_changes").and_then(Value::as_array).cloned().unwrap_or_default();
        let changes: Vec<String> = changes.iter().take(3).map(change).collect();
        let [seq, time, kind, actor] = ["seq", "time", "kind", "actor"].map(|field| show::text(entry, field));
        vec![seq, time, kind, actor, changes.join(", ")]
    });
    show::table(&["#seq", "time", "kind", "actor", "changes"], rows)
}

#[derive(Args)]
#[command(after_help = "Example:\n  cairn usage team/site")]
pub(super) struct UsageArgs {
    #[command(flatten)]
    target: Target,
    /// NAMESPACE/NAME
    #[arg(value_name = "NS/NAME")]
    of: String,
    #[command(flatten)]
    moment: Moment,
}

pub(super) fn usage(args: UsageArgs) -> Result<(), Problem> {
    let (client, spot) = (args.target.client()?, args.target.spot(&args.of)?);
    let answer = client.get(&route(&spot.repo, "/usage"), &query(&spot, &args.moment))?;
    let held = result(&answer);
    if args.target.json {
        return show::json(held);
    }
    let fields = ["bytes", "objects", "packs", "entries"];
    let row = |what: &str, held: &Value| {
        let counts = fields.iter().map(|field| show::text(held, field));
        std::iter::once(what.to_owned()).chain(counts).collect::<Vec<_>>()
    };
    let rows = [row("own", &held["own"]), row("shared", &held["shared"]), row("all", held)];
    show::table(&["", "#bytes", "#objects", "#packs", "#entries"], rows)
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    #[value(name = "tar.gz", alias = "tgz")]
    TarGz,
    Tar,
    Zip,
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn archive team/site -o site.tar.gz\n  cairn archive team/site@v1.2 --format zip -o v1.2.zip\n  \
    cairn archive team/site | tar -xz"
)]
pub(super) struct ArchiveArgs {
    #[command(flatten)]
    target: Target,
    /// NAMESPACE/NAME[@REF]
    #[arg(value_name = "NS/NAME[@REF]")]
    of: String,
    /// Where to; standard output if absent. Its ending says the format where --format does not
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// tar.gz, tar or zip
    #[arg(long)]
    format: Option<Format>,
    #[command(flatten)]
    moment: Moment,
}

pub(super) fn archive(args: ArchiveArgs) -> Result<(), Problem> {
    let (client, spot) = (args.target.client()?, args.target.spot(&args.of)?);
    let named = args.output.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let ending = match args.format {
        Some(Format::Zip) => "zip",
        Some(Format::Tar) => "tar",
        Some(Format::TarGz) => "tar.gz",
        None if named.ends_with(".zip") => "zip",
        None if named.ends_with(".tar") => "tar",
        None => "tar.gz",
    };
    let reference = spot.reference.as_deref().unwrap_or("HEAD");
    let path = route(&spot.repo, &format!("/archive/{}.{ending}", parts(reference)));
    let at: Query<'_> = args.moment.at.as_deref().map(|at| ("at", at)).into_iter().collect();
    let answer = client.raw("GET", &path, &at, Payload::None)?;
    let length =
        answer.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let bar = show::progress("archive", length);
    let mut from = answer.into_body().into_with_config().limit(u64::MAX).reader();
    let Some(output) = args.output else {
        copy(&mut from, &mut io::stdout().lock(), &bar)?;
        return Ok(());
    };
    // Half an archive never has the name of a whole one.
    let partial =
        output.with_file_name(format!("{}.part", output.file_name().unwrap_or_default().to_string_lossy()));
    let done =
        File::create(&partial).map_err(Problem::from).and_then(|mut file| copy(&mut from, &mut file, &bar));
    bar.finish_and_clear();
    let done = done.and_then(|done| std::fs::rename(&partial, &output).map(|()| done).map_err(Problem::from));
    match done {
        Ok(Copied::All(bytes)) if !args.target.json => {
            show::line(&format!("{}: {bytes} bytes", output.display()))
        }
        Ok(Copied::All(bytes)) => show::json(&serde_json::json!({ "file": output, "bytes": bytes })),
        Ok(Copied::NobodyReads) => Ok(()),
        Err(problem) => {
            std::fs::remove_file(&partial).ok();
            Err(problem)
        }
    }
}
