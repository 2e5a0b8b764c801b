//! Whose certificates the commands believe.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ureq::tls::{Certificate, PemItem, parse_pem};

use crate::limits::CLI_CA_FILE_BYTES_MAX;

/// The system's certificate authorities (`SSL_CERT_FILE` names others), Mozilla's where it has none.
pub(super) fn usual() -> Vec<Certificate<'static>> {
    let system = rustls_native_certs::load_native_certs().certs;
    let mut found: Vec<_> = system.iter().map(|cert| Certificate::from_der(cert).to_owned()).collect();
    if found.is_empty() {
        let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        found.extend(mozilla.iter().map(|cert| Certificate::from_der(cert).to_owned()));
    }
    found
}

/// The usual ones and those of a PEM file; else what is wrong with the file, in words.
pub(super) fn with_file(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let wrong = |why: String| format!("the certificate authorities in {}: {why}", path.display());
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(CLI_CA_FILE_BYTES_MAX + 1).read_to_end(&mut pem));
    read.map_err(|error| wrong(error.to_string()))?;
    if pem.len() as u64 > CLI_CA_FILE_BYTES_MAX {
        return Err(wrong(format!("more than {CLI_CA_FILE_BYTES_MAX} bytes")));
    }
    let mut found = usual();
    let before = found.len();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(cert) = item.map_err(|error| wrong(format!("no PEM file: {error}")))? {
            found.push(cert);
        }
    }
    match found.len() > before {
        true => Ok(found),
        false => Err(wrong("no certificate is in it".into())),
    }
}
