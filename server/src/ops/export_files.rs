//! Bundles as files: that of one repository, or those of all with a manifest of what bundles do not hold.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::export::{ExportError, bundle};
use crate::store::catalog::{Catalog, CatalogError, RepoRow};
use crate::store::disk::Disk;
use crate::store::{Files, maintain};

/// What the manifest of all repositories is like.
const MANIFEST_FORMAT: u32 = 1;
/// Bytes of a manifest that wait in memory until it is whole; a longer one waits in a file without a name.
const MANIFEST_MEMORY_BYTES: usize = 1 << 20;

/// Why there is no such file.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no bundle.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// One of all repositories cannot be read.
    #[error("{repo}: {source}")]
    Repo {
        /// Namespace and name.
        repo: String,
        /// Why.
        source: Box<Self>,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Nothing is written beside what is there.
    #[error("{0} is not empty")]
    NotEmpty(PathBuf),
    /// A file or folder cannot be made.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A time that cannot be shown.
    #[error(transparent)]
    Time(#[from] jiff::Error),
}

/// What an export of all repositories is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Repositories in the manifest.
    pub repos: u64,
    /// Those of them that no bundle can hold.
    pub without: u64,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::File { path, source }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes the bundle of a repository, or of one branch; how many refs and bytes it has. It appears under its name whole
/// and durable, or not at all; a file that is there stays.
pub fn write(
    disk: &dyn Disk,
    files: &Files,
    row: &RepoRow,
    branch: Option<&str>,
    to: &Path,
) -> Result<(u64, u64), WriteError> {
    let bundle = bundle(files, row, branch)?;
    let refs = bundle.refs;
    let (mut bundle, mut written) = (Some(bundle), None);
    let made = disk.make_file_of(to, &mut |out| {
        let done = bundle.take().map(|bundle| bundle.write_to(out));
        let is_done = matches!(done, Some(Ok(_)));
        written = done;
        if is_done { Ok(()) } else { Err(io::Error::other("the bundle broke off")) }
    });
    let bytes = match written {
        // Why it broke off says more than that it did.
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(bytes)) => bytes,
        None => 0,
    };
    made.map_err(at(to))?;
    disk.sync_folder(folder_of(to)).map_err(at(to))?;
    Ok((refs, bytes))
}

/// Writes every repository's bundle and the manifest into the folder `to`, which must be absent or empty. The manifest
/// comes last: a folder without it is no export.
pub async fn write_all(
    disk: &dyn Disk,
    (catalog, files): (&Catalog, &Files),
    to: &Path,
    now_ms: i64,
) -> Result<Written, WriteError> {
    make_folders(disk, to)?;
    if !disk.list(to).map_err(at(to))?.is_empty() {
        return Err(WriteError::NotEmpty(to.to_owned()));
    }
    let manifest = to.join("manifest.json");
    let mut rows = tempfile::spooled_tempfile(MANIFEST_MEMORY_BYTES);
    let time = Timestamp::from_millisecond(now_ms)?;
    write!(rows, "{{\"format\":{MANIFEST_FORMAT},\"exportedAt\":\"{time}\",\"repositories\":[")
        .map_err(at(&manifest))?;
    let mut written = Written::default();
    maintain::each_repo(catalog, |row| {
        let name = PathBuf::from(&row.namespace).join(format!("{}.bundle", row.name));
        make_folders(disk, &to.join(&row.namespace))?;
        let why = match row.importing {
            true => Some("its import is under way".to_owned()),
            false => match write(disk, files, row, None, &to.join(&name)) {
                Ok(_) => None,
                Err(WriteError::Export(error)) if !matches!(error, ExportError::Op(_)) => {
                    Some(error.to_string())
                }
                Err(error) => {
                    let repo = format!("{}/{}", row.namespace, row.name);
                    return Err(WriteError::Repo { repo, source: Box::new(error) });
                }
            },
        };
        let comma = if written.repos > 0 { "," } else { "" };
        write!(rows, "{comma}\n{}", described(row, &name, why.as_deref())?).map_err(at(&manifest))?;
        written.repos += 1;
        written.without += u64::from(why.is_some());
        Ok::<_, WriteError>(())
    })
    .await?;
    let mut end = || {
        writeln!(rows, "\n]}}")?;
        rows.seek(SeekFrom::Start(0))?;
        disk.make_file_of(&manifest, &mut |out| io::copy(&mut rows, out).map(drop))?;
        disk.sync_folder(to)
    };
    end().map_err(at(&manifest))?;
    Ok(written)
}

/// `create_dir_all`, with each new name made durable in its parent.
fn make_folders(disk: &dyn Disk, folder: &Path) -> Result<(), WriteError> {
    if folder.as_os_str().is_empty() || disk.exists(folder).map_err(at(folder))? {
        return Ok(());
    }
    make_folders(disk, folder.parent().unwrap_or(Path::new("")))?;
    disk.make_folder(folder).map_err(at(folder))?;
    disk.sync_folder(folder_of(folder)).map_err(at(folder))
}

/// What the catalog knows of a repository.
fn described(row: &RepoRow, bundle: &Path, without: Option<&str>) -> Result<Value, WriteError> {
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
