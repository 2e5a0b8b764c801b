//! pkt-lines (gitprotocol-common): four hex digits that count themselves, then data. In and out go bytes.
//!
//! Refused: lengths that are no hex, 0003, and lengths above 65520.

use crate::{
    limits::{PKT_BYTES_MAX, PKT_PAYLOAD_BYTES_MAX},
    object::ObjectId,
};

/// Data bytes of one large side-band frame (`side-band-64k`).
pub const BAND_DATA_MAX: usize = PKT_PAYLOAD_BYTES_MAX - 1;
/// Data bytes of one small side-band frame (`side-band`): 1000 less length digits and band.
pub const BAND_DATA_SMALL_MAX: usize = 995;

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Data; empty for `0004`.
    Data(&'a [u8]),
    /// `0000`.
    Flush,
    /// `0001`.
    Delim,
    /// `0002`.
    ResponseEnd,
}

impl<'a> Packet<'a> {
    /// The data without the newline that may end it; `None` for the special packets.
    pub fn line(self) -> Option<&'a [u8]> {
        match self {
            Self::Data(data) => Some(data.strip_suffix(b"\n").unwrap_or(data)),
            Self::Flush | Self::Delim | Self::ResponseEnd => None,
        }
    }
}

/// What the start of a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// One packet.
    Item {
        /// The packet.
        packet: Packet<'a>,
        /// Bytes of it, length digits included.
        used: usize,
    },
    /// So many bytes more are needed, at least.
    NeedMore(usize),
}

/// Why bytes are no pkt-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PktError {
    /// The length is no hex number, or 3.
    #[error("bad pkt-line length {}", .0.escape_ascii())]
    Length([u8; 4]),
    /// The length is above git's limit.
    #[error("pkt-line of {bytes} bytes, at most {PKT_BYTES_MAX} are allowed")]
    TooLong {
        /// The declared length, in bytes.
        bytes: usize,
    },
    /// The body ends inside a packet.
    #[error("body ends inside a pkt-line, {missing} bytes are missing")]
    Truncated {
        /// How many bytes are missing, at least.
        missing: usize,
    },
}

/// Reads the packet at the start of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, PktError> {
    let Some((digits, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(Decoded::NeedMore(4 - bytes.len()));
    };
    let special = |packet| Ok(Decoded::Item { packet, used: 4 });
    let length = digits.iter().try_fold(0usize, |length, digit| {
        (*digit as char).to_digit(16).map(|value| length << 4 | value as usize)
    });
    let length = length.ok_or(PktError::Length(*digits))?;
    let data_bytes = match length {
        0 => return special(Packet::Flush),
        1 => return special(Packet::Delim),
        2 => return special(Packet::ResponseEnd),
        3 => return Err(PktError::Length(*digits)),
        4..=PKT_BYTES_MAX => length - 4,
        bytes => return Err(PktError::TooLong { bytes }),
    };
    Ok(match rest.get(..data_bytes) {
        Some(data) => Decoded::Item { packet: Packet::Data(data), used: length },
        None => Decoded::NeedMore(data_bytes - rest.len()),
    })
}

/// The packets of a complete body. Ends at the end of the body, or after the first error.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
    /// All of `body`.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self) -> Result<Packet<'a>, PktError> {
        match decode(self.rest)? {
            Decoded::Item { packet, used } => {
                self.rest = self.rest.get(used..).unwrap_or_default();
                Ok(packet)
            }
            Decoded::NeedMore(missing) => Err(PktError::Truncated { missing }),
        }
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PktError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = self.take();
        if taken.is_err() {
            self.rest = &[];
        }
        Some(taken)
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes one packet made of `parts`, which together must fit.
fn write_parts(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = 4 + bytes_of(parts);
    debug_assert!(length <= PKT_BYTES_MAX, "callers split");
    out.reserve(length);
    out.extend([12, 8, 4, 0].map(|shift| HEX[length >> shift & 15]));
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn bytes_of(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// An id in hex, without the formatter: answers hold tens of thousands.
pub(crate) struct Hex {
    digits: [u8; 64],
    len: usize,
}

impl Hex {
    pub(crate) fn new(id: &ObjectId) -> Self {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(id.as_bytes()) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        Self { digits, len: 2 * id.algo().bytes() }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }
}

/// Writes data: one packet, `0004` for none; more than `PKT_PAYLOAD_BYTES_MAX` becomes several packets.
pub fn write_data(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return write_parts(out, &[]);
    }
    data.chunks(PKT_PAYLOAD_BYTES_MAX).for_each(|chunk| write_parts(out, &[chunk]));
}

/// Writes a line of text and the newline after it; text beyond one packet is cut off.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    write_line(out, &[text.as_bytes()]);
}

/// Writes a line made of `parts` and the newline after it; what does not fit one packet is cut off.
pub fn write_line(out: &mut Vec<u8>, parts: &[&[u8]]) {
    const FEW: usize = 8;
    let mut ended: [&[u8]; FEW] = [b""; FEW];
    let fits = bytes_of(parts) < PKT_PAYLOAD_BYTES_MAX;
    if let (true, Some((newline, rest))) = (fits, ended.split_last_mut())
        && let Some(head) = rest.get_mut(..parts.len())
    {
        head.copy_from_slice(parts);
        *newline = b"\n";
        return write_parts(out, &ended);
    }
    let mut line = parts.concat();
    line.truncate(PKT_PAYLOAD_BYTES_MAX - 1);
    write_parts(out, &[&line, b"\n"]);
}

/// Writes `0000`.
pub fn write_flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}

/// Writes `0001`.
pub fn write_delim(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0001");
}

/// Writes `0002`.
pub fn write_response_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0002");
}

/// Writes `data` on a side-band (1 data, 2 progress, 3 fatal error) in frames of at most `max` data bytes.
///
/// `max` is `SideBand::data_max`: `BAND_DATA_MAX` or `BAND_DATA_SMALL_MAX`; other values are brought into range.
pub fn write_band(out: &mut Vec<u8>, band: u8, data: &[u8], max: usize) {
    let frames = data.chunks(max.clamp(1, BAND_DATA_MAX));
    out.reserve(data.len() + 5 * frames.len());
    frames.for_each(|chunk| write_parts(out, &[&[band], chunk]));
}

/// Writes `ERR msg`, after which nothing may follow; a message beyond one packet is cut off. As in git, no newline
/// ends it.
pub fn write_error(out: &mut Vec<u8>, msg: &str) {
    const TAG: &[u8] = b"ERR ";
    let msg = msg.as_bytes();
    write_parts(out, &[TAG, msg.get(..PKT_PAYLOAD_BYTES_MAX - TAG.len()).unwrap_or(msg)]);
}

/// Puts complete packets on side-band 1, as `sideband-all` wants it; flush, delim and the like stay bare.
pub fn write_on_band(out: &mut Vec<u8>, packets: &[u8]) -> Result<(), PktError> {
    for packet in Packets::new(packets) {
        match packet? {
            Packet::Data(data) => write_band(out, 1, data, BAND_DATA_MAX),
            Packet::Flush => write_flush(out),
            Packet::Delim => write_delim(out),
            Packet::ResponseEnd => write_response_end(out),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_judged_as_git_does() {
        let item = |packet, used| Ok(Decoded::Item { packet, used });
        let cases: [(&[u8], Result<Decoded<'_>, PktError>); 11] = [
            (b"", Ok(Decoded::NeedMore(4))),
            (b"00", Ok(Decoded::NeedMore(2))),
            (b"0000x", item(Packet::Flush, 4)),
            (b"0001", item(Packet::Delim, 4)),
            (b"0002", item(Packet::ResponseEnd, 4)),
            (b"0003", Err(PktError::Length(*b"0003"))),
            (b"0004", item(Packet::Data(b""), 4)),
            (b"000Ahello\nrest", item(Packet::Data(b"hello\n"), 10)),
            (b"000ahel", Ok(Decoded::NeedMore(3))),
            (b"fff1", Err(PktError::TooLong { bytes: 65_521 })),
            (b"00+4", Err(PktError::Length(*b"00+4"))),
        ];
        for (bytes, want) in cases {
            assert_eq!(decode(bytes), want, "{}", bytes.escape_ascii());
        }
        assert_eq!(decode(b"fff0"), Ok(Decoded::NeedMore(PKT_PAYLOAD_BYTES_MAX)), "at the limit");
    }

    #[test]
    fn bands_split_at_their_limit() {
        let mut out = Vec::new();
        write_band(&mut out, 2, &[b'x'; 996], BAND_DATA_SMALL_MAX);
        let frames: Vec<_> = Packets::new(&out).map(|p| p.unwrap()).collect();
        assert!(matches!(frames[..], [Packet::Data(a), Packet::Data(b"\x02x")] if a.len() == 996));
        out.clear();
        write_band(&mut out, 1, &[0; BAND_DATA_MAX], usize::MAX);
        assert!(out.starts_with(b"fff0\x01"));
        assert_eq!(out.len(), PKT_BYTES_MAX);
    }

    #[test]
    fn a_text_too_long_for_a_packet_is_cut_off_and_stays_one_line() {
        let mut out = Vec::new();
        write_text(&mut out, &"x".repeat(70_000));
        assert_eq!(out.len(), PKT_BYTES_MAX);
        assert!(out.ends_with(b"x\n"));
        out.clear();
        write_error(&mut out, &"x".repeat(70_000));
        assert_eq!(out.len(), PKT_BYTES_MAX);
        assert!(out.starts_with(b"fff0ERR x") && out.ends_with(b"x"));
    }

    #[test]
    fn sideband_all_leaves_special_packets_bare() {
        let mut out = Vec::new();
        write_on_band(&mut out, b"0007abc00010000").unwrap();
        assert_eq!(out, b"0008\x01abc00010000");
        assert_eq!(write_on_band(&mut out, b"0007a"), Err(PktError::Truncated { missing: 2 }));
    }
}
