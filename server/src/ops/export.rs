//! Bundles: a repository as one file that stock git clones and fetches from (gitformat-bundle).
//!
//! Version 2 for SHA-1, version 3 for SHA-256, without prerequisites. The pack is made batch by batch from stored bytes, so
//! memory is that of one fetch whatever the size. A bundle cannot say where a cut history ends, so such a repository is
//! refused.

use std::io::Write;
use std::sync::Arc;

use cairn_protocol::object::HashAlgo;
use cairn_protocol::plan::{PackStream, PlanOptions, build};
use cairn_protocol::source::ObjectSource;
use cairn_protocol::walk::{ObjSet, Reader, reach};

use super::OpError;
use super::pack_answer::BATCH_BYTES_MAX;
use super::shallow::cut_of;
use crate::store::Files;
use crate::store::catalog::RepoRow;
use crate::store::repo::Snapshot;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// git makes no bundle of nothing.
    #[error("the repository has no refs, and a bundle needs one")]
    Empty,
    /// The branch is not there.
    #[error("the repository has no branch {0}")]
    NoBranch(String),
    /// Its history was imported to a depth.
    #[error("the history is cut at {0} commits, and a bundle cannot say so: clone it instead")]
    Cut(usize),
    /// The repository cannot be read.
    #[error(transparent)]
    Op(OpError),
}

impl<E: Into<OpError>> From<E> for ExportError {
    fn from(error: E) -> Self {
        Self::Op(error.into())
    }
}

/// A bundle that is ready to be written.
pub struct Bundle {
    snapshot: Snapshot,
    head: Vec<u8>,
    stream: PackStream,
    /// How many refs it has, `HEAD` not counted.
    pub refs: u64,
}

/// A bundle of all refs of a repository, or of one branch. Blocks, as writing it does. Changes nothing in `files`.
pub fn bundle(files: &Files, row: &RepoRow, branch: Option<&str>) -> Result<Bundle, ExportError> {
    let snapshot = files.repo(row.object_format, &row.pins)?.snapshot(None)?;
    let mut refs = Vec::new();
    match branch {
        Some(branch) => {
            let name = format!("refs/heads/{branch}").into_bytes();
            let found = snapshot.reference(&name)?;
            refs.push((found.ok_or_else(|| ExportError::NoBranch(branch.to_owned()))?.id, name));
        }
        None => {
            let head = snapshot.reference(format!("refs/heads/{}", row.default_branch).as_bytes())?;
            // A clone finds its branch by it.
            refs.extend(head.map(|head| (head.id, b"HEAD".to_vec())));
            snapshot.refs(b"", &mut |row| {
                refs.push((row.id, row.name));
                true
            })?;
        }
    }
    if refs.is_empty() {
        return Err(ExportError::Empty);
    }
    let mut head = match row.object_format {
        HashAlgo::Sha1 => b"# v2 git bundle\n".to_vec(),
        HashAlgo::Sha256 => b"# v3 git bundle\n@object-format=sha256\n".to_vec(),
    };
    for (id, name) in &refs {
        head.extend_from_slice(format!("{id} ").as_bytes());
        head.extend_from_slice(name);
        head.push(b'\n');
    }
    head.push(b'\n');
    let ids: Vec<_> = refs.iter().map(|(id, _)| *id).collect();
    let mut tips: Vec<_> = snapshot.lookup_many(&ids)?.into_iter().flatten().collect();
    tips.sort_unstable();
    tips.dedup();
    let mut reader = Reader::new(&snapshot, row.object_format);
    let set = reach(&mut reader, &tips, ObjSet::default())?;
    let cut = cut_of(&snapshot)?.into_iter().filter(|(at, _)| set.contains(*at)).count();
    if cut > 0 {
        return Err(ExportError::Cut(cut));
    }
    let options = PlanOptions { ofs_delta: true, thin: false };
    let plan = build(&mut reader, &set, (&ObjSet::default(), &Default::default()), options)?;
    let stream = PackStream::new(Arc::new(plan), row.object_format);
    let named = refs.iter().filter(|(_, name)| name != b"HEAD").count();
    Ok(Bundle { snapshot, head, stream, refs: named as u64 })
}

impl Bundle {
    /// Writes all of it; how many bytes.
    pub fn write_to(mut self, out: &mut dyn Write) -> Result<u64, ExportError> {
        out.write_all(&self.head)?;
        let mut bytes = self.head.len() as u64;
        let mut batch = vec![0; BATCH_BYTES_MAX];
        loop {
            let n = self.stream.fill(&self.snapshot, &mut batch)?;
            out.write_all(batch.get(..n).unwrap_or_default())?;
            bytes += n as u64;
            if n < batch.len() {
                return Ok(bytes);
            }
        }
    }
}
