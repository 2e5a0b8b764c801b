//! object-info (gitprotocol-v2): sizes without contents. gix has no call for it, so this is ours over gix's transport.

use std::collections::HashMap;

use bstr::BString;
use cairn_protocol::object::ObjectId;
use gix_transport::client::blocking_io::TransportV2Ext as _;

use crate::error::{Class, RemoteError};
use crate::http::Shared;
use crate::limits::{OBJECT_INFO_BATCH, SIZES_BYTES_MAX};
use crate::session::{Capabilities, Remote, Session, broken, told};

impl Remote {
    /// The sizes of objects in bytes, in the order of `ids`; `None` for what the remote does not have. Fails where it does not
    /// offer object-info.
    pub fn sizes(&mut self, ids: &[ObjectId]) -> Result<Vec<Option<u64>>, RemoteError> {
        if !self.capabilities.object_info {
            let text = format!("{}: the remote does not offer object-info", self.url());
            return Err(RemoteError::new(Class::Protocol, text));
        }
        let agent = self.options.user_agent.clone();
        let options = self.options.server_options.clone();
        let mut sizes = Vec::with_capacity(ids.len());
        for batch in ids.chunks(OBJECT_INFO_BATCH) {
            let found = self.call(SIZES_BYTES_MAX, |shared, offered, session| {
                ask(shared, offered, session, &told(&agent, &options, offered), batch)
            })?;
            sizes.extend(batch.iter().map(|id| found.get(id).copied().flatten()));
        }
        Ok(sizes)
    }
}

fn ask(
    shared: &Shared,
    offered: &Capabilities,
    session: &mut Session,
    told: &[(&str, Option<&str>)],
    ids: &[ObjectId],
) -> Result<HashMap<ObjectId, Option<u64>>, RemoteError> {
    let format = offered.object_format;
    let arguments = std::iter::once(BString::from("size"));
    let arguments = arguments.chain(ids.iter().map(|id| BString::from(format!("oid {id}"))));
    let mut answer = session
        .transport
        .invoke("object-info", told.iter().copied(), Some(arguments), false)
        .map_err(|error| broken(shared, &error))?;
    let mut found: HashMap<ObjectId, Option<u64>> = ids.iter().map(|id| (*id, None)).collect();
    let mut is_first = true;
    while let Some(line) = answer.readline() {
        let line = line.map_err(|error| broken(shared, &error))?.map_err(|error| broken(shared, &error))?;
        let Some(line) = line.as_bstr() else { break };
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let is_header = std::mem::replace(&mut is_first, false);
        let known = if is_header { (line == b"size").then_some(()) } else { size(line, &mut found, format) };
        if known.is_none() {
            let text = format!("{}: an answer to object-info that makes no sense", shared.url());
            return Err(RemoteError::new(Class::Protocol, text));
        }
    }
    if is_first && !ids.is_empty() {
        return Err(RemoteError::new(Class::Protocol, format!("{}: no answer to object-info", shared.url())));
    }
    Ok(found)
}

/// Takes `<id> SP <size>`; nothing stands for the size of an object that the remote does not have.
fn size(
    line: &[u8],
    found: &mut HashMap<ObjectId, Option<u64>>,
    format: cairn_protocol::object::HashAlgo,
) -> Option<()> {
    let space_at = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let id = ObjectId::from_hex(format, line.get(..space_at)?)?;
    let digits = line.get(space_at + 1..).unwrap_or_default();
    let slot = found.get_mut(&id)?;
    if !digits.is_empty() {
        *slot = Some(std::str::from_utf8(digits).ok()?.parse().ok()?);
    }
    Some(())
}
