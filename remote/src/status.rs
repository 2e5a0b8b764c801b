//! What HTTP statuses and failures mean for a caller.

use std::io;

use ureq::http::{Response, StatusCode};
use ureq::{Body, Timeout};

use crate::address::AddressRefused;
use crate::error::{Class, RemoteError};

pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Refuses what is not 200. `other` is the class of statuses that say nothing in particular.
pub(crate) fn judge(url: &str, answer: &Response<Body>, other: Class) -> Result<(), RemoteError> {
    let status = answer.status();
    let (class, said) = match status.as_u16() {
        200 => return Ok(()),
        401 | 403 | 407 => (Class::Auth, "asks for credentials, or for other ones"),
        404 | 410 => (Class::NotFound, "has nothing here"),
        408 | 425 | 429 | 500..=599 => (Class::Unreachable, "cannot answer now"),
        300..=399 => (Class::Refused, "redirects where that is not followed"),
        _ => (other, "does not take the request"),
    };
    Err(RemoteError::new(
        class,
        format!("{}: the remote {said} (HTTP {})", without_query(url), status.as_u16()),
    ))
}

fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

pub(crate) fn deadline(url: &str) -> RemoteError {
    RemoteError::lasting(format!("{}: not done within the time for one call", without_query(url)))
}

/// What a failure of the HTTP library means.
pub(crate) fn failed(url: &str, error: ureq::Error) -> RemoteError {
    let url = without_query(url);
    let unreachable = |text: String| RemoteError::new(Class::Unreachable, format!("{url}: {text}"));
    match error {
        ureq::Error::Timeout(Timeout::Global) => deadline(url),
        ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite) => {
            unreachable("no byte within the time to wait for one".to_owned())
        }
        ureq::Error::Timeout(phase) => unreachable(format!("not done in time ({phase:?})")),
        ureq::Error::Other(other) => match other.downcast::<AddressRefused>() {
            Ok(refused) => RemoteError::new(Class::Refused, refused.to_string()),
            Err(other) => unreachable(other.to_string()),
        },
        ureq::Error::Io(error) if is_tls(&error) => {
            RemoteError::lasting(format!("{url}: TLS failed: {error}"))
        }
        ureq::Error::Io(error) => unreachable(error.to_string()),
        ureq::Error::Rustls(error) => RemoteError::lasting(format!("{url}: TLS failed: {error}")),
        ureq::Error::Tls(error) => RemoteError::lasting(format!("{url}: TLS failed: {error}")),
        ureq::Error::HostNotFound => RemoteError::lasting(format!("{url}: there is no such host")),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            let text = format!("{url}: the URL or the credentials hold what no request can");
            RemoteError::new(Class::Refused, text)
        }
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
            RemoteError::new(Class::Protocol, format!("{url}: the answer is no proper HTTP"))
        }
        other => unreachable(other.to_string()),
    }
}

/// Whether TLS itself failed, and not the connection below it. That a peer closed without a farewell is the connection's.
fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}
