//! `cairn maintain`: what keeps files small. On the data folder itself, or by the server that holds it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use super::http::{Client, Problem, result, route};
use super::target::RepoName;
use super::{Failure, Place};
use crate::app::App;
use crate::boot::{self, BootError};
use crate::jobs::dropping::{self, Keep};
use crate::limits::{COMPACT_FREE_SHARE, MAINTAIN_BATCH_REPOS, MAINTAIN_FILES_MAX};
use crate::store::Files;
use crate::store::catalog::RepoRow;
use crate::store::repo::Want;
use crate::store::repo::dropping::Dropped;

#[derive(Args)]
pub(super) struct MaintainArgs {
    /// NAMESPACE/NAME of one repository.
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// Every repository.
    #[arg(long, conflicts_with = "name")]
    all: bool,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    place: Place,
    /// Print JSON, a line for each repository.
    #[arg(long)]
    json: bool,
}

pub(super) async fn maintain(args: MaintainArgs) -> Result<ExitCode, Failure> {
    // A server holds packs open for its readers, which another process cannot know of: there the server does it.
    let lock = match boot::lock(&args.place.data) {
        Ok(lock) => Some(lock),
        Err(BootError::InUse(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let data = args.place.data.clone();
    let server = if lock.is_none() { Some(server_of(&data, &args.place.account)?) } else { None };
    let app = args.place.open()?;
    let files = Files::open(&app.config.data, MAINTAIN_FILES_MAX);
    let wanted = |row: &RepoRow| {
        args.name.as_ref().is_none_or(|name| *name == format!("{}/{}", row.namespace, row.name))
    };
    let mut found = 0_u64;
    let mut failed = 0_u64;
    let mut last = None;
    loop {
        let batch = app.catalog.all_repos(last.as_ref(), MAINTAIN_BATCH_REPOS).await?;
        for row in batch.iter().filter(|row| wanted(row)) {
            found += 1;
            let name = format!("{}/{}", row.namespace, row.name);
            let done = match &server {
                Some(server) => ask(server, row),
                None => one(&app, &files, row, args.keep.ms()).await,
            };
            match done {
                Ok(done) => report(&name, &done, args.json),
                Err(error) => {
                    failed += 1;
                    eprintln!("{name}: {error}");
                }
            }
        }
        match batch.into_iter().next_back() {
            Some(row) => last = Some(row),
            None => break,
        }
    }
    match (found, failed) {
        (0, _) if !args.all => Err("there is no repository of this name".into()),
        (_, 0) => Ok(ExitCode::SUCCESS),
        (_, failed) => Err(format!("{failed} of {found} repositories failed").into()),
    }
}

/// The server that holds a data folder.
fn server_of(data: &Path, account: &str) -> Result<Client, Failure> {
    let read = |name: &str| std::fs::read_to_string(data.join(name)).map(|text| text.trim().to_owned());
    let origin =
        read("url").map_err(|error| format!("a server uses {}, and its URL: {error}", data.display()))?;
    let token = std::env::var("CAIRN_API_TOKEN").ok().filter(|token| !token.is_empty());
    let token = token.map_or_else(|| read("api-token"), Ok);
    let token = token.map_err(|error| {
        let data = data.display();
        format!(
            "a server uses {data} and maintains it by itself; to ask it now, set CAIRN_API_TOKEN: {error}"
        )
    })?;
    let ca_file = std::env::var_os("CAIRN_CA_FILE").filter(|file| !file.is_empty()).map(PathBuf::from);
    Ok(Client::new(origin.trim_end_matches('/'), account, &token, ca_file.as_deref())?)
}

/// What was done for one repository, as REST tells it.
fn ask(server: &Client, row: &RepoRow) -> Result<Value, Failure> {
    let name = RepoName { namespace: row.namespace.clone(), name: row.name.clone() };
    match server.post(&route(&name, "/maintenance"), &json!({})) {
        Ok(answer) => Ok(result(&answer).clone()),
        // Deleted meanwhile, or still being imported: nothing to do.
        Err(Problem::Refused { status: 404 | 409, .. }) => Ok(Value::Null),
        Err(problem) => Err(problem.into()),
    }
}

/// The same, done here.
async fn one(app: &App, files: &Files, row: &RepoRow, keep_ms: Option<u64>) -> Result<Value, Failure> {
    let repo = files.repo(row.object_format, &row.pins)?;
    let before = repo.file_bytes()?;
    let mut dropped = Dropped::default();
    if let Some(ms) = keep_ms.filter(|_| !row.importing) {
        let keep = Keep { ms, bytes: 0 };
        let done = dropping::pass((files, &app.catalog), row, keep, app.clock.now_ms()).await;
        dropped = done.map_err(|error| error.cause.unwrap_or(error.message))?.dropped;
    }
    let mut rolled = repo.roll(2)?;
    while let Some(step) = repo.roll_step(Want::Dropped(u64::MAX))? {
        rolled.add(step);
    }
    repo.delete_retired()?;
    repo.compact(COMPACT_FREE_SHARE)?;
    Ok(json!({
        "packs_in": rolled.packs_in, "packs_out": rolled.packs_out,
        "pack_bytes_in": rolled.bytes_in, "pack_bytes_out": rolled.bytes_out,
        "dropped_objects": dropped.objects, "dropped_bytes": dropped.bytes,
        "file_bytes_before": before, "file_bytes_after": repo.file_bytes()?, "waiting": false,
    }))
}

fn report(name: &str, done: &Value, is_json: bool) {
    let number = |field: &str| done.get(field).and_then(Value::as_u64).unwrap_or_default();
    let (packs_in, packs_out) = (number("packs_in"), number("packs_out"));
    let dropped = number("dropped_objects");
    let (before, after) = (number("file_bytes_before"), number("file_bytes_after"));
    if is_json {
        let mut line = done.as_object().cloned().unwrap_or_default();
        line.insert("repo".into(), json!(name));
        println!("{}", Value::Object(line));
    } else if packs_in > 0 || before != after || dropped > 0 {
        let waiting = done.get("waiting").and_then(Value::as_bool).unwrap_or_default();
        let more = if waiting { "; what clones under way still read goes later" } else { "" };
        let dropped = if dropped > 0 { format!("{dropped} objects dropped, ") } else { String::new() };
        println!(
            "{name}: {dropped}{packs_in} packs into {packs_out}, file of {before} bytes now {after}{more}"
        );
    }
}

/// How long what no ref names is kept.
#[derive(Args)]
pub(super) struct KeepArgs {
    /// Drop what no ref of a repository named for so many days, while it is maintained. Older states of a repository of which
    /// something was dropped cannot be read any more.
    #[arg(long, env = "CAIRN_KEEP_UNREACHABLE_DAYS", value_name = "DAYS|never", default_value = "30")]
    keep_unreachable_days: Days,
}

impl KeepArgs {
    /// In milliseconds; `None`: for ever.
    pub(super) fn ms(&self) -> Option<u64> {
        self.keep_unreachable_days.0
    }
}

/// A number of days in milliseconds; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Days(Option<u64>);

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let days = || text.parse::<u32>().ok().map(|days| u64::from(days) * 86_400_000);
        match text {
            "never" => Ok(Self(None)),
            _ => days().map(|ms| Self(Some(ms))).ok_or_else(|| format!("{text}: a number of days, or never")),
        }
    }
}

/// How long a repository must be quiet to be maintained by the server, in milliseconds; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quiet(pub(super) Option<u64>);

impl FromStr for Quiet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = || text.parse::<u64>().ok().filter(|seconds| *seconds > 0)?.checked_mul(1_000);
        match text {
            "off" => Ok(Self(None)),
            _ => seconds()
                .map(|ms| Self(Some(ms)))
                .ok_or_else(|| format!("{text}: a number of seconds from 1, or off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Days, Quiet};

    #[test]
    fn days_are_a_number_or_never() {
        let parsed = |text: &str| text.parse::<Days>().ok();
        assert_eq!(parsed("never"), Some(Days(None)));
        assert_eq!(parsed("0"), Some(Days(Some(0))));
        assert_eq!(parsed("30"), Some(Days(Some(2_592_000_000))));
        for bad in ["-1", "", "1.5", "off", "99999999999"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn quiet_is_a_number_of_seconds_or_off() {
        let parsed = |text: &str| text.parse::<Quiet>().ok();
        assert_eq!(parsed("off"), Some(Quiet(None)));
        assert_eq!(parsed("1"), Some(Quiet(Some(1_000))));
        for bad in ["0", "-1", "", "1.5", "never", "99999999999999999999"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
