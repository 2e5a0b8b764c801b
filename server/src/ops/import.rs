//! The steps of an import: ask the remote, choose refs, fetch a pack, take it in as one entry. All of them block.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use cairn_protocol::object::{HashAlgo, ObjectId};
use cairn_protocol::receive_pack::{Command, PushRequest};
use cairn_protocol::refs::{RefName, is_pushable};
use cairn_remote::{AddressPolicy, Class, Credentials, FetchWish, Options, Remote, RemoteError, RemoteRef};

use super::push::{By, push_cut};
use super::spool::Spool;
use super::{OpError, Served};
use crate::config::ImportConfig;
use crate::error::{Error, Result, code};
use crate::limits::{IMPORT_FETCH_MS_MAX, IMPORT_PROBE_MS_MAX, IMPORT_REFS_MAX, PUSH_PACK_BYTES_MAX};
use crate::names::is_branch_name;

/// Where the remote's HEAD says nothing.
const BRANCH: &str = "main";

/// What of a remote is to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Branches and tags with what they are worth.
    pub refs: Vec<(RefName, ObjectId)>,
    /// The branch that HEAD names, without `refs/heads/`.
    pub default_branch: String,
}

/// A remote that has answered.
pub struct Probed {
    /// The remote.
    pub remote: Remote,
    /// What is taken of it.
    pub chosen: Chosen,
}

impl Probed {
    /// The hash that names the remote's objects.
    pub fn format(&self) -> HashAlgo {
        self.remote.capabilities().object_format
    }
}

/// A pack that was fetched.
pub struct Fetched {
    /// Its bytes; `None` where there is nothing to fetch.
    pub spool: Option<Spool>,
    /// The commits at which its history ends.
    pub cut: Vec<ObjectId>,
}

/// What an import asks a remote for.
#[derive(Clone, Debug)]
pub struct Source {
    /// Without credentials.
    pub url: String,
    /// The one branch that is wanted, without `refs/heads/`.
    pub branch: Option<String>,
    /// Commits of history.
    pub depth: Option<u32>,
}

fn options(config: &ImportConfig, credentials: Option<Credentials>, time_ms: u64) -> Options {
    Options {
        credentials,
        addresses: if config.allow_private { AddressPolicy::Any } else { AddressPolicy::PublicOnly },
        ca_file: config.ca_file.clone(),
        total_deadline: Some(Duration::from_millis(time_ms)),
        pack_bytes_max: Some(PUSH_PACK_BYTES_MAX),
        ..Options::default()
    }
}

/// What the caller is told of a remote that does not do what it should.
pub fn failed(error: &RemoteError) -> Error {
    let code = match error.class() {
        Class::Auth => code::REMOTE_AUTH_REQUIRED,
        Class::NotGit | Class::NotFound | Class::Protocol => code::INVALID_URL,
        Class::Refused => code::INVALID_INPUT,
        Class::Unreachable => code::UPSTREAM_UNAVAILABLE,
        Class::Limit => code::QUOTA_EXCEEDED,
        Class::Sink => return Error::internal(error),
    };
    Error::new(code, error.to_string()).at("/url")
}

/// Asks the remote for its refs, and chooses.
pub fn probe(config: &ImportConfig, source: &Source, credentials: Option<Credentials>) -> Result<Probed> {
    let mut remote = Remote::open(&source.url, options(config, credentials, IMPORT_PROBE_MS_MAX))
        .map_err(|error| failed(&error))?;
    if source.depth.is_some() && !remote.capabilities().shallow {
        return Err(Error::input("/depth", "the remote cannot cut its history"));
    }
    let refs = remote.ls_refs(&["refs/heads/", "refs/tags/"]).map_err(|error| failed(&error))?;
    let chosen = choose(refs, source.branch.as_deref())?;
    remote.set_total_deadline(Some(Duration::from_millis(IMPORT_FETCH_MS_MAX)));
    Ok(Probed { remote, chosen })
}

/// All branches and tags, or one branch.
pub fn choose(found: Vec<RemoteRef>, branch: Option<&str>) -> Result<Chosen> {
    let head = found.iter().find(|found| found.name == b"HEAD").cloned();
    let wanted = branch.map(|branch| format!("refs/heads/{branch}").into_bytes());
    let is_wanted = |name: &[u8]| match &wanted {
        Some(wanted) => name == wanted,
        None => name.starts_with(b"refs/heads/") || name.starts_with(b"refs/tags/"),
    };
    let mut refs = Vec::new();
    for RemoteRef { name, id, .. } in found.into_iter().filter(|found| is_wanted(&found.name)) {
        let name = RefName::new(&name).ok().filter(is_pushable).ok_or_else(|| {
            let text = format!("the remote has a ref of a bad name: {}", name.escape_ascii());
            Error::new(code::INVALID_URL, text).at("/url")
        })?;
        refs.push((name, id));
    }
    if refs.len() > IMPORT_REFS_MAX {
        let text =
            format!("the remote has {} branches and tags, at most {IMPORT_REFS_MAX} are taken", refs.len());
        return Err(Error::new(code::QUOTA_EXCEEDED, text).at("/url"));
    }
    if let (Some(branch), true) = (branch, refs.is_empty()) {
        return Err(Error::input("/branch", format!("the remote has no branch {branch}")));
    }
    let default_branch = match branch {
        Some(branch) => branch.to_owned(),
        None => default_branch(head.as_ref(), &refs),
    };
    Ok(Chosen { refs, default_branch })
}

/// The branch that HEAD names, or one that stands where a detached HEAD does.
fn default_branch(head: Option<&RemoteRef>, refs: &[(RefName, ObjectId)]) -> String {
    let short = |name: &[u8]| {
        let name = std::str::from_utf8(name.strip_prefix(b"refs/heads/")?).ok()?;
        is_branch_name(name).then(|| name.to_owned())
    };
    if let Some(named) = head.and_then(|head| head.symref_target.as_deref()).and_then(short) {
        return named;
    }
    let stands = |(name, id): &(RefName, ObjectId)| {
        head.filter(|head| head.id == *id).and_then(|_| short(name.as_bytes()))
    };
    let mut same: Vec<String> = refs.iter().filter_map(stands).collect();
    same.sort_unstable_by_key(|name| (name != BRANCH, name != "master"));
    same.into_iter().next().unwrap_or_else(|| BRANCH.to_owned())
}

/// Fetches what was chosen. `is_halted` is asked at each part; once it says so, the fetch ends with an error of the sink.
pub fn fetch(
    probed: &mut Probed,
    depth: Option<u32>,
    spool_dir: &Path,
    is_halted: &dyn Fn() -> bool,
) -> std::result::Result<Fetched, RemoteError> {
    let wants: HashSet<ObjectId> = probed.chosen.refs.iter().map(|(_, id)| *id).collect();
    if wants.is_empty() {
        return Ok(Fetched { spool: None, cut: Vec::new() });
    }
    let mut wants: Vec<ObjectId> = wants.into_iter().collect();
    wants.sort_unstable();
    let mut spool = Spool::default();
    let mut keep = |bytes: &[u8]| match is_halted() {
        true => Err(io::Error::other("the import was stopped")),
        false => spool.write(spool_dir, bytes),
    };
    let wish = FetchWish { wants, depth, ..FetchWish::default() };
    let fetched = probed.remote.fetch(&wish, &mut keep, &mut |_| ())?;
    Ok(Fetched { spool: Some(spool), cut: fetched.shallow })
}

/// Takes the pack in: checked like a push, one entry for all refs, or nothing.
pub fn land(served: &Served, chosen: &Chosen, fetched: &Fetched, by: By) -> std::result::Result<(), OpError> {
    let Some(spool) = &fetched.spool else { return Ok(()) };
    let null = ObjectId::null(served.algo);
    let command =
        |(name, id): &(RefName, ObjectId)| Command { name: name.as_bytes().to_vec(), old: null, new: *id };
    let commands = chosen.refs.iter().map(command).collect();
    let request = PushRequest { commands, atomic: true, ..PushRequest::default() };
    let pushed = push_cut(served, &request, Some(spool), &fetched.cut, by, &mut |_| ())?;
    let refused = |why: String| OpError::Request(format!("the remote's objects are refused: {why}"));
    pushed.unpack.map_err(refused)?;
    match pushed.results.into_iter().find_map(std::result::Result::err) {
        Some(why) => Err(refused(why.to_string())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, digit: u8, target: Option<&str>) -> RemoteRef {
        let id = ObjectId::from_bytes(HashAlgo::Sha1, &[digit; 20]).unwrap();
        let symref_target = target.map(|target| target.as_bytes().to_vec());
        RemoteRef { name: name.into(), id, peeled: None, symref_target }
    }

    #[test]
    fn the_default_branch_is_where_head_points_or_stands() {
        let branches = [
            found("refs/heads/a", 1, None),
            found("refs/heads/main", 2, None),
            found("refs/heads/z", 2, None),
        ];
        let rows = [
            (Some(found("HEAD", 1, Some("refs/heads/a"))), "a"),
            (Some(found("HEAD", 1, Some("refs/heads/gone"))), "gone"),
            (Some(found("HEAD", 1, None)), "a"),
            (Some(found("HEAD", 2, None)), "main"),
            (Some(found("HEAD", 9, None)), "main"),
            (Some(found("HEAD", 1, Some("refs/tags/t"))), "a"),
            (None, "main"),
        ];
        for (head, want) in rows {
            let refs = head.iter().cloned().chain(branches.iter().cloned()).collect();
            assert_eq!(choose(refs, None).unwrap().default_branch, want, "{head:?}");
        }
    }

    #[test]
    fn only_branches_and_tags_are_chosen_and_of_one_branch_nothing_else() {
        let all = ["refs/heads/a", "refs/heads/a/b", "refs/tags/t", "refs/pull/1/head", "refs/notes/x"];
        let refs = || all.iter().map(|name| found(name, 1, None)).collect::<Vec<_>>();
        let names = |chosen: Chosen| chosen.refs.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(choose(refs(), None).unwrap()), ["refs/heads/a", "refs/heads/a/b", "refs/tags/t"]);
        let one = choose(refs(), Some("a")).unwrap();
        assert_eq!((one.default_branch.as_str(), names(one.clone())), ("a", vec!["refs/heads/a".to_owned()]));
        assert_eq!(choose(refs(), Some("t")).unwrap_err().pointer.as_deref(), Some("/branch"));
        assert!(choose(vec![found("refs/heads/a..b", 1, None)], None).is_err());
    }
}
