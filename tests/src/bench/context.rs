//! What the rows share: the copies of the repository, the server that holds it, counters and folders.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Result;
use crate::http::Client;
use crate::made;
use crate::pkt::create_commands;
use crate::server::{self, Remote, Server};
use crate::stock::{Git, Input, Usage};

/// The ancestor whose tip an incremental fetch already has.
const COMMITS_BEHIND: u32 = 10;

/// One bench run.
pub struct Context {
    pub git: Git,
    pub rounds: u32,
    pub repos: u32,
    /// Pushes of the rows of upkeep.
    pub pushes: u32,
    pub repo: PathBuf,
    /// Whether stock git is left out of the memory rows.
    pub memory_alone: bool,
    cairn: PathBuf,
    temp: TempDir,
    source: Option<std::result::Result<Source, String>>,
    loaded: Option<Loaded>,
    serial: u32,
}

/// The repository under measurement, heads and tags alone, prepared for both sides.
#[derive(Clone)]
pub struct Source {
    /// One pack, no bitmap.
    pub plain: String,
    /// One pack with a bitmap and a commit graph, as a host's maintenance leaves it.
    pub bitmap: String,
    /// Everything in one pack, and the same behind create commands for all refs.
    pub pack: PathBuf,
    pub push: PathBuf,
    pub pack_bytes: u64,
    pub default_branch: String,
    /// What all heads and tags point to, each once.
    pub wants: Vec<String>,
    /// The default branch's tip and, where history is long enough, the commit ten first parents behind.
    pub tip: String,
    pub behind: Option<String>,
    pub about: String,
}

/// A server that holds the whole repository.
pub struct Loaded {
    pub server: Server,
    pub remote: Remote,
    /// No fetch was answered since the push.
    pub untouched: bool,
}

impl Context {
    /// Without a repository to measure with.
    pub fn new(cairn: PathBuf, temp: TempDir, (rounds, repos, pushes): (u32, u32, u32)) -> Result<Self> {
        let (git, repo) = (Git::new(temp.path())?, PathBuf::new());
        Ok(Self {
            git,
            rounds,
            repos,
            pushes,
            repo,
            memory_alone: false,
            cairn,
            temp,
            source: None,
            loaded: None,
            serial: 0,
        })
    }

    /// Makes the repository to measure with.
    pub fn make(&mut self, bytes: u64) -> Result<()> {
        eprintln!("making a repository of {bytes} bytes");
        self.repo = made::repository(&self.git, self.temp.path(), bytes)?;
        Ok(())
    }

    /// A path in the temp folder that nobody has used.
    pub fn fresh(&mut self, what: &str) -> PathBuf {
        self.serial += 1;
        self.temp.path().join(format!("{what}-{}", self.serial))
    }

    /// Starts a server on its own empty data folder.
    pub fn fresh_server(&mut self) -> Result<Server> {
        let data = self.fresh("data");
        Server::start(&self.cairn, &data)
    }

    /// The same with more options of the server.
    pub fn fresh_server_with(&mut self, options: &[&str]) -> Result<Server> {
        let data = self.fresh("data");
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        Server::start_with(&self.cairn, &data, &options)
    }

    /// Ends a server and starts another on the same data.
    pub fn restart(&self, server: &mut Server) -> Result<()> {
        server.stop();
        *server = Server::start_with(&self.cairn, &server.data.clone(), &server.options.clone())?;
        Ok(())
    }

    /// The prepared copies; made on first need.
    pub fn source(&mut self) -> Result<Source> {
        if self.source.is_none() {
            eprintln!("preparing copies of {}", self.repo.display());
            let prepared = prepare(&self.git, &self.repo, self.temp.path());
            self.source = Some(prepared.map_err(|error| error.to_string()));
        }
        let source = self.source.clone().ok_or("no source")?;
        source.map_err(Into::into)
    }

    /// The server that holds the repository; pushed on first need. Answers what that push cost, too.
    pub fn load(&mut self) -> Result<Option<Usage>> {
        if self.loaded.is_some() {
            return Ok(None);
        }
        let source = self.source()?;
        let server = self.fresh_server()?;
        let mut client = server.client();
        let remote = server::create(&mut client, "whole", &source.default_branch)?;
        let usage =
            server.measure(1, || server::push(&mut client, &remote, &server::push_file(&source.push)))?;
        self.loaded = Some(Loaded { server, remote, untouched: true });
        Ok(Some(usage))
    }

    /// The loaded server, taken out so that the context stays usable; give it back with `put_back`.
    pub fn take_loaded(&mut self) -> Result<Loaded> {
        self.load()?;
        self.loaded.take().ok_or_else(|| "no loaded server".into())
    }

    pub fn put_back(&mut self, loaded: Loaded) {
        self.loaded = Some(loaded);
    }

    /// An empty bare repository of stock git.
    pub fn empty_stock(&mut self) -> Result<String> {
        let path = utf8(&self.fresh("stock"))?;
        self.git.output(&["init", "--quiet", "--bare", &path], Input::Nothing)?;
        Ok(path)
    }
}

/// A path as an argument of git.
pub fn utf8(path: &Path) -> Result<String> {
    Ok(path.to_str().ok_or("the temp folder's path is not UTF-8")?.to_owned())
}

/// A repository with one commit; answers its path and the commit.
pub fn one_commit(git: &Git, path: &Path) -> Result<(String, String)> {
    let path = utf8(path)?;
    git.output(&["init", "--quiet", "--bare", &path], Input::Nothing)?;
    git.output(&["-C", &path, "fast-import", "--quiet"], Input::Bytes(commit_script(0).as_bytes()))?;
    let tip = git.text(&["-C", &path, "rev-parse", "refs/heads/push-0"])?;
    Ok((path, tip))
}

/// `fast-import` input for a root commit with one small file on the branch `push-N`.
pub fn commit_script(number: u32) -> String {
    let (file, message) = (format!("file {number}\n"), format!("commit {number}\n"));
    format!(
        "commit refs/heads/push-{number}\ncommitter Bench <bench@example.com> 1700000000 +0000\n\
         data {}\n{message}M 100644 inline file.txt\ndata {}\n{file}\n",
        message.len(),
        file.len()
    )
}

/// The body of a push that creates `refs` from a repository, everything they reach in one pack.
pub fn push_body(git: &Git, repo: &str, refs: &[(&str, &str)]) -> Result<Vec<u8>> {
    let tips: String = refs.iter().map(|(_, oid)| format!("{oid}\n")).collect();
    let args = ["-C", repo, "pack-objects", "--quiet", "--revs", "--stdout", "--delta-base-offset"];
    let pack = git.output(&args, Input::Bytes(tips.as_bytes()))?;
    Ok([create_commands(refs.iter().copied()), pack].concat())
}

/// Connects `count` clients.
pub fn clients(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| server.client()).collect()
}

fn prepare(git: &Git, repo: &Path, temp: &Path) -> Result<Source> {
    let (plain, bitmap) = (utf8(&temp.join("plain.git"))?, utf8(&temp.join("bitmap.git"))?);
    let refs = complete_refs(git, &utf8(repo)?)?;
    // Not a local clone: that would link packs whole, with what only other refs reach.
    git.output(&["init", "--quiet", "--bare", &plain], Input::Nothing)?;
    git.output(&["-C", &plain, "symbolic-ref", "HEAD", &refs.head], Input::Nothing)?;
    let specs: String = refs.names.iter().map(|name| format!("{name}:{name}\n")).collect();
    let args =
        ["-C", &plain, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--stdin", &utf8(repo)?];
    git.output(&args, Input::Bytes(specs.as_bytes()))?;
    git.output(&["-C", &plain, "pack-refs", "--all"], Input::Nothing)?;
    git.output(&["-C", &plain, "repack", "-adq", "--no-write-bitmap-index"], Input::Nothing)?;
    git.output(&["clone", "--quiet", "--bare", "--local", &plain, &bitmap], Input::Nothing)?;
    git.output(&["-C", &bitmap, "repack", "-adbq"], Input::Nothing)?;
    git.output(&["-C", &bitmap, "commit-graph", "write", "--reachable"], Input::Nothing)?;

    let pack = temp.join("whole.pack");
    let args =
        ["-C", &plain, "pack-objects", "--quiet", "--revs", "--all", "--stdout", "--delta-base-offset"];
    git.to_file(&args, Input::Nothing, &pack)?;
    let listed = git.text(&["-C", &plain, "for-each-ref", "--format=%(objectname) %(refname)"])?;
    let dropped = refs.dropped;
    let refs: Vec<(&str, &str)> =
        listed.lines().filter_map(|line| line.split_once(' ')).map(|(oid, name)| (name, oid)).collect();
    let push = temp.join("whole.push");
    let mut file = File::create(&push)?;
    file.write_all(&create_commands(refs.iter().copied()))?;
    std::io::copy(&mut File::open(&pack)?, &mut file)?;

    let mut wants: Vec<String> = refs.iter().map(|(_, oid)| (*oid).to_owned()).collect();
    wants.sort_unstable();
    wants.dedup();
    let default_branch = git.text(&["-C", &plain, "symbolic-ref", "--short", "HEAD"])?;
    let tip = git.text(&["-C", &plain, "rev-parse", "HEAD"])?;
    let behind = git.text(&["-C", &plain, "rev-parse", "--verify", &format!("HEAD~{COMMITS_BEHIND}")]).ok();
    let pack_bytes = pack.metadata()?.len();
    let counted = git.text(&["-C", &plain, "count-objects", "-v"])?;
    let objects = counted.lines().find_map(|line| line.strip_prefix("in-pack: ")).unwrap_or("?").to_owned();
    let mut about = format!("{objects} objects, {} refs, {pack_bytes} bytes of pack", refs.len());
    if dropped > 0 {
        about += &format!(" ({dropped} refs left out: objects of theirs are absent)");
    }
    Ok(Source { plain, bitmap, pack, push, pack_bytes, default_branch, wants, tip, behind, about })
}

/// The branches and tags that can be served whole.
struct CompleteRefs {
    names: Vec<String>,
    /// The full name of the default branch.
    head: String,
    dropped: usize,
}

/// A mirror made with a filter may lack objects of some refs: those refs are left out.
fn complete_refs(git: &Git, repo: &str) -> Result<CompleteRefs> {
    let listed = git.text(&["-C", repo, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags"])?;
    let all: Vec<String> = listed.lines().map(str::to_owned).collect();
    let head = git.text(&["-C", repo, "symbolic-ref", "HEAD"]).ok().filter(|head| all.contains(head));
    let head = head.or_else(|| all.first().cloned()).ok_or("the repository has no branch and no tag")?;
    if lacks_objects(git, repo, std::slice::from_ref(&head), None)? {
        return Err(format!("objects of {head} are absent").into());
    }
    // Few refs are bad, and neighbours by name share history: halving finds them in few walks.
    let (mut names, mut open) = (Vec::new(), vec![all.as_slice()]);
    while let Some(group) = open.pop() {
        if !lacks_objects(git, repo, group, Some(&head))? {
            names.extend_from_slice(group);
        } else if group.len() > 1 {
            let (left, right) = group.split_at(group.len() / 2);
            open.extend([left, right]);
        }
    }
    Ok(CompleteRefs { dropped: all.len() - names.len(), names, head })
}

/// Whether an object that `tips` reach, and `known` does not, is absent.
fn lacks_objects(git: &Git, repo: &str, tips: &[String], known: Option<&str>) -> Result<bool> {
    let mut input: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
    input.extend(known.map(|known| format!("^{known}\n")));
    let args = ["-C", repo, "rev-list", "--objects", "--missing=print", "--stdin"];
    let listed = git.output(&args, Input::Bytes(input.as_bytes()))?;
    Ok(listed.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"?")))
}
