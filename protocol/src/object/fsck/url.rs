//! URLs of submodules.

/// Whether git would refuse to clone a submodule from `url`, because helpers or shells may be tricked by it.
pub(super) fn is_bad(url: &[u8]) -> bool {
    if url.starts_with(b"-") {
        return true;
    }
    let (relative, escapes) = leading_dots(url);
    if relative || url.starts_with(b"git://") {
        return decodes_to_newline(url) || escapes;
    }
    match curl_url(url) {
        // One that does not parse is bad as well.
        Some(url) => normalize(url).is_none_or(|url| decodes_to_newline(&url)),
        None => false,
    }
}

/// Whether `url` begins with `./` or `../`, and whether what follows all of them could replace the host of the URL
/// that it is relative to (`../:host`, `..//host`).
fn leading_dots(url: &[u8]) -> (bool, bool) {
    let mut rest = url;
    let mut ups = 0_usize;
    loop {
        rest = match rest {
            [b'.', b'.', b'/' | b'\\', rest @ ..] => {
                ups += 1;
                rest
            }
            [b'.', b'/' | b'\\', rest @ ..] => rest,
            _ => break,
        };
    }
    (rest.len() != url.len(), ups > 0 && matches!(rest, [b':' | b'/', ..]))
}

/// The part that git hands to its curl helper.
fn curl_url(url: &[u8]) -> Option<&[u8]> {
    let schemes: [&[u8]; 4] = [b"http", b"https", b"ftp", b"ftps"];
    let after = |scheme: &&[u8], mark: &[u8]| url.strip_prefix(*scheme)?.strip_prefix(mark);
    schemes
        .iter()
        .find_map(|scheme| after(scheme, b"::"))
        .or_else(|| schemes.iter().any(|scheme| after(scheme, b"://").is_some()).then_some(url))
}

/// Whether a line feed stands in `url` once its escapes are decoded. The scheme has no escapes.
fn decodes_to_newline(url: &[u8]) -> bool {
    let scheme = url.iter().position(|byte| *byte == b':').unwrap_or(0);
    let (scheme, mut rest) = url.split_at(scheme);
    if scheme.contains(&b'\n') {
        return true;
    }
    loop {
        rest = match rest {
            [] => return false,
            [b'\n', ..] => return true,
            [b'%', high, low, after @ ..] => match hex(*high, *low) {
                Some(b'\n') => return true,
                // git leaves `%00` as it is.
                Some(0) | None => rest.get(1..).unwrap_or_default(),
                Some(_) => after,
            },
            [_, after @ ..] => after,
        };
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

const RESERVED: &[u8] = b":/?#[]@!$&'()*+,;=";
const UNSAFE: &[u8] = b" <>\"%{}|\\^`";

/// Appends `from` with exactly those bytes escaped that must be. `None` for a `%` without two digits.
fn push_escaped(out: &mut Vec<u8>, mut from: &[u8]) -> Option<()> {
    while let [first, after @ ..] = from {
        let (byte, was_escaped) = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                from = after;
                (hex(*high, *low)?, true)
            }
            (b'%', _) => return None,
            (byte, after) => {
                from = after;
                (*byte, false)
            }
        };
        let must = !(0x20..0x7f).contains(&byte) || UNSAFE.contains(&byte);
        if must || was_escaped && RESERVED.contains(&byte) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    Some(())
}

/// `url` as git's matching of URLs writes it; `None` where it is no URL with a host.
fn normalize(url: &[u8]) -> Option<Vec<u8>> {
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+.-".contains(byte);
    let (scheme, rest) = url.split_at(url.iter().take_while(|byte| is_scheme(byte)).count());
    if !scheme.first()?.is_ascii_alphabetic() {
        return None;
    }
    let rest = rest.strip_prefix(b"://")?;
    let mut out = scheme.to_ascii_lowercase();
    let is_file = out == b"file";
    let default_port: &[u8] = match out.as_slice() {
        b"http" => b"80",
        b"https" => b"443",
        _ => b"",
    };
    out.extend_from_slice(b"://");
    let (authority, path) =
        rest.split_at(rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len()));
    let host = match authority.iter().position(|byte| *byte == b'@') {
        Some(at) => {
            let (user, host) = authority.split_at(at);
            push_escaped(&mut out, user)?;
            out.push(b'@');
            host.get(1..)?
        }
        None => authority,
    };
    push_host(&mut out, host, is_file, default_port)?;
    push_path(&mut out, path)?;
    Some(out)
}

fn push_host(out: &mut Vec<u8>, host: &[u8], is_file: bool, default_port: &[u8]) -> Option<()> {
    let missing = matches!(host, [] | [b':', ..]);
    if missing && !is_file {
        return None;
    }
    let colon =
        host.iter().rposition(|byte| matches!(byte, b':' | b']')).filter(|at| host.get(*at) == Some(&b':'));
    let (name, port) = match colon {
        Some(at) => (host.get(..at)?, host.get(at + 1..)?),
        None => (host, &[][..]),
    };
    if missing && !port.is_empty() {
        return None;
    }
    if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_[:]".contains(byte)) {
        return None;
    }
    out.extend(name.to_ascii_lowercase());
    let zeros = port.iter().take_while(|byte| **byte == b'0').count();
    let number = port.get(zeros..)?;
    if number.is_empty() && zeros == 0 || !number.is_empty() && number == default_port {
        return Some(());
    }
    // All zeros parse to 0, which is no port.
    let number: u16 = std::str::from_utf8(number).ok().filter(|text| !text.starts_with('+'))?.parse().ok()?;
    out.extend_from_slice(format!(":{number}").as_bytes());
    Some(())
}

/// Appends the path with its dot segments resolved, then query and fragment.
fn push_path(out: &mut Vec<u8>, path: &[u8]) -> Option<()> {
    let root = out.len();
    out.push(b'/');
    let mut rest = path.strip_prefix(b"/").unwrap_or(path);
    loop {
        let start = out.len();
        let (segment, after) =
            rest.split_at(rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len()));
        push_escaped(out, segment)?;
        let mut add_slash = true;
        match out.get(start..)? {
            b"." if start == root + 1 => {
                out.truncate(start);
                add_slash = false;
            }
            b"." => out.truncate(start - 1),
            b".." => {
                let slash = start - 1;
                if slash == root {
                    return None;
                }
                let parent = out.get(..slash)?.iter().rposition(|byte| *byte == b'/')?;
                add_slash = parent != root;
                out.truncate(if add_slash { parent } else { parent + 1 });
            }
            _ => {}
        }
        rest = after;
        match rest.strip_prefix(b"/") {
            Some(after) => rest = after,
            None => break,
        }
        if add_slash {
            out.push(b'/');
        }
    }
    push_escaped(out, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_normalized() {
        let text = |url: &str| normalize(url.as_bytes()).map(|url| String::from_utf8(url).unwrap());
        assert_eq!(text("HTTP://U%41:p@Host:0080/a/./b/../%7e?q").unwrap(), "http://UA:p@host/a/~?q");
        assert_eq!(text("https://h:8443").unwrap(), "https://h:8443/");
        assert_eq!(text("http://[::1]:0/"), None);
        assert_eq!(text("http:///x"), None);
        assert_eq!(text("http://h/../x"), None);
        assert_eq!(text("http://h/%zz"), None);
        assert_eq!(text("file:///x").unwrap(), "file:///x");
    }
}
