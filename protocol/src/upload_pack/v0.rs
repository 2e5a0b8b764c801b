//! Requests of protocol v0 and v1 over stateless connections (gitprotocol-pack, "Packfile Negotiation").

use super::{FetchRequest, MultiAck, SideBand, lines::Lines};
use crate::{
    capability::Capabilities,
    object::HashAlgo,
    pktline::{Packet, Packets},
    request::RequestError,
    scan::shown,
};

/// Reads one request from a complete body; `None` where it wants nothing.
///
/// Haves may come in any number of batches between flushes: all of them count, and `done` ends the request.
pub fn parse_v0(body: &[u8], algo: HashAlgo) -> Result<Option<FetchRequest>, RequestError> {
    if body.is_empty() {
        return Ok(None);
    }
    let mut packets = Packets::new(body);
    let mut lines = Lines::new(algo);
    let mut filter_agreed = false;
    loop {
        let packet = packets.next().ok_or(RequestError::Truncated)??;
        let Some(line) = data(packet)? else { break };
        if let Some(value) = line.strip_prefix(b"want ") {
            let list = Capabilities::new(lines.want(value)?);
            agree(&mut lines.request, list, algo)?;
            filter_agreed |= list.has("filter");
        } else if line.starts_with(b"filter ") && !filter_agreed {
            return Err(RequestError::FilterUnasked);
        } else if !lines.bounds(line)? {
            return Err(RequestError::line(line));
        }
    }
    if lines.request.wants.is_empty() {
        return Ok(None);
    }
    lines.request.wants_only = packets.rest().is_empty();
    for packet in packets {
        match data(packet?)? {
            None => {}
            Some(b"done") => {
                lines.request.done = true;
                break;
            }
            Some(line) => match line.strip_prefix(b"have ") {
                Some(value) => lines.have(value)?,
                None => return Err(RequestError::line(line)),
            },
        }
    }
    lines.finish().map(Some)
}

/// The line of a packet; `None` for a flush.
fn data(packet: Packet<'_>) -> Result<Option<&[u8]>, RequestError> {
    match packet {
        Packet::Data(_) => Ok(packet.line()),
        Packet::Flush => Ok(None),
        Packet::Delim => Err(RequestError::Packet { what: "delim" }),
        Packet::ResponseEnd => Err(RequestError::Packet { what: "response-end" }),
    }
}

/// Takes in the capabilities behind a want. Unknown ones are skipped, as in git.
fn agree(request: &mut FetchRequest, list: Capabilities<'_>, algo: HashAlgo) -> Result<(), RequestError> {
    for word in list.iter() {
        match word {
            b"multi_ack_detailed" => request.multi_ack = MultiAck::Detailed,
            b"multi_ack" if request.multi_ack == MultiAck::None => request.multi_ack = MultiAck::Multi,
            b"side-band-64k" => request.side_band = SideBand::Large,
            b"side-band" if request.side_band == SideBand::None => request.side_band = SideBand::Small,
            b"no-done" => request.no_done = true,
            b"thin-pack" => request.thin_pack = true,
            b"ofs-delta" => request.ofs_delta = true,
            b"no-progress" => request.no_progress = true,
            b"include-tag" => request.include_tag = true,
            b"deepen-relative" => request.deepen.relative = true,
            _ => {
                if let Some(agent) = word.strip_prefix(b"agent=") {
                    request.agent = Some(agent.into());
                } else if let Some(theirs) = word.strip_prefix(b"object-format=")
                    && theirs != algo.name().as_bytes()
                {
                    return Err(RequestError::ObjectFormat { ours: algo.name(), theirs: shown(theirs) });
                }
            }
        }
    }
    Ok(())
}
