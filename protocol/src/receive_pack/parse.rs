//! Reads commands and push options from a growing buffer.

use super::{Command, Parsed, PushRequest, Report};
use crate::{
    capability::Capabilities,
    limits::{COMMANDS_MAX, PUSH_HEADER_BYTES_MAX, PUSH_OPTIONS_MAX, SHALLOWS_MAX},
    object::{HashAlgo, ObjectId},
    pktline::{Decoded, Packet, Packets, decode},
    request::RequestError,
    scan::{Scan, shown},
};

/// Reads a push up to its pack.
///
/// Before a flush ends a section nothing of it is read but the packets' lengths, so that trying again with a longer
/// buffer is cheap; callers let the buffer grow by a factor. Commands of a request that names no object format are taken for
/// SHA-1, as in git.
pub fn parse_push(buf: &[u8], algo: HashAlgo) -> Result<Parsed<PushRequest>, RequestError> {
    let Some(commands_end) = section_end(buf, 0)? else {
        return Ok(Parsed::NeedMore);
    };
    let mut push = Push { algo, request: PushRequest::default(), has_options: false, format: None };
    for packet in Packets::new(buf.get(..commands_end).unwrap_or_default()) {
        // Only the flush that ends the section is no data.
        if let Packet::Data(data) = packet? {
            push.line(data)?;
        }
    }
    push.check_format()?;
    let has_options = push.has_options && !push.request.commands.is_empty();
    if !has_options {
        return Ok(Parsed::Done { value: push.request, used: commands_end });
    }
    let Some(used) = section_end(buf, commands_end)? else {
        return Ok(Parsed::NeedMore);
    };
    for packet in Packets::new(buf.get(commands_end..used).unwrap_or_default()) {
        if let Some(option) = packet?.line() {
            push.option(option)?;
        }
    }
    Ok(Parsed::Done { value: push.request, used })
}

/// Where the section that starts at `from` ends, its flush included; `None` where the buffer ends before.
fn section_end(buf: &[u8], from: usize) -> Result<Option<usize>, RequestError> {
    let mut at = from;
    loop {
        match decode(buf.get(at..).unwrap_or_default())? {
            Decoded::Item { packet, used } => {
                at += used;
                if at > PUSH_HEADER_BYTES_MAX {
                    return Err(RequestError::PushHeader);
                }
                match packet {
                    Packet::Data(_) => {}
                    Packet::Flush => return Ok(Some(at)),
                    Packet::Delim => return Err(RequestError::Packet { what: "delim" }),
                    Packet::ResponseEnd => return Err(RequestError::Packet { what: "response-end" }),
                }
            }
            Decoded::NeedMore(missing) => {
                let needed = buf.len().saturating_add(missing);
                return if needed > PUSH_HEADER_BYTES_MAX { Err(RequestError::PushHeader) } else { Ok(None) };
            }
        }
    }
}

struct Push {
    algo: HashAlgo,
    request: PushRequest,
    has_options: bool,
    /// The client's object format, once a line has had capabilities.
    format: Option<Vec<u8>>,
}

impl Push {
    fn line(&mut self, data: &[u8]) -> Result<(), RequestError> {
        let mut scan = Scan::new(data);
        let line = match scan.until(b'\0') {
            Some(line) => {
                let list = scan.rest();
                self.agree(Capabilities::new(list.strip_suffix(b"\n").unwrap_or(list)));
                self.check_format()?;
                line
            }
            None => Packet::Data(data).line().unwrap_or_default(),
        };
        if line == b"push-cert" {
            return Err(RequestError::PushCert);
        }
        if let Some(hex) = line.strip_prefix(b"shallow ") {
            let id = ObjectId::from_hex(self.algo, hex).ok_or_else(|| RequestError::id(hex))?;
            if self.request.shallow.len() >= SHALLOWS_MAX {
                return Err(RequestError::TooMany { what: "shallow lines", max: SHALLOWS_MAX });
            }
            self.request.shallow.push(id);
            return Ok(());
        }
        let command = self.command(line).ok_or_else(|| RequestError::PushCommand(shown(line)))?;
        if self.request.commands.len() >= COMMANDS_MAX {
            return Err(RequestError::TooManyCommands);
        }
        self.request.commands.push(command);
        Ok(())
    }

    fn command(&self, line: &[u8]) -> Option<Command> {
        let mut scan = Scan::new(line);
        let old = scan.id(self.algo)?;
        scan.tag(b" ")?;
        let new = scan.id(self.algo)?;
        scan.tag(b" ")?;
        let name = scan.rest();
        (!name.is_empty()).then(|| Command { name: name.into(), old, new })
    }

    /// Takes in capabilities. Unknown ones are skipped, as in git.
    fn agree(&mut self, list: Capabilities<'_>) {
        let request = &mut self.request;
        for word in list.iter() {
            match word {
                b"report-status-v2" => request.report = Report::V2,
                b"report-status" if request.report == Report::None => request.report = Report::V1,
                b"side-band-64k" => request.side_band = true,
                b"atomic" => request.atomic = true,
                b"quiet" => request.quiet = true,
                b"delete-refs" => request.delete_refs = true,
                b"ofs-delta" => request.ofs_delta = true,
                b"push-options" => self.has_options = true,
                _ => {
                    if let Some(agent) = word.strip_prefix(b"agent=") {
                        request.agent = Some(agent.into());
                    }
                }
            }
        }
        self.format = list.value("object-format").map(Into::into).or(self.format.take());
    }

    /// Whoever names no format means SHA-1; a request without commands means nothing.
    fn check_format(&self) -> Result<(), RequestError> {
        let theirs = match &self.format {
            Some(theirs) => theirs.as_slice(),
            None if self.request.commands.is_empty() => return Ok(()),
            None => &b"sha1"[..],
        };
        match theirs == self.algo.name().as_bytes() {
            true => Ok(()),
            false => Err(RequestError::ObjectFormat { ours: self.algo.name(), theirs: shown(theirs) }),
        }
    }

    fn option(&mut self, option: &[u8]) -> Result<(), RequestError> {
        if self.request.options.len() >= PUSH_OPTIONS_MAX {
            return Err(RequestError::TooMany { what: "push options", max: PUSH_OPTIONS_MAX });
        }
        self.request.options.push(option.into());
        Ok(())
    }
}
