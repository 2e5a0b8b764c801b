//! Requests of protocol v2 (gitprotocol-v2, "Command Request").

use super::{
    FetchRequest, LsRefs, ObjectInfo, SideBand, V2Request,
    lines::{Lines, split_key},
};
use crate::{
    limits::{OBJECT_INFO_IDS_MAX, REF_PREFIXES_MAX, SERVER_OPTIONS_MAX},
    object::{HashAlgo, ObjectId},
    pktline::{Packet, Packets},
    request::RequestError,
    scan::shown,
};

#[derive(Clone, Copy)]
enum Command {
    LsRefs,
    Fetch,
    ObjectInfo,
}

/// What comes before the delim.
#[derive(Default)]
struct Head {
    command: Option<Command>,
    object_format: Option<Vec<u8>>,
    agent: Option<Vec<u8>>,
    server_options: usize,
    /// Whether there was any line.
    any: bool,
}

/// Reads one request from a complete body. `None` where the client only says that it will ask nothing: a flush or an
/// empty body. What follows the request's flush is not read, as git does not.
pub fn parse_v2(body: &[u8], algo: HashAlgo) -> Result<Option<V2Request>, RequestError> {
    let mut packets = Packets::new(body);
    let mut head = Head::default();
    if body.is_empty() {
        return Ok(None);
    }
    let has_arguments = loop {
        match next(&mut packets)? {
            Packet::Flush => break false,
            Packet::Delim => break true,
            Packet::ResponseEnd => return Err(RequestError::Packet { what: "response-end" }),
            packet @ Packet::Data(_) => head.line(packet.line().unwrap_or_default())?,
        }
    };
    if !head.any && !has_arguments {
        return Ok(None);
    }
    let command = head.command.ok_or(RequestError::NoCommand)?;
    head.check_format(algo)?;
    let mut arguments = Arguments { packets, ended: !has_arguments };
    Ok(Some(match command {
        Command::LsRefs => V2Request::LsRefs(ls_refs(&mut arguments)?),
        Command::Fetch => {
            let fetch = fetch(&mut arguments, algo)?;
            V2Request::Fetch(Box::new(FetchRequest { agent: head.agent, ..fetch }))
        }
        Command::ObjectInfo => V2Request::ObjectInfo(object_info(&mut arguments, algo)?),
    }))
}

/// The value of `server-option=<name>=<value>` in the head of a request, the last one where there are several.
pub fn server_option(body: &[u8], name: &[u8]) -> Result<Option<Vec<u8>>, RequestError> {
    let mut packets = Packets::new(body);
    let mut found = None;
    if body.is_empty() {
        return Ok(None);
    }
    while let packet @ Packet::Data(_) = next(&mut packets)? {
        let option = packet.line().and_then(|line| line.strip_prefix(b"server-option="));
        let value = option.and_then(|option| option.strip_prefix(name)?.strip_prefix(b"="));
        found = value.map(<[u8]>::to_vec).or(found);
    }
    Ok(found)
}

fn next<'a>(packets: &mut Packets<'a>) -> Result<Packet<'a>, RequestError> {
    Ok(packets.next().ok_or(RequestError::Truncated)??)
}

impl Head {
    fn line(&mut self, line: &[u8]) -> Result<(), RequestError> {
        self.any = true;
        let at = line.iter().position(|byte| *byte == b'=');
        let (key, value) = at.and_then(|at| line.split_at_checked(at)).unwrap_or((line, b""));
        let value = value.strip_prefix(b"=").unwrap_or_default();
        match key {
            b"command" => {
                let command = match value {
                    b"ls-refs" => Command::LsRefs,
                    b"fetch" => Command::Fetch,
                    b"object-info" => Command::ObjectInfo,
                    _ => return Err(RequestError::Command(shown(value))),
                };
                if self.command.replace(command).is_some() {
                    return Err(RequestError::TwoCommands);
                }
            }
            b"agent" => self.agent = Some(value.into()),
            b"object-format" => self.object_format = Some(value.into()),
            b"session-id" => {}
            b"server-option" => {
                self.server_options += 1;
                if self.server_options > SERVER_OPTIONS_MAX {
                    return Err(RequestError::TooMany { what: "server options", max: SERVER_OPTIONS_MAX });
                }
            }
            _ => return Err(RequestError::Capability(shown(line))),
        }
        Ok(())
    }

    /// Whoever names no format means SHA-1.
    fn check_format(&self, algo: HashAlgo) -> Result<(), RequestError> {
        let theirs = self.object_format.as_deref().unwrap_or(b"sha1");
        match theirs == algo.name().as_bytes() {
            true => Ok(()),
            false => Err(RequestError::ObjectFormat { ours: algo.name(), theirs: shown(theirs) }),
        }
    }
}

/// The lines between delim and flush.
struct Arguments<'a> {
    packets: Packets<'a>,
    ended: bool,
}

impl<'a> Arguments<'a> {
    fn next(&mut self) -> Result<Option<&'a [u8]>, RequestError> {
        if self.ended {
            return Ok(None);
        }
        match next(&mut self.packets)? {
            Packet::Flush => {
                self.ended = true;
                Ok(None)
            }
            Packet::Delim => Err(RequestError::Packet { what: "delim" }),
            Packet::ResponseEnd => Err(RequestError::Packet { what: "response-end" }),
            packet @ Packet::Data(_) => Ok(packet.line()),
        }
    }
}

fn ls_refs(arguments: &mut Arguments<'_>) -> Result<LsRefs, RequestError> {
    let mut asked = LsRefs::default();
    let mut too_many = false;
    while let Some(line) = arguments.next()? {
        match line {
            b"peel" => asked.peel = true,
            b"symrefs" => asked.symrefs = true,
            b"unborn" => asked.unborn = true,
            _ => {
                let prefix = line.strip_prefix(b"ref-prefix ").ok_or_else(|| RequestError::line(line))?;
                too_many |= asked.ref_prefixes.len() >= REF_PREFIXES_MAX;
                match too_many {
                    true => asked.ref_prefixes.clear(),
                    false => asked.ref_prefixes.push(prefix.into()),
                }
            }
        }
    }
    Ok(asked)
}

fn object_info(arguments: &mut Arguments<'_>, algo: HashAlgo) -> Result<ObjectInfo, RequestError> {
    let mut asked = ObjectInfo::default();
    while let Some(line) = arguments.next()? {
        if line == b"size" {
            asked.size = true;
            continue;
        }
        let hex = line.strip_prefix(b"oid ").ok_or_else(|| RequestError::line(line))?;
        let id = ObjectId::from_hex(algo, hex).ok_or_else(|| RequestError::id(hex))?;
        if asked.ids.len() >= OBJECT_INFO_IDS_MAX {
            return Err(RequestError::TooMany { what: "oid lines", max: OBJECT_INFO_IDS_MAX });
        }
        asked.ids.push(id);
    }
    Ok(asked)
}

fn fetch(arguments: &mut Arguments<'_>, algo: HashAlgo) -> Result<FetchRequest, RequestError> {
    let mut lines = Lines::new(algo);
    lines.request.side_band = SideBand::Large;
    while let Some(line) = arguments.next()? {
        if set_flag(&mut lines.request, line) || lines.bounds(line)? {
            continue;
        }
        match split_key(line) {
            Some((b"want", value)) => {
                if !lines.want(value)?.is_empty() {
                    return Err(RequestError::id(value));
                }
            }
            Some((b"want-ref", value)) => lines.want_ref(value)?,
            Some((b"have", value)) => lines.have(value)?,
            _ => return Err(RequestError::line(line)),
        }
    }
    lines.finish()
}

fn set_flag(request: &mut FetchRequest, line: &[u8]) -> bool {
    let flag = match line {
        b"done" => &mut request.done,
        b"thin-pack" => &mut request.thin_pack,
        b"no-progress" => &mut request.no_progress,
        b"include-tag" => &mut request.include_tag,
        b"ofs-delta" => &mut request.ofs_delta,
        b"wait-for-done" => &mut request.wait_for_done,
        b"sideband-all" => &mut request.sideband_all,
        b"deepen-relative" => &mut request.deepen.relative,
        _ => return false,
    };
    *flag = true;
    true
}
