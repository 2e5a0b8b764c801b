//! ls-refs, and what stands for it in older versions: the advertisement itself.

use bstr::BString;
use cairn_protocol::object::{HashAlgo, ObjectId};
use gix_protocol::handshake::Ref;
use gix_protocol::handshake::refs::from_v2_refs;
use gix_transport::client::blocking_io::TransportV2Ext as _;

use crate::error::{Class, RemoteError};
use crate::http::Shared;
use crate::limits::{PREFIXES_MAX, REFS_BYTES_MAX};
use crate::session::{Capabilities, Remote, Session, broken, plain, told};

/// A ref of the remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRef {
    /// Its full name, as the remote spells it: not checked.
    pub name: Vec<u8>,
    /// What it names; the null id for a HEAD whose branch does not exist yet.
    pub id: ObjectId,
    /// What the tag that it names points to in the end.
    pub peeled: Option<ObjectId>,
    /// The ref that it stands for.
    pub symref_target: Option<Vec<u8>>,
}

/// gix's id as ours, if it is of the remote's format.
pub(crate) fn id_from(id: &gix_hash::oid, format: HashAlgo) -> Result<ObjectId, RemoteError> {
    ObjectId::from_bytes(format, id.as_bytes()).ok_or_else(|| {
        let text = format!("{id} is no id of a {} repository", format.name());
        RemoteError::new(Class::Protocol, text)
    })
}

impl Remote {
    /// HEAD, and the refs whose names start with one of `prefixes`; all refs if there are none. Asks anew at every call.
    pub fn ls_refs(&mut self, prefixes: &[&str]) -> Result<Vec<RemoteRef>, RemoteError> {
        let is_plain = |prefix: &&str| prefix.bytes().all(|b| b > b' ' && b != 0x7f);
        if prefixes.len() > PREFIXES_MAX || !prefixes.iter().all(is_plain) {
            let text = format!("more than {PREFIXES_MAX} ref prefixes, or one that no ref can have");
            return Err(RemoteError::new(Class::Limit, text));
        }
        let (agent, options) = (self.options.user_agent.clone(), self.options.server_options.clone());
        let mut found = self.call(REFS_BYTES_MAX, |shared, offered, session| {
            let refs: Vec<Ref> = match session.handshake.refs.take() {
                Some(refs) => refs,
                None if offered.version == 2 => {
                    list(shared, offered, session, &told(&agent, &options, offered), prefixes)?
                }
                // Before version 2 the refs come with the advertisement; `stale` has the next call ask for it again.
                None => return Err(stale(shared)),
            };
            refs.into_iter().map(|found| convert(found, offered.object_format)).collect::<Result<Vec<_>, _>>()
        })?;
        if self.capabilities.version != 2 {
            self.session = None;
        }
        let is_wanted = |name: &[u8]| {
            name == b"HEAD" || prefixes.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
        };
        found.retain(|found| prefixes.is_empty() || is_wanted(&found.name));
        Ok(found)
    }
}

/// Version 2. gix's command has no place for server options, and takes the words of a remote that refuses for a ref.
fn list(
    shared: &Shared,
    offered: &Capabilities,
    session: &mut Session,
    told: &[(&str, Option<&str>)],
    prefixes: &[&str],
) -> Result<Vec<Ref>, RemoteError> {
    let head = ["HEAD"];
    let names = head.iter().filter(|_| !prefixes.is_empty()).chain(prefixes);
    let arguments = ["symrefs", "peel"]
        .into_iter()
        .chain(offered.unborn.then_some("unborn"))
        .map(BString::from)
        .chain(names.map(|name| BString::from(format!("ref-prefix {name}"))));
    let mut answer = session
        .transport
        .invoke("ls-refs", told.iter().copied(), Some(arguments), false)
        .map_err(|error| broken(shared, &error))?;
    if let Some(Ok(Ok(line))) = answer.peek_data_line()
        && let Some(words) = line.strip_prefix(b"ERR ")
    {
        let text = format!("{}: the remote says: {}", shared.url(), plain(words));
        return Err(RemoteError::new(Class::Protocol, text));
    }
    from_v2_refs(&mut *answer).map_err(|error| broken(shared, &error))
}

fn stale(shared: &Shared) -> RemoteError {
    RemoteError::new(Class::Protocol, format!("{}: the remote advertised no refs", shared.url()))
}

fn convert(found: Ref, format: HashAlgo) -> Result<RemoteRef, RemoteError> {
    let (name, id, peeled) = found.unpack();
    let name = name.to_vec();
    let id = id.map_or(Ok(ObjectId::null(format)), |id| id_from(id, format))?;
    let peeled = peeled.map(|id| id_from(id, format)).transpose()?;
    let symref_target = match &found {
        Ref::Symbolic { target, .. } | Ref::Unborn { target, .. } => Some(target.to_vec()),
        Ref::Peeled { .. } | Ref::Direct { .. } => None,
    };
    Ok(RemoteRef { name, id, peeled, symref_target })
}
