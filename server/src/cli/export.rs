//! `cairn export`: bundles that stock git reads, out of a data folder.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Failure, Place};
use crate::app::App;
use crate::ops::export::{self, ExportError};
use crate::store::catalog::RepoRow;
use crate::store::{Files, maintain};

/// Repository files that an export keeps open: a fork reads those that it stands on.
const EXPORT_FILES_MAX: usize = 16;
/// What the manifest of all repositories is like.
const MANIFEST_FORMAT: u32 = 1;

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
            let (repos, without) = export_all(&app, &files, Path::new(to)).await?;
            let line = format!("exported {repos} repositories to {to}, {without} of them without a bundle");
            let facts = json!({ "folder": to, "repositories": repos, "withoutBundle": without });
            println!("{}", if args.json { facts.to_string() } else { line });
        }
        (false, [repo, to]) => {
            let (namespace, name) = repo.split_once('/').ok_or("a repository is named NAMESPACE/NAME")?;
            let row = app.catalog.resolve(namespace, name).await?.filter(|row| !row.importing);
            let row = row.ok_or_else(|| format!("{repo}: repository not found"))?;
            let (refs, bytes) = write(&files, &row, args.branch.as_deref(), Path::new(to))?;
            let facts = json!({ "file": to, "refs": refs, "bytes": bytes });
            let line = format!("exported {repo} to {to}: {refs} refs, {bytes} bytes");
            println!("{}", if args.json { facts.to_string() } else { line });
        }
        (true, _) => return Err("--all takes one folder".into()),
        (false, _) => return Err("name a repository and a file, or --all and a folder".into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The bundle appears under its name whole and durable, or not at all; a file that is there stays.
fn write(files: &Files, row: &RepoRow, branch: Option<&str>, to: &Path) -> Result<(u64, u64), Failure> {
    let bundle = export::bundle(files, row, branch)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".cairn-export-").tempfile_in(folder)?;
    let refs = bundle.refs;
    let bytes = bundle.write_to(&mut made.as_file())?;
    made.as_file().sync_all()?;
    let failed = |error: std::io::Error| format!("{}: {error}", to.display());
    made.persist_noclobber(to).map_err(|error| failed(error.error))?;
    fs::File::open(folder)?.sync_all()?;
    Ok((refs, bytes))
}

async fn export_all(app: &App, files: &Files, to: &Path) -> Result<(u64, u64), Failure> {
    fs::create_dir_all(to)?;
    if fs::read_dir(to)?.next().is_some() {
        return Err(format!("{} is not empty", to.display()).into());
    }
    let draft = to.join("manifest.json.tmp");
    let mut manifest = BufWriter::new(fs::File::create_new(&draft)?);
    let time = Timestamp::from_millisecond(app.clock.now_ms())?.to_string();
    write!(manifest, "{{\"format\":{MANIFEST_FORMAT},\"exportedAt\":\"{time}\",\"repositories\":[")?;
    let (mut repos, mut without) = (0, 0);
    maintain::each_repo(&app.catalog, |row| {
        let name = PathBuf::from(&row.namespace).join(format!("{}.bundle", row.name));
        fs::create_dir_all(to.join(&row.namespace))?;
        let why = match row.importing {
            true => Some("its import is under way".to_owned()),
            false => match write(files, row, None, &to.join(&name)) {
                Ok(_) => None,
                Err(error) => match error.downcast::<ExportError>() {
                    Ok(error) if !matches!(*error, ExportError::Op(_)) => Some(error.to_string()),
                    Ok(error) => return Err(format!("{}/{}: {error}", row.namespace, row.name).into()),
                    Err(error) => return Err(error),
                },
            },
        };
        let comma = if repos > 0 { "," } else { "" };
        write!(manifest, "{comma}\n{}", described(row, &name, why.as_deref())?)?;
        repos += 1;
        without += u64::from(why.is_some());
        Ok::<_, Failure>(())
    })
    .await?;
    writeln!(manifest, "\n]}}")?;
    manifest.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    fs::rename(&draft, to.join("manifest.json"))?;
    fs::File::open(to)?.sync_all()?;
    Ok((repos, without))
}

/// What the catalog knows of a repository.
fn described(row: &RepoRow, bundle: &Path, without: Option<&str>) -> Result<Value, Failure> {
    let time = |ms: i64| Timestamp::from_millisecond(ms).map(|time| time.to_string());
    let below: Vec<Value> = row
        .pins
        .iter()
        .skip(1)
        .map(|pin| {
            let only = pin.only.as_ref().map(|name| String::from_utf8_lossy(name).into_owned());
            json!({ "id": pin.id.to_string(), "seq": pin.seq, "only": only })
        })
        .collect();
    Ok(json!({
        "namespace": row.namespace,
        "name": row.name,
        "id": row.id.to_string(),
        "description": row.description,
        "defaultBranch": row.default_branch,
        "objectFormat": row.object_format.name(),
        "readOnly": row.read_only,
        "createdAt": time(row.created_at_ms)?,
        "lastPushAt": row.last_push_at_ms.map(time).transpose()?,
        "source": row.source,
        "forkedFrom": below,
        "bundle": without.is_none().then(|| bundle.to_string_lossy()),
        "withoutBundle": without,
    }))
}
