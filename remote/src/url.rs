//! URLs of remotes: taken apart once, then known to be well formed and free of credentials.

use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use crate::error::{Class, RemoteError};
use crate::limits::URL_BYTES_MAX;
use crate::options::Credentials;

/// Scheme, host and port: what credentials are given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub https: bool,
    /// In lower case; an IPv6 address in brackets.
    pub host: String,
    pub port: u16,
}

impl Origin {
    fn is_default_port(&self) -> bool {
        self.port == if self.https { 443 } else { 80 }
    }

    /// Whether credentials for `self` may be given to `next`: the same origin, or its upgrade from http to https.
    pub fn may_trust(&self, next: &Self) -> bool {
        let upgrade = !self.https && next.https && self.is_default_port() && next.is_default_port();
        self.host == next.host && (self == next || upgrade)
    }
}

/// A URL without user, password, query and fragment.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub origin: Origin,
    /// The whole URL; no slash ends it.
    pub text: String,
}

fn refused(text: impl Into<String>) -> RemoteError {
    RemoteError::new(Class::Refused, text)
}

/// Splits `url` into where it leads and the credentials it holds.
pub(crate) fn parse(url: &str) -> Result<(Place, Option<Credentials>), RemoteError> {
    if url.len() > URL_BYTES_MAX {
        return Err(refused(format!("a URL of {} bytes, at most {URL_BYTES_MAX} are taken", url.len())));
    }
    let Some((scheme, _)) = url.split_once("://") else {
        return Err(refused("no URL: https://host/path is taken"));
    };
    let https = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        other => {
            let shown: String = other.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
            return Err(refused(format!("scheme {shown} is not taken, only https and http are")));
        }
    };
    // What the parser says may repeat the URL, and so the password.
    let uri: Uri = url.parse().map_err(|_| refused("the URL is malformed"))?;
    if uri.query().is_some() || url.contains('#') {
        return Err(refused("a URL with a query or a fragment names no repository"));
    }
    let authority = uri.authority().ok_or_else(|| refused("the URL names no host"))?;
    let (user, bare) = match authority.as_str().rsplit_once('@') {
        Some((user, bare)) => (Some(user), bare),
        None => (None, authority.as_str()),
    };
    let host = authority.host().to_ascii_lowercase();
    if host.is_empty() || bare.ends_with(':') {
        return Err(refused("the URL names no host, or an empty port"));
    }
    let port = match bare.rsplit_once(':') {
        Some((_, digits)) if !bare.ends_with(']') => {
            digits.parse().ok().filter(|port| *port > 0).ok_or_else(|| refused("the URL has a bad port"))?
        }
        _ if https => 443,
        _ => 80,
    };
    let scheme = if https { "https" } else { "http" };
    let text = format!("{scheme}://{bare}{}", uri.path()).trim_end_matches('/').to_owned();
    Ok((Place { origin: Origin { https, host, port }, text }, user.map(credentials)))
}

fn credentials(user_info: &str) -> Credentials {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Credentials::Basic { user: decode(user), password: decode(password) }
}

/// `url` without its credentials, and the credentials. Fails where [`Remote::open`](crate::Remote::open) would refuse `url`.
pub fn split_credentials(url: &str) -> Result<(String, Option<Credentials>), RemoteError> {
    parse(url).map(|(place, credentials)| (place.text, credentials))
}

/// Where a redirect leads: `location` as seen from `from`, both complete URLs. `tail` is what the request appended to its base
/// and what the new URL has to end with, as git demands; what is before it is the new base.
pub(crate) fn redirected(from: &Place, location: &str, tail: &str) -> Result<Place, RemoteError> {
    let absolute = match location {
        _ if location.contains("://") => location.to_owned(),
        _ if location.starts_with("//") => {
            format!("{}:{location}", if from.origin.https { "https" } else { "http" })
        }
        _ if location.starts_with('/') => {
            let host_at = from.text.find("://").map_or(0, |at| at + 3);
            let path_at = from.text.get(host_at..).and_then(|rest| rest.find('/')).map(|at| host_at + at);
            format!("{}{location}", from.text.get(..path_at.unwrap_or(from.text.len())).unwrap_or_default())
        }
        _ => return Err(refused("a redirect to a relative path is not followed")),
    };
    let base = absolute.strip_suffix(tail).ok_or_else(|| {
        RemoteError::new(Class::NotGit, "redirects to a page that is no git repository, perhaps to a login")
    })?;
    let (place, _) = parse(base)?;
    if from.origin.https && !place.origin.https {
        return Err(refused("a redirect from https to http is not followed"));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_split_from_the_url_and_never_told() {
        let (url, found) = split_credentials("https://us%40er:p%3Ass@Example.com:8443/a/b.git/").unwrap();
        assert_eq!(url, "https://Example.com:8443/a/b.git");
        assert_eq!(found, Some(Credentials::Basic { user: "us@er".into(), password: "p:ss".into() }));
        assert_eq!(format!("{found:?}"), "Some(Credentials(..))");
        for bad in [
            "https://u:secret@h:x/r",
            "https://u:secret@/r",
            "https://u:secret@h/ r",
            "https://u:secret@h/r?q",
        ] {
            let error = split_credentials(bad).unwrap_err();
            assert_eq!(error.class(), Class::Refused, "{bad}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_plain_http_urls_are_taken() {
        let rows = [
            ("https://h/r", Some("https://h/r")),
            ("HTTPS://h/r/", Some("https://h/r")),
            ("http://[::1]:80/r", Some("http://[::1]:80/r")),
            ("https://h", Some("https://h")),
            ("ssh://h/r", None),
            ("file:///r", None),
            ("git@h:r", None),
            ("https:///r", None),
            ("https://h:0/r", None),
            ("https://h:/r", None),
            ("https://h:70000/r", None),
            ("https://h/r#f", None),
            ("https://h/r\nx", None),
            ("", None),
        ];
        for (url, want) in rows {
            assert_eq!(parse(url).ok().map(|(place, _)| place.text).as_deref(), want, "{url}");
        }
        let long = format!("https://h/{}", "x".repeat(URL_BYTES_MAX - 10));
        assert!(parse(&long).is_ok(), "at the limit");
        assert!(parse(&format!("{long}x")).is_err(), "one past it");
    }

    #[test]
    fn redirects_lead_to_git_urls_and_never_down_to_http() {
        let from = parse("https://a.example/x/y").unwrap().0;
        let tail = "/info/refs?service=git-upload-pack";
        let to = |location: &str| redirected(&from, location, tail).map(|place| place.text);
        assert_eq!(to(&format!("https://b.example/z{tail}")).unwrap(), "https://b.example/z");
        assert_eq!(to(&format!("//b.example/z{tail}")).unwrap(), "https://b.example/z");
        assert_eq!(to(&format!("/q.git{tail}")).unwrap(), "https://a.example/q.git");
        assert_eq!(to(&format!("https://u:p@b.example/z{tail}")).unwrap(), "https://b.example/z");
        let class = |location: &str| to(location).unwrap_err().class();
        assert_eq!(class(&format!("http://a.example/x/y{tail}")), Class::Refused);
        assert_eq!(class(&format!("ftp://a.example/x/y{tail}")), Class::Refused);
        assert_eq!(class("https://a.example/login"), Class::NotGit);
        assert_eq!(class("info/refs"), Class::Refused);
    }

    #[test]
    fn credentials_follow_only_to_the_same_host_and_port() {
        let origin = |url: &str| parse(url).unwrap().0.origin;
        let rows = [
            ("https://a/x", "https://A/y", true),
            ("https://a/x", "https://a:443/y", true),
            ("http://a/x", "https://a/y", true),
            ("https://a/x", "https://b/x", false),
            ("https://a/x", "https://a:8443/x", false),
            ("http://a:8080/x", "https://a/x", false),
            ("https://a/x", "https://x.a/x", false),
        ];
        for (from, to, want) in rows {
            assert_eq!(origin(from).may_trust(&origin(to)), want, "{from} to {to}");
        }
    }
}
