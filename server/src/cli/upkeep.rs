//! `cairn maintain`: what keeps files small. On the data folder itself, or by the server that holds it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use super::http::{Client, Problem, result, route};
use super::target::RepoName;
use super::{Failure, Place};
use crate::boot::{self, BootError};
use crate::limits::{COMPACT_FREE_SHARE, MAINTAIN_FILES_MAX};
use crate::store::catalog::RepoRow;
use crate::store::{Files, maintain};

#[derive(Args)]
pub(super) struct MaintainArgs {
    /// NAMESPACE/NAME of one repository.
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// Every repository.
    #[arg(long, conflicts_with = "name")]
    all: bool,
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
    maintain::each_repo(&app.catalog, |row| {
        if !wanted(row) {
            return Ok::<_, Failure>(());
        }
        found += 1;
        let name = format!("{}/{}", row.namespace, row.name);
        let done = match &server {
            Some(server) => ask(server, row),
            None => one(&files, row),
        };
        match done {
            Ok(done) => report(&name, &done, args.json),
            Err(error) => {
                failed += 1;
                eprintln!("{name}: {error}");
            }
        }
        Ok(())
    })
    .await?;
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
fn one(files: &Files, row: &RepoRow) -> Result<Value, Failure> {
    let repo = files.repo(row.object_format, &row.pins)?;
    let before = repo.file_bytes()?;
    let rolled = repo.roll(2)?;
    repo.compact(COMPACT_FREE_SHARE)?;
    Ok(json!({
        "packs_in": rolled.packs_in, "packs_out": rolled.packs_out,
        "pack_bytes_in": rolled.bytes_in, "pack_bytes_out": rolled.bytes_out,
        "file_bytes_before": before, "file_bytes_after": repo.file_bytes()?, "waiting": false,
    }))
}

fn report(name: &str, done: &Value, is_json: bool) {
    let number = |field: &str| done.get(field).and_then(Value::as_u64).unwrap_or_default();
    let (packs_in, packs_out) = (number("packs_in"), number("packs_out"));
    let (before, after) = (number("file_bytes_before"), number("file_bytes_after"));
    if is_json {
        let mut line = done.as_object().cloned().unwrap_or_default();
        line.insert("repo".into(), json!(name));
        println!("{}", Value::Object(line));
    } else if packs_in > 0 || before != after {
        let waiting = done.get("waiting").and_then(Value::as_bool).unwrap_or_default();
        let more = if waiting { "; what clones under way still read goes later" } else { "" };
        println!("{name}: {packs_in} packs into {packs_out}, file of {before} bytes now {after}{more}");
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
    use super::Quiet;

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
