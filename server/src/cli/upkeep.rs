//! `cairn maintain`: what keeps files small, on the data folder of a server that is not running.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Failure, Place};
use crate::boot;
use crate::limits::{COMPACT_FREE_SHARE, MAINTAIN_FILES_MAX};
use crate::store::catalog::RepoRow;
use crate::store::repo::Rolled;
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
    // A server holds packs open for its readers, which another process cannot know of.
    let _lock = boot::lock(&args.place.data)?;
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
        match one(&files, row) {
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

/// What was done for one repository: packs, and bytes of its file before and after.
struct Done {
    rolled: Rolled,
    before: u64,
    after: u64,
}

fn one(files: &Files, row: &RepoRow) -> Result<Done, Failure> {
    let path = files.path(row.id);
    let bytes = || std::fs::metadata(&path).map_or(0, |found| found.len());
    let before = bytes();
    let repo = files.repo(row.object_format, &row.pins)?;
    let rolled = repo.roll(2)?;
    repo.compact(COMPACT_FREE_SHARE)?;
    Ok(Done { rolled, before, after: bytes() })
}

fn report(name: &str, done: &Done, is_json: bool) {
    let Done { rolled, before, after } = done;
    let Rolled { packs_in, packs_out, .. } = rolled;
    if is_json {
        let line = json!({
            "repo": name, "packs_in": packs_in, "packs_out": packs_out,
            "pack_bytes_in": rolled.bytes_in, "pack_bytes_out": rolled.bytes_out,
            "file_bytes_before": before, "file_bytes_after": after,
        });
        println!("{line}");
    } else if *packs_in > 0 || before != after {
        println!("{name}: {packs_in} packs into {packs_out}, file of {before} bytes now {after}");
    }
}
