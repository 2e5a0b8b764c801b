//! Finds where the commands and push options of a push end while its bytes come in pieces, without keeping them.

use super::RequestError;
use crate::{
    capability::Capabilities,
    limits::PUSH_HEADER_BYTES_MAX,
    pktline::{Decoded, Packet, decode},
};

/// Follows a push up to its pack. Keeps one unfinished packet at most; refuses what grows past `PUSH_HEADER_BYTES_MAX`
/// as soon as a packet's length says so. Reads no more of the lines than `parse_push` needs to know where they end, and
/// refuses nothing that it would take.
#[derive(Debug, Default)]
pub struct Front {
    /// The start of a packet whose end has not come.
    part: Vec<u8>,
    /// Bytes of the packets before it.
    bytes: usize,
    has_commands: bool,
    /// Whether push options follow the commands.
    has_options: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Commands,
    Options,
    Whole,
}

impl Front {
    /// Takes the next bytes; whether the front has ended in them or before.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool, RequestError> {
        let mut rest = bytes;
        while self.stage != Stage::Whole {
            let mut part = std::mem::take(&mut self.part);
            let here = if part.is_empty() { rest } else { &part };
            let missing = match decode(here)? {
                Decoded::Item { packet, used } => {
                    self.packet(packet, used)?;
                    if part.is_empty() {
                        rest = rest.get(used..).unwrap_or_default();
                    }
                    continue;
                }
                Decoded::NeedMore(missing) => missing,
            };
            if self.bytes.saturating_add(here.len()).saturating_add(missing) > PUSH_HEADER_BYTES_MAX {
                return Err(RequestError::PushHeader);
            }
            let more = if part.is_empty() { rest.len() } else { missing.min(rest.len()) };
            let (now, later) = rest.split_at_checked(more).unwrap_or((rest, &[]));
            part.extend_from_slice(now);
            rest = later;
            self.part = part;
            if rest.is_empty() && more < missing {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn packet(&mut self, packet: Packet<'_>, bytes: usize) -> Result<(), RequestError> {
        self.bytes += bytes;
        if self.bytes > PUSH_HEADER_BYTES_MAX {
            return Err(RequestError::PushHeader);
        }
        match packet {
            Packet::Data(line) if self.stage == Stage::Commands => self.line(line),
            Packet::Data(_) => {}
            Packet::Flush => {
                let options = self.stage == Stage::Commands && self.has_options && self.has_commands;
                self.stage = if options { Stage::Options } else { Stage::Whole };
            }
            Packet::Delim => return Err(RequestError::Packet { what: "delim" }),
            Packet::ResponseEnd => return Err(RequestError::Packet { what: "response-end" }),
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) {
        self.has_commands |= !line.starts_with(b"shallow ");
        if let Some(at) = line.iter().position(|byte| *byte == b'\0') {
            let list = line.get(at + 1..).unwrap_or_default();
            let list = Capabilities::new(list.strip_suffix(b"\n").unwrap_or(list));
            self.has_options |= list.iter().any(|word| word == b"push-options");
        }
    }
}
