//! Lists of capabilities as v0 and v1 write them after the first ref, want or command: words between spaces.

/// The words of one list.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities<'a>(&'a [u8]);

impl<'a> Capabilities<'a> {
    /// The list in `text`.
    pub const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The words in order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
    }

    /// Whether the word `name` is in the list, without a value.
    pub fn has(self, name: &str) -> bool {
        self.iter().any(|word| word == name.as_bytes())
    }

    /// The value of the first `name=value`.
    pub fn value(self, name: &str) -> Option<&'a [u8]> {
        self.iter().find_map(|word| word.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }
}

/// The server's own `agent=` value.
pub const AGENT: &str = concat!("cairn/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_whole_or_not_at_all() {
        let list = Capabilities::new(b" side-band-64k  agent=git/2.47 agent=x object-format=");
        assert!(list.has("side-band-64k"));
        assert!(!list.has("side-band"));
        assert!(!list.has("agent"));
        assert_eq!(list.value("agent"), Some(&b"git/2.47"[..]));
        assert_eq!(list.value("object-format"), Some(&b""[..]));
        assert_eq!(list.value("session-id"), None);
    }
}
