//! The one checked cursor through which foreign text lines are read. It answers `None` at the end, never panics.

use crate::object::{HashAlgo, ObjectId};

/// A place in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    /// At the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Everything that has not been taken.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been taken.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes the next `len` bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    /// Takes `prefix` where it comes next.
    pub fn tag(&mut self, prefix: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(prefix)?;
        Some(())
    }

    /// Takes what comes before the next `byte`, and the byte; `None` where there is none.
    pub fn until(&mut self, byte: u8) -> Option<&'a [u8]> {
        let at = self.rest.iter().position(|b| *b == byte)?;
        let head = self.take(at)?;
        self.take(1)?;
        Some(head)
    }

    /// Takes an object id in hex.
    pub fn id(&mut self, algo: HashAlgo) -> Option<ObjectId> {
        let (head, rest) = self.rest.split_at_checked(2 * algo.bytes())?;
        let id = ObjectId::from_hex(algo, head)?;
        self.rest = rest;
        Some(id)
    }
}

/// Decimal digits and nothing else.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Foreign bytes as they may stand in an error text: clipped, and without bytes that steer a terminal.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 120;
    let clipped = bytes.get(..SHOWN_BYTES_MAX);
    let text = String::from_utf8_lossy(clipped.unwrap_or(bytes));
    let mut text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if clipped.is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_alone_and_never_wrap() {
        let cases: [(&[u8], Option<u64>); 7] = [
            (b"0", Some(0)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"", None),
            (b"+1", None),
            (b"-1", None),
            (b"1 ", None),
        ];
        for (text, want) in cases {
            assert_eq!(decimal(text), want, "{}", shown(text));
        }
    }

    #[test]
    fn a_short_slice_ends_the_scan_without_moving_it() {
        let mut scan = Scan::new(b"abc");
        assert_eq!(scan.take(4), None);
        assert_eq!(scan.until(b' '), None);
        assert_eq!(scan.id(HashAlgo::Sha1), None);
        assert_eq!(scan.rest(), b"abc");
    }
}
