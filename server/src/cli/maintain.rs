//! `cairn fsck`, `cairn backup` and `cairn restore`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Failure, Place};
use crate::store::backup::{self, Done};
use crate::store::catalog::RepoRow;
use crate::store::disk::System;
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
    /// Where to: a folder that is absent, empty or holds a backup, which is brought up to date.
    to: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct RestoreArgs {
    /// The folder that holds the backup.
    from: PathBuf,
    /// The data folder to make: absent or empty. With --repo, one that is there, whether a server is at work or not.
    to: PathBuf,
    /// Put back this repository alone, under a new id and without its git tokens.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    repo: Option<String>,
    /// Do not read every object of what was restored.
    #[arg(long, conflicts_with = "repo")]
    no_check: bool,
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
    let done =
        backup::backup(&System, (&app.catalog, &app.config.data), &args.to, app.clock.now_ms()).await?;
    let Done { generation, copied, extended, unchanged, removed } = done;
    if args.json {
        let counts = json!({
            "backup": args.to, "generation": generation, "copied": copied, "extended": extended,
            "unchanged": unchanged, "removed": removed,
        });
        println!("{counts}");
    } else {
        println!(
            "backed up to {}: {copied} files copied, {extended} extended, {unchanged} unchanged, {removed} removed",
            args.to.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restore(args: RestoreArgs) -> Result<ExitCode, Failure> {
    match &args.repo {
        Some(repo) => restore_one(&args, repo).await,
        None => restore_all(&args).await,
    }
}

async fn restore_all(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let count = backup::restore(&System, &args.from, &args.to)?;
    // Opening brings the files of an older program up to date.
    let place = Place { data: args.to.clone(), public_url: None, account: "local".to_owned() };
    let app = place.open()?;
    let files = Files::open_read_only(&args.to, FSCK_FILES_MAX);
    let findings = match args.no_check {
        true => Vec::new(),
        false => {
            let check = |row: &RepoRow| Ok(fsck::fsck(&files, row.object_format, &row.pins));
            maintain::fsck_all(&app.catalog, check).await?.findings
        }
    };
    if args.json {
        println!("{}", json!({ "data": args.to, "files": count, "findings": findings }));
    } else {
        findings.iter().for_each(|line| println!("{line}"));
        println!("restored {count} repository files to {}, {} findings", args.to.display(), findings.len());
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn restore_one(args: &RestoreArgs, repo: &str) -> Result<ExitCode, Failure> {
    let (namespace, name) = repo.split_once('/').ok_or("--repo takes NAMESPACE/NAME")?;
    if !args.to.join("catalog.sqlite").is_file() {
        return Err(format!("{} is no data folder", args.to.display()).into());
    }
    let place = Place { data: args.to.clone(), public_url: None, account: "local".to_owned() };
    let app = place.open()?;
    let target = (&app.catalog, args.to.as_path());
    let put = backup::restore_one(&args.from, target, (namespace, name), app.clock.now_ms()).await?;
    let id = put.row.id.to_string();
    if args.json {
        println!("{}", json!({ "id": id, "repository": repo, "findings": put.findings }));
    } else {
        put.findings.iter().for_each(|line| println!("{line}"));
        println!("restored {repo} as {id}, {} findings; its git tokens are not restored", put.findings.len());
    }
    Ok(if put.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
