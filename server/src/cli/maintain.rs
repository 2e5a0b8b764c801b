//! `cairn fsck` and `cairn backup`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Failure, Place};
use crate::store::catalog::RepoRow;
use crate::store::repo::fsck;
use crate::store::{Files, maintain};

/// Repository files that a check keeps open.
const FSCK_FILES_MAX: usize = 8;

#[derive(Args)]
pub(super) struct FsckArgs {
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct BackupArgs {
    /// Where to; must hold no backup yet.
    to: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Fails where something is wrong.
pub(super) async fn fsck(args: FsckArgs) -> Result<ExitCode, Failure> {
    let app = args.place.open()?;
    // Read-only: a server may be at work in the same folder.
    let files = Files::open_read_only(&app.config.data, FSCK_FILES_MAX);
    let check = |row: &RepoRow| Ok(fsck::fsck(&files, row.object_format, &row.pins));
    let report = maintain::fsck_all(&app.catalog, check).await?;
    if args.json {
        println!("{}", json!({ "repo_count": report.repo_count, "findings": report.findings }));
    } else {
        report.findings.iter().for_each(|line| println!("{line}"));
        println!("{} repositories, {} findings", report.repo_count, report.findings.len());
    }
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) async fn backup(args: BackupArgs) -> Result<ExitCode, Failure> {
    let app = args.place.open()?;
    maintain::backup_all(&app.catalog, &args.to, |to| {
        let (from, to) = (app.config.data.join("repos"), to.join("repos"));
        Ok(fsck::backup_folder(&from, &to)?)
    })
    .await?;
    if args.json {
        println!("{}", json!({ "backup": args.to }));
    } else {
        println!("backed up to {}", args.to.display());
    }
    Ok(ExitCode::SUCCESS)
}
