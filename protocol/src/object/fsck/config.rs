//! git's configuration syntax, as far as `.gitmodules` needs it.

/// The text is not well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Calls `each` with every variable: its full name (`section.subsection.key`; all but the subsection in lower case)
/// and its value, `None` where no `=` follows. Variables before the malformed place have been told.
pub(super) fn for_each_variable(
    data: &[u8],
    mut each: impl FnMut(&[u8], Option<&[u8]>),
) -> Result<(), Malformed> {
    let mut text = Text { rest: data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data), ended: false };
    let mut name = Vec::new();
    let mut section_len = 0;
    loop {
        match text.next() {
            b'\n' if text.ended => return Ok(()),
            byte if is_space(byte) => {}
            b'#' | b';' => while text.next() != b'\n' {},
            b'[' => {
                name.clear();
                text.section(&mut name)?;
                name.push(b'.');
                section_len = name.len();
            }
            byte if byte.is_ascii_alphabetic() => {
                name.truncate(section_len);
                name.push(byte.to_ascii_lowercase());
                let value = text.key_and_value(&mut name)?;
                each(until_nul(&name), value.as_deref().map(until_nul));
            }
            _ => return Err(Malformed),
        }
    }
}

/// git hands names and values on as C strings.
fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

struct Text<'a> {
    rest: &'a [u8],
    /// The end has been read, as a line feed.
    ended: bool,
}

impl Text<'_> {
    /// The next byte, with CR LF as one LF and an endless row of LFs at the end.
    fn next(&mut self) -> u8 {
        let (byte, rest) = match self.rest {
            [b'\r', b'\n', rest @ ..] => (b'\n', rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => {
                self.ended = true;
                return b'\n';
            }
        };
        self.rest = rest;
        byte
    }

    /// What follows `[`: `section]`, `section.subsection]` or `section "subsection"]`.
    fn section(&mut self, name: &mut Vec<u8>) -> Result<(), Malformed> {
        loop {
            match self.next() {
                b']' if name.is_empty() => return Err(Malformed),
                b']' => return Ok(()),
                b'\n' => return Err(Malformed),
                byte if is_space(byte) => return self.subsection(name),
                byte if is_key(byte) || byte == b'.' => name.push(byte.to_ascii_lowercase()),
                _ => return Err(Malformed),
            }
        }
    }

    fn subsection(&mut self, name: &mut Vec<u8>) -> Result<(), Malformed> {
        loop {
            match self.next() {
                b'"' => break,
                b'\n' => return Err(Malformed),
                byte if is_space(byte) => {}
                _ => return Err(Malformed),
            }
        }
        name.push(b'.');
        loop {
            match self.next() {
                b'"' => break,
                b'\n' => return Err(Malformed),
                b'\\' => match self.next() {
                    b'\n' => return Err(Malformed),
                    byte => name.push(byte),
                },
                byte => name.push(byte),
            }
        }
        (self.next() == b']').then_some(()).ok_or(Malformed)
    }

    /// The rest of a key, whose first letter is in `name`, and its value.
    fn key_and_value(&mut self, name: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Malformed> {
        let mut byte = self.next();
        while is_key(byte) {
            name.push(byte.to_ascii_lowercase());
            byte = self.next();
        }
        while matches!(byte, b' ' | b'\t') {
            byte = self.next();
        }
        match byte {
            b'\n' => Ok(None),
            b'=' => self.value().map(Some),
            _ => Err(Malformed),
        }
    }

    fn value(&mut self) -> Result<Vec<u8>, Malformed> {
        let mut value = Vec::new();
        // Where unquoted white space at the end begins.
        let mut keep = 0;
        let mut quoted = false;
        loop {
            match self.next() {
                b'\n' if quoted => return Err(Malformed),
                b'\n' => break,
                byte if is_space(byte) && !quoted => {
                    if !value.is_empty() {
                        value.push(byte);
                    }
                    continue;
                }
                b'#' | b';' if !quoted => {
                    while self.next() != b'\n' {}
                    break;
                }
                b'"' => quoted = !quoted,
                b'\\' => match self.next() {
                    b'\n' => {}
                    b't' => value.push(b'\t'),
                    b'b' => value.push(8),
                    b'n' => value.push(b'\n'),
                    byte @ (b'\\' | b'"') => value.push(byte),
                    _ => return Err(Malformed),
                },
                byte => value.push(byte),
            }
            keep = value.len();
        }
        value.truncate(keep);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(String, Option<String>)>, bool) {
        let mut got = Vec::new();
        let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let end =
            for_each_variable(text.as_bytes(), |name, value| got.push((string(name), value.map(string))));
        (got, end.is_ok())
    }

    #[test]
    fn names_and_values_come_as_git_reads_them() {
        let (got, ok) =
            read("\u{feff}[Submodule \"A.b\"] URL = x y # c\r\n path=\"#a \"b\\\n c\\t ;d\n\tbare\n[s.X]k=v");
        assert!(ok);
        let want = [
            ("submodule.A.b.url", Some("x y")),
            ("submodule.A.b.path", Some("#a b c\t")),
            ("submodule.A.b.bare", None),
            ("s.x.k", Some("v")),
        ];
        let got: Vec<_> = got.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn malformed_text_is_told() {
        for text in ["[", "[]", "[a", "[a \"b]\n", "[a \"b\"x]", "a = \"x", "a = \\q", "a b", "=", "[a b]"] {
            assert!(!read(text).1, "{text}");
        }
    }
}
