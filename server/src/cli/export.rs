//! `cairn export`: bundles that stock git reads, out of a data folder.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Failure, Place};
use crate::ops::export_files::{Written, write, write_all};
use crate::store::Files;
use crate::store::disk::System;

/// Repository files that an export keeps open: a fork reads those that it stands on.
const EXPORT_FILES_MAX: usize = 16;

#[derive(Args)]
#[command(after_help = "Examples:\n  cairn export default/app app.bundle && git clone app.bundle\n  \
    cairn export --all exported/")]
pub(super) struct ExportArgs {
    /// NAMESPACE/NAME and the file to make; with --all, the folder to make.
    #[arg(required = true, num_args = 1..=2, value_names = ["NAMESPACE/NAME", "FILE"])]
    what: Vec<String>,
    /// Every repository as a bundle, and manifest.json with what a bundle does not hold.
    #[arg(long)]
    all: bool,
    /// This branch alone.
    #[arg(long, conflicts_with = "all")]
    branch: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn export(args: ExportArgs) -> Result<ExitCode, Failure> {
    let app = args.place.open()?;
    // Read-only: a server may be at work in the same folder.
    let files = Files::open_read_only(&app.config.data, EXPORT_FILES_MAX);
    match (args.all, args.what.as_slice()) {
        (true, [to]) => {
            let (from, now_ms) = ((&app.catalog, &files), app.clock.now_ms());
            let Written { repos, without } = write_all(&System, from, Path::new(to), now_ms).await?;
            let line = format!("exported {repos} repositories to {to}, {without} of them without a bundle");
            let facts = json!({ "folder": to, "repositories": repos, "withoutBundle": without });
            println!("{}", if args.json { facts.to_string() } else { line });
        }
        (false, [repo, to]) => {
            let (namespace, name) = repo.split_once('/').ok_or("a repository is named NAMESPACE/NAME")?;
            let row = app.catalog.resolve(namespace, name).await?.filter(|row| !row.importing);
            let row = row.ok_or_else(|| format!("{repo}: repository not found"))?;
            let (refs, bytes) = write(&System, &files, &row, args.branch.as_deref(), Path::new(to))?;
            let facts = json!({ "file": to, "refs": refs, "bytes": bytes });
            let line = format!("exported {repo} to {to}: {refs} refs, {bytes} bytes");
            println!("{}", if args.json { facts.to_string() } else { line });
        }
        (true, _) => return Err("--all takes one folder".into()),
        (false, _) => return Err("name a repository and a file, or --all and a folder".into()),
    }
    Ok(ExitCode::SUCCESS)
}
