//! The texts of tokens, and the credentials that carry them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::limits::CREDENTIAL_BYTES_MAX;
use crate::random;
use crate::store::catalog::{NewToken, Scope, TokenHash};

/// The token that opens REST, kept as a hash, so that comparing takes as long whatever is sent.
#[derive(Clone)]
pub struct ApiToken([u8; 32]);

impl ApiToken {
    /// From its text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Whether `text` is it.
    pub fn is(&self, text: &str) -> bool {
        let other: [u8; 32] = Sha256::digest(text).into();
        self.0.ct_eq(&other).into()
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ApiToken")
    }
}

/// A fresh token: the only time its text exists here.
pub struct Issued {
    /// `art_v1_<40 hex>?expires=<unix seconds>`.
    pub plaintext: String,
    /// What is stored.
    pub row: NewToken,
}

/// Makes a repository's token that lives for `ttl_seconds`.
pub fn issue(scope: Scope, now_ms: i64, ttl_seconds: i64) -> Issued {
    let core = format!("art_v1_{}", random::hex(&random::bytes::<20>()));
    let expires_at_ms = now_ms.saturating_add(ttl_seconds.saturating_mul(1_000));
    let row = NewToken { hash: hash(&core), scope, created_at_ms: now_ms, expires_at_ms };
    Issued { plaintext: format!("{core}?expires={}", expires_at_ms.div_euclid(1_000)), row }
}

/// The text of a new API token, and what is stored of it.
pub fn api_token() -> (String, TokenHash) {
    let text = format!("{API_TOKEN_START}{}", random::hex(&random::bytes::<20>()));
    let hash = hash(&text);
    (text, hash)
}

/// How the text of an API token starts; 40 digits of hex follow. Scanners for leaked secrets look for such starts.
const API_TOKEN_START: &str = "cairn_v1_";

/// The hash of what may be an API token.
pub(super) fn parse_api_token(text: &str) -> Option<TokenHash> {
    let hex = text.strip_prefix(API_TOKEN_START)?;
    (hex.len() == 40 && hex.bytes().all(|digit| digit.is_ascii_hexdigit())).then(|| hash(text))
}

fn hash(core: &str) -> TokenHash {
    let whole: [u8; 32] = Sha256::digest(core).into();
    let mut half = [0; 16];
    half.copy_from_slice(whole.split_at(16).0);
    TokenHash(half)
}

/// The hash of a repository's token, given with or without its suffix. What the suffix says is not believed: the
/// catalog knows when a token ends.
fn parse(text: &str) -> Option<TokenHash> {
    let core = text.split_once('?').map_or(text, |(core, _)| core);
    let hex = core.strip_prefix("art_v1_").or_else(|| core.strip_prefix("art_v2_x_"))?;
    (hex.len() == 40 && hex.bytes().all(|digit| digit.is_ascii_hexdigit())).then(|| hash(core))
}

/// The token in a value of `Authorization`: `Bearer <token>`, `Basic <anyone>:<token>` or `Basic <token>[:<anything>]`.
pub(super) fn from_credentials(value: &str) -> Option<TokenHash> {
    if value.len() > CREDENTIAL_BYTES_MAX {
        return None;
    }
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return parse(rest);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = STANDARD.decode(rest).or_else(|_| STANDARD_NO_PAD.decode(rest)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':').unwrap_or((&text, ""));
    parse(password).or_else(|| parse(user))
}

#[cfg(test)]
mod tests {
    use super::{ApiToken, STANDARD, from_credentials, issue};
    use crate::limits::CREDENTIAL_BYTES_MAX;
    use crate::store::catalog::Scope;
    use base64::Engine;

    #[test]
    fn a_token_is_found_wherever_clients_put_it() {
        let token = issue(Scope::Read, 1_700_000_000_999, 60);
        let whole = token.plaintext.as_str();
        assert!(whole.ends_with("?expires=1700000060"));
        let core = whole.split('?').next().expect("a first part");
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
        let good = [
            format!("Bearer {whole}"),
            format!("bearer {core}"),
            basic(format!("x:{core}")),
            basic(format!("x:{whole}")),
            basic(format!(":{whole}")),
            basic(format!("{core}:")),
            basic(core.to_owned()),
            basic(format!("{whole}:x-oauth-basic")),
        ];
        for value in good {
            assert_eq!(from_credentials(&value), Some(token.row.hash), "{value}");
        }
        let cut = core.get(..46).expect("47 characters");
        let bad = [
            "".into(),
            "Bearer".into(),
            format!("Token {core}"),
            format!("Bearer {cut}"),
            "Basic !!!".into(),
        ];
        for value in bad {
            assert_eq!(from_credentials(&value), None, "{value}");
        }
        let form = format!("Bearer {}", core.replace("art_v1_", "art_v2_x_"));
        assert!(from_credentials(&form).is_some_and(|hash| hash != token.row.hash));
    }

    #[test]
    fn credentials_stop_at_their_limit() {
        let token = issue(Scope::Read, 0, 60);
        // What stands behind the question mark is not looked at.
        let longest = format!("{:x<CREDENTIAL_BYTES_MAX$}", format!("Bearer {}", token.plaintext));
        assert_eq!(from_credentials(&longest), Some(token.row.hash), "at the limit");
        assert_eq!(from_credentials(&format!("{longest}x")), None, "one byte past it");
    }

    #[test]
    fn the_api_token_is_only_itself() {
        let token = ApiToken::new("secret");
        assert!(token.is("secret"));
        assert!(!token.is("secret ") && !token.is(""));
    }
}
