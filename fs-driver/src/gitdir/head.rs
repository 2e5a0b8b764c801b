//! What a git directory's HEAD is now (gitrepository-layout), read from its files as git's "files" backend keeps them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use cairn_protocol::object::{HashAlgo, ObjectId};
use cairn_protocol::refs::RefName;
use serde::{Deserialize, Serialize};

use crate::limits::{REF_BYTES_MAX, SYMREFS_MAX};

/// Where HEAD is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadNow {
    /// The commit; `None` where the branch has none yet.
    pub commit: Option<String>,
    /// The branch, less `refs/heads/`; `None` where HEAD is detached.
    pub branch: Option<String>,
}

/// Reads it.
pub fn head_of(gitdir: &Path, algo: HashAlgo) -> io::Result<HeadNow> {
    let mut name = "HEAD".to_owned();
    let mut branch = None;
    for _ in 0..SYMREFS_MAX {
        let Some(value) = value_of(gitdir, &name)? else { return Ok(HeadNow { commit: None, branch }) };
        let Some(target) = value.strip_prefix("ref:").map(str::trim) else {
            let id = ObjectId::from_hex(algo, value.as_bytes());
            let id = id.ok_or_else(|| broken(&format!("{name} holds neither a ref nor an object")))?;
            return Ok(HeadNow { commit: Some(id.to_string()), branch });
        };
        // A name that git refuses could lead out of the folder.
        RefName::new(target.as_bytes()).map_err(|_| broken(&format!("{name} names what is no ref")))?;
        branch = target.strip_prefix("refs/heads/").map(str::to_owned);
        name = target.to_owned();
    }
    Err(broken(&format!("HEAD leads through more than {SYMREFS_MAX} refs")))
}

fn broken(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// What a ref holds: in a file of its own, or else in the packed ones.
fn value_of(gitdir: &Path, name: &str) -> io::Result<Option<String>> {
    match File::open(gitdir.join(name)) {
        Ok(file) if file.metadata()?.is_file() => {
            let mut text = String::new();
            file.take(REF_BYTES_MAX).read_to_string(&mut text)?;
            return Ok(Some(text.trim().to_owned()));
        }
        // A folder of refs whose names begin like this one.
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
        Err(error) => return Err(error),
    }
    let packed = match fs::File::open(gitdir.join("packed-refs")) {
        Ok(packed) => packed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut packed, mut line) = (BufReader::new(packed), Vec::new());
    loop {
        line.clear();
        if packed.by_ref().take(REF_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&line);
        if let Some((id, of)) = text.trim_end().split_once(' ')
            && of == name
        {
            return Ok(Some(id.to_owned()));
        }
    }
}
