//! The HTTP client of the commands: one request at a time, no runtime, answers in the v4 envelope.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::crypto::ring;
use serde_json::Value;
use ureq::config::ConfigBuilder;
use ureq::http::{Method, Request, Response, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body, SendBody};

use super::authorities;
use super::target::RepoName;
use crate::limits::{CLI_ANSWER_BYTES_MAX, CLI_ANSWER_SECONDS_MAX, CLI_CONNECT_SECONDS_MAX, CLI_PAGES_MAX};

/// What needs no escape in a part of a path or of a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for names that hold slashes.
const PLAIN_PATH: &AsciiSet = &PLAIN.remove(b'/');

/// A part of a path.
pub(super) fn part(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// Several parts of a path, with their slashes.
pub(super) fn parts(text: &str) -> String {
    utf8_percent_encode(text, PLAIN_PATH).to_string()
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(super) enum Problem {
    /// The command line makes no sense.
    Usage(String),
    /// The server said no.
    Refused {
        /// HTTP status.
        status: u16,
        /// The number of the error; 0 where the answer had none.
        code: u64,
        /// In words.
        message: String,
        /// The field at fault, or nothing.
        pointer: String,
        /// What else the answer said.
        details: Value,
    },
    /// Anything else, in words.
    Failed(String),
    /// Another program was run and has said itself what is wrong; its exit code.
    Exit(u8),
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Failed(text) => to.write_str(text),
            Self::Refused { status, code: 0, message, .. } => write!(to, "{message} (status {status})"),
            Self::Refused { code, message, pointer, .. } if pointer.is_empty() => {
                write!(to, "{message} (code {code})")
            }
            Self::Refused { code, message, pointer, .. } => {
                write!(to, "{message} (code {code}, at {pointer})")
            }
            Self::Exit(code) => write!(to, "exit code {code}"),
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What is sent along.
pub(super) enum Payload<'a> {
    /// Nothing.
    None,
    /// A JSON body.
    Json(&'a Value),
    /// A body of so many bytes that is read while it is sent, and its media type.
    Stream(&'a mut dyn Read, &'a str, u64),
}

/// A connection to one server.
pub(super) struct Client {
    agent: Agent,
    /// The origin, without a slash at its end.
    pub(super) origin: String,
    base: String,
    authorization: String,
}

impl Client {
    /// `ca_file`: authorities that are trusted beside the system's.
    pub(super) fn new(
        origin: &str,
        account: &str,
        token: &str,
        ca_file: Option<&Path>,
    ) -> Result<Self, Problem> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::Usage("the API token is empty or holds more than one word".into()));
        }
        let trust = match (origin.starts_with("https://"), ca_file) {
            (true, Some(file)) => Some(authorities::with_file(file).map_err(Problem::Usage)?),
            (true, None) => Some(authorities::usual()),
            // Reading the system's takes longer than most answers.
            (false, _) => None,
        };
        Ok(Self {
            agent: settings(tls(trust)).build().into(),
            origin: origin.to_owned(),
            base: format!("{origin}/client/v4/accounts/{}/artifacts", part(account)),
            authorization: format!("Bearer {token}"),
        })
    }

    /// The answer to a GET.
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Problem> {
        self.send("GET", path, query, Payload::None)
    }

    /// The answer to a POST of JSON.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Problem> {
        self.send("POST", path, &[], Payload::Json(body))
    }

    /// The text at a path below the origin.
    pub(super) fn text(&self, path: &str) -> Result<String, Problem> {
        let request = Request::builder().uri(format!("{}{path}", self.origin));
        let request = request.header(header::AUTHORIZATION, &self.authorization);
        let answer = self.agent.run(built(request.body(SendBody::none()))?);
        let mut response =
            answer.map_err(|error| Problem::Failed(format!("{} cannot be reached: {error}", self.origin)))?;
        let bytes = body(&mut response)?;
        match response.status().is_success() {
            true => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            false => Err(refused(response.status().as_u16(), &bytes)),
        }
    }

    /// The JSON of an answer that says that all went well; null for an empty one.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        payload: Payload<'_>,
    ) -> Result<Value, Problem> {
        let mut response = self.raw(method, path, query, payload)?;
        let bytes = body(&mut response)?;
        match bytes.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&bytes)
                .map_err(|error| Problem::Failed(format!("{} answers no JSON: {error}", self.origin))),
        }
    }

    /// An answer that says that all went well, its body unread.
    pub(super) fn raw(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        payload: Payload<'_>,
    ) -> Result<Response<Body>, Problem> {
        let pairs: Vec<String> = query.iter().map(|(key, value)| format!("{key}={}", part(value))).collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{}", self.base, pairs.join("&"));
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|error| Problem::Failed(error.to_string()))?;
        let mut request =
            Request::builder().method(method).uri(url).header(header::AUTHORIZATION, &self.authorization);
        let answer = match payload {
            Payload::None => self.agent.run(built(request.body(SendBody::none()))?),
            Payload::Json(value) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                self.agent.run(built(request.body(value.to_string()))?)
            }
            Payload::Stream(reader, media_type, bytes) => {
                request =
                    request.header(header::CONTENT_TYPE, media_type).header(header::CONTENT_LENGTH, bytes);
                self.agent.run(built(request.body(SendBody::from_reader(reader)))?)
            }
        };
        let mut response =
            answer.map_err(|error| Problem::Failed(format!("{} cannot be reached: {error}", self.origin)))?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(refused(response.status().as_u16(), &body(&mut response)?)),
        }
    }

    /// All items of a list, page by page, up to `count_max`.
    pub(super) fn all(
        &self,
        path: &str,
        query: &[(&str, &str)],
        count_max: usize,
    ) -> Result<Vec<Value>, Problem> {
        let mut items: Vec<Value> = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..CLI_PAGES_MAX {
            let mut query = query.to_vec();
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let answer = self.get(path, &query)?;
            items.extend(answer.get("result").and_then(Value::as_array).cloned().unwrap_or_default());
            cursor = answer.pointer("/result_info/cursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || items.len() >= count_max {
                break;
            }
        }
        items.truncate(count_max);
        Ok(items)
    }
}

/// What sends requests to a server whose certificate the usual authorities must have signed.
pub(crate) fn agent(is_https: bool) -> Agent {
    settings(tls(is_https.then(authorities::usual))).build().into()
}

/// TLS that believes these authorities; without any, for a server that is asked without TLS.
pub(super) fn tls(trust: Option<Vec<Certificate<'static>>>) -> TlsConfig {
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
    match trust {
        Some(trust) => builder.root_certs(RootCerts::from(trust)).build(),
        None => builder.build(),
    }
}

/// TLS that believes any certificate: for a server at a loopback address that gets nothing secret.
pub(super) fn tls_unchecked() -> TlsConfig {
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
    builder.disable_verification(true).build()
}

/// How all commands ask. No redirect is followed, which would carry a token elsewhere.
pub(super) fn settings(tls: TlsConfig) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .tls_config(tls)
        .user_agent(concat!("cairn/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(Duration::from_secs(CLI_CONNECT_SECONDS_MAX)))
        .timeout_per_read(Some(Duration::from_secs(CLI_ANSWER_SECONDS_MAX)))
}

/// The route of a repository, and what follows it.
pub(super) fn route(repo: &RepoName, rest: &str) -> String {
    format!("/namespaces/{}/repos/{}{rest}", part(&repo.namespace), part(&repo.name))
}

/// The `result` of an answer.
pub(super) fn result(answer: &Value) -> &Value {
    answer.get("result").unwrap_or(&Value::Null)
}

fn built<T>(request: Result<Request<T>, ureq::http::Error>) -> Result<Request<T>, Problem> {
    request.map_err(|error| Problem::Usage(format!("this makes no request: {error}")))
}

pub(super) fn body(response: &mut Response<Body>) -> Result<Vec<u8>, Problem> {
    let read = response.body_mut().with_config().limit(CLI_ANSWER_BYTES_MAX).read_to_vec();
    read.map_err(|error| Problem::Failed(format!("the answer broke off or is too long: {error}")))
}

pub(super) fn refused(status: u16, body: &[u8]) -> Problem {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = answer.pointer("/errors/0").unwrap_or(&Value::Null);
    let text = |pointer| error.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = match text("/message") {
        message if message.is_empty() => "the server gave no reason".to_owned(),
        message => message,
    };
    let code = error.get("code").and_then(Value::as_u64).unwrap_or_default();
    Problem::Refused { status, code, message, pointer: text("/source/pointer"), details: error.clone() }
}
