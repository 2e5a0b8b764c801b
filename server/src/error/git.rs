//! What a git client is told when it is not let in, before the first byte of a body.

use crate::auth::GitDenied;

/// The answer to a refused git request.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Value of `WWW-Authenticate`, without which clients do not ask for credentials.
    pub challenge: Option<&'static str>,
    /// One line of text.
    pub text: &'static str,
}

/// The only place that picks a status for refused git requests.
pub fn refusal(denied: &GitDenied) -> Refusal {
    match denied {
        GitDenied::Unauthenticated => {
            let challenge = Some("Basic realm=\"Cairn\"");
            Refusal { status: 401, challenge, text: "a token of this repository is needed\n" }
        }
        GitDenied::Forbidden => {
            Refusal { status: 403, challenge: None, text: "this token may read, but not write\n" }
        }
        GitDenied::ReadOnly => {
            Refusal { status: 403, challenge: None, text: "this repository is read-only\n" }
        }
        GitDenied::Importing => {
            Refusal { status: 409, challenge: None, text: "this repository is being imported\n" }
        }
        GitDenied::Catalog(_) => Refusal { status: 500, challenge: None, text: "internal error\n" },
    }
}
