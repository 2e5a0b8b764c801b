//! `cairn fsck` and `cairn backup`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Failure, Place};
use crate::store::maintain;

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
}

/// Fails where something is wrong.
pub(super) async fn fsck(args: FsckArgs) -> Result<ExitCode, Failure> {
    let app = args.place.open()?;
    // The check of repository files goes in here.
    let report = maintain::fsck_all(&app.catalog, |_repo| Ok(Vec::new())).await?;
    if args.json {
        println!(
            "{}",
            json!({ "repo_count": report.repo_count, "findings": report.findings })
        );
    } else {
        report.findings.iter().for_each(|line| println!("{line}"));
        println!(
            "{} repositories, {} findings",
            report.repo_count,
            report.findings.len()
        );
    }
    Ok(if report.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

pub(super) async fn backup(args: BackupArgs) -> Result<(), Failure> {
    let app = args.place.open()?;
    // The copy of repository files goes in here; until then a folder that holds some is not backed up by halves.
    let repos = app.config.data.join("repos");
    maintain::backup_all(&app.catalog, &args.to, |_to| match repos.exists() {
        true => Err("copying repository files is not wired".into()),
        false => Ok(()),
    })
    .await
}
