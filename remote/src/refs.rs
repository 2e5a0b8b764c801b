//! ls-refs, and what stands for it in older versions: the advertisement itself.

use bstr::BString;
use cairn_protocol::object::{HashAlgo, ObjectId};
use gix_protocol::LsRefsCommand;
use gix_protocol::handshake::Ref;
use gix_protocol::ls_refs::RefPrefixes;
use gix_utils::progress::Discard;

use crate::error::{Class, RemoteError};
use crate::http::Shared;
use crate::limits::{PREFIXES_MAX, REFS_BYTES_MAX};
use crate::session::{Remote, broken};

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
        let agent = self.options.user_agent.clone();
        let mut found = self.call(REFS_BYTES_MAX, |shared, offered, session| {
            let refs = match session.handshake.refs.take() {
                Some(refs) => refs,
                None if offered.version == 2 => {
                    let mut wanted = RefPrefixes::new();
                    if !prefixes.is_empty() {
                        wanted.extend(["HEAD"].iter().chain(prefixes).map(|prefix| BString::from(*prefix)));
                    }
                    LsRefsCommand::new(Some(wanted), &session.handshake.capabilities, ("agent", Some(agent)))
                        .invoke_blocking(&mut session.transport, &mut Discard, false)
                        .map_err(|error| broken(shared, &error))?
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
