//! Makes the git dir of a mount: as `git clone --filter=blob:none` would leave it, with settings that suit a mount.
//!
//! Nothing in it comes from the remote but refs and objects: no hooks, no settings.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cairn_protocol::object::{HashAlgo, ObjectId};

use super::store::Facts;
use crate::config::{private_folder, write_all_whole, write_whole};

/// What HEAD is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A branch, by its short name, as bytes.
    Branch(String),
    /// Detached.
    Detached,
}

/// What a git dir is made of.
pub struct Plan<'a> {
    /// Where it goes.
    pub gitdir: &'a Path,
    /// The folder of shared objects.
    pub objects: &'a Path,
    /// The hash of the objects.
    pub algo: HashAlgo,
    /// The remote, without credentials.
    pub url: &'a str,
    /// Whether blobs are left out.
    pub is_partial: bool,
    /// Whether HEAD is a branch.
    pub head: &'a Head,
    /// The mounted commit.
    pub commit: ObjectId,
    /// The remote's refs whose objects are here: as `refs/heads/x` or `refs/tags/x`.
    pub refs: &'a [(String, ObjectId)],
    /// The remote's default branch.
    pub default_branch: Option<&'a str>,
    /// This program, which answers git's questions.
    pub program: &'a Path,
    /// The state folder of the mount.
    pub state: &'a Path,
}

/// Makes the git dir. Whatever is there is left alone.
pub fn create(plan: &Plan<'_>, facts: &Facts) -> io::Result<()> {
    let at = |name: &str| plan.gitdir.join(name);
    private_folder(plan.gitdir)?;
    for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks"] {
        fs::create_dir_all(at(folder))?;
    }
    // The second is empty but for as long as it is mounted.
    let view = view_of(plan.state);
    private_folder(&view)?;
    let alternates = [plan.objects, &view].map(|folder| line(folder.as_os_str().as_encoded_bytes()));
    let [packs, view] = alternates;
    let mut files = vec![(at("objects/info/alternates"), [packs?, view?].concat())];
    match shallow_lines(facts) {
        Some(lines) => files.push((at("shallow"), lines.into_bytes())),
        None => write_shallow(plan.gitdir, facts)?,
    }
    let mut packed = b"# pack-refs with: sorted \n".to_vec();
    let mut refs: Vec<(String, ObjectId)> = plan.refs.iter().map(|(n, id)| (local_name(n), *id)).collect();
    if let Head::Branch(branch) = plan.head {
        refs.push((format!("refs/heads/{branch}"), plan.commit));
    }
    refs.sort();
    refs.dedup_by(|a, b| a.0 == b.0);
    for (name, id) in refs {
        packed.extend_from_slice(format!("{id} {name}\n").as_bytes());
    }
    files.push((at("packed-refs"), packed));
    if let Some(branch) = plan.default_branch {
        fs::create_dir_all(at("refs/remotes/origin"))?;
        let target = format!("ref: refs/remotes/origin/{branch}\n");
        files.push((at("refs/remotes/origin/HEAD"), target.into_bytes()));
    }
    files.push((at("config"), config(plan)?.into_bytes()));
    let head = match plan.head {
        Head::Branch(branch) => format!("ref: refs/heads/{branch}\n"),
        Head::Detached => format!("{}\n", plan.commit),
    };
    // git takes a folder with a HEAD for a repository: that comes last.
    files.push((at("HEAD"), head.into_bytes()));
    write_all_whole(&files)
}

/// Where a clone keeps a ref of the remote.
pub fn local_name(remote: &str) -> String {
    match remote.strip_prefix("refs/heads/") {
        Some(branch) => format!("refs/remotes/origin/{branch}"),
        None => remote.to_owned(),
    }
}

/// Says which commits are here without their parents.
pub fn write_shallow(gitdir: &Path, facts: &Facts) -> io::Result<()> {
    let path = gitdir.join("shallow");
    match shallow_lines(facts) {
        Some(lines) => write_whole(&path, lines.as_bytes()),
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// What the file of cut commits says; `None` where there is to be none.
fn shallow_lines(facts: &Facts) -> Option<String> {
    let lines: String = facts.shallow.iter().map(|id| format!("{id}\n")).collect();
    (!lines.is_empty()).then_some(lines)
}

fn line(bytes: &[u8]) -> io::Result<Vec<u8>> {
    if bytes.contains(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path with a line feed"));
    }
    Ok([bytes, b"\n"].concat())
}

/// A value for git's settings.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A word for a shell.
fn shell_word(path: &Path) -> io::Result<String> {
    let text = path.to_str().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{}: not UTF-8, which git needs", path.display()))
    })?;
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}

fn config(plan: &Plan<'_>) -> io::Result<String> {
    let (program, state) = (shell_word(plan.program)?, shell_word(plan.state)?);
    let mut text = String::from("[core]\n\trepositoryformatversion = 1\n\tfilemode = true\n\tbare = false\n");
    text.push_str("\tlogallrefupdates = true\n\ttrustctime = false\n\tcheckStat = minimal\n");
    text.push_str("\tuntrackedCache = true\n");
    let hook = quoted(&format!("{program} fsmonitor --state {state}"));
    text.push_str(&format!("\tfsmonitor = {hook}\n\tfsmonitorHookVersion = 2\n"));
    text.push_str("[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n");
    // As git clone has it: that the remote is a promisor says enough, and other clients refuse extensions that they
    // do not know.
    if plan.algo != HashAlgo::Sha1 {
        text.push_str(&format!("[extensions]\n\tobjectFormat = {}\n", plan.algo.name()));
    }
    text.push_str(&format!("[remote \"origin\"]\n\turl = {}\n", quoted(plan.url)));
    text.push_str("\tfetch = +refs/heads/*:refs/remotes/origin/*\n");
    if plan.is_partial {
        text.push_str("\tpromisor = true\n\tpartialclonefilter = blob:none\n");
    }
    if let Head::Branch(branch) = plan.head {
        let name = quoted(branch);
        text.push_str(&format!("[branch {name}]\n\tremote = origin\n\tmerge = refs/heads/{branch}\n"));
    }
    let helper = quoted(&format!("!{program} credential --state {state}"));
    text.push_str(&format!("[credential {}]\n\thelper = {helper}\n", quoted(plan.url)));
    text.push_str("\tuseHttpPath = true\n");
    Ok(text)
}

/// Puts an index there, as `write` writes it.
pub fn write_index(gitdir: &Path, write: &dyn Fn(&mut dyn io::Write) -> io::Result<()>) -> io::Result<()> {
    let file = tempfile::Builder::new().prefix("tmp_").tempfile_in(gitdir)?;
    let mut out = io::BufWriter::new(file);
    write(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_data()?;
    file.persist(gitdir.join("index")).map_err(|error| error.error)?;
    Ok(())
}

/// Adds refs of the remote that the git dir does not have. git itself does it, since others may write refs meanwhile.
pub fn add_refs(gitdir: &Path, refs: &[(String, ObjectId)]) -> io::Result<()> {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(gitdir).args(args);
        command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
        command
    };
    let out = git(&["for-each-ref", "--format=%(refname)"]).stderr(Stdio::null()).output()?;
    let have: std::collections::HashSet<String> =
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    let mut input = String::new();
    for (name, id) in refs {
        let name = local_name(name);
        if !have.contains(&name) {
            input.push_str(&format!("update {name} {id}\n"));
        }
    }
    if input.is_empty() {
        return Ok(());
    }
    let mut child = git(&["update-ref", "--stdin"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    io::Write::write_all(&mut child.stdin.take().expect("stdin is piped"), input.as_bytes())?;
    let out = child.wait_with_output()?;
    match out.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&out.stderr).trim().to_owned())),
    }
}

/// Where git finds the blobs of the mounted commit as objects.
pub fn view_of(state: &Path) -> PathBuf {
    state.join("objects")
}

/// The git dir of a state folder.
pub fn gitdir_of(state: &Path) -> PathBuf {
    state.join("git")
}
