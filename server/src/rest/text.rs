//! Names as JSON shows them: git's names are bytes, JSON's are text.

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

/// What is not written as it is in `name_raw` and `path_raw`; what such a field says can be sent back in a query.
const RAW: &AsciiSet =
    &CONTROLS.add(b' ').add(b'%').add(b'+').add(b'&').add(b'#').add(b'"').add(b'\\').add(b'?');

/// As text; bytes that are not UTF-8 are replaced.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Percent-encoded, where `lossy` loses something.
pub fn raw(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| encoded(bytes))
}

/// Percent-encoded.
pub fn encoded(bytes: &[u8]) -> String {
    percent_encode(bytes, RAW).to_string()
}
