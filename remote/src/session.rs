//! A remote that has answered: what it offers, and the transport for its commands.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_protocol::object::HashAlgo;
use gix_protocol::Handshake;
use gix_transport::client::blocking_io::http::Transport;
use gix_transport::client::{Capabilities as GixCapabilities, TransportWithoutIO as _};
use gix_transport::{Protocol, Service};
use gix_utils::progress::Discard;
use rustls::crypto::ring;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;

use crate::address::CheckedResolver;
use crate::error::{Class, RemoteError};
use crate::http::{Client, Shared};
use crate::limits::{
    CA_FILE_BYTES_MAX, HTTP_HEAD_BYTES_MAX, MESSAGE_BYTES_MAX, REFS_BYTES_MAX, SERVER_OPTION_BYTES_MAX,
    SERVER_OPTIONS_MAX,
};
use crate::options::{AddressPolicy, Options};
use crate::url;

/// What a remote offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The protocol's version: 0, 1 or 2.
    pub version: u8,
    /// Whether `FetchWish::filter` is taken.
    pub filter: bool,
    /// Whether [`Remote::sizes`] is answered.
    pub object_info: bool,
    /// Whether `FetchWish::depth` and `FetchWish::shallow` are taken.
    pub shallow: bool,
    /// Whether the branch of an empty repository's HEAD is told.
    pub unborn: bool,
    /// Whether objects may be wanted that no ref names. In version 2 nothing says so, and servers allow it.
    pub any_want: bool,
    /// The hash that names the remote's objects.
    pub object_format: HashAlgo,
    /// Whether `Options::server_options` are taken.
    pub server_option: bool,
    /// What the remote calls itself.
    pub agent: Option<String>,
}

/// A remote over smart HTTP. Blocking: to be used on a thread of its own.
///
/// After a failed call the next one begins anew; the object stays usable.
pub struct Remote {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
    pub(crate) capabilities: Capabilities,
    pub(crate) session: Option<Session>,
}

/// Ends the calls of a [`Remote`] from another thread.
#[derive(Clone)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// Closes the connections: a call that waits for the remote fails at once, and so do all later ones.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// What a command of version 2 tells beside its arguments.
pub(crate) fn told<'a>(
    agent: &'a str,
    server_options: &'a [String],
    offered: &Capabilities,
) -> Vec<(&'static str, Option<&'a str>)> {
    let format = ("object-format", Some(offered.object_format.name()));
    let options = server_options.iter().map(|option| ("server-option", Some(option.as_str())));
    [("agent", Some(agent)), format].into_iter().chain(options).collect()
}

pub(crate) struct Session {
    pub transport: Transport<Client>,
    pub handshake: Handshake,
}

impl Remote {
    /// Asks the remote for what it offers, as the first half of every fetch does.
    pub fn open(url: &str, options: Options) -> Result<Self, RemoteError> {
        check_server_options(&options.server_options)?;
        let (place, in_url) = url::parse(url)?;
        let credentials = options.credentials.clone().or(in_url);
        let agent = agent(&options)?;
        let shared =
            Shared::new(place, agent, credentials.as_ref().map(super::Credentials::header), &options);
        shared.begin(REFS_BYTES_MAX, deadline(&options));
        let session = connect(&shared)?;
        let capabilities = capabilities(&session.handshake, shared.is_v1())?;
        if let Some(option) = options.server_options.first().filter(|_| !capabilities.server_option) {
            let text = format!(
                "{}: the remote does not offer server options, so it cannot be asked for {option}",
                shared.url()
            );
            return Err(RemoteError::new(Class::Protocol, text));
        }
        Ok(Self { shared, options, capabilities, session: Some(session) })
    }

    /// What the remote offers.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Where the remote was found in the end, after redirects, without credentials.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// What ends a running call from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    /// Gives later calls another deadline.
    pub fn set_total_deadline(&mut self, total: Option<Duration>) {
        self.options.total_deadline = total;
    }

    /// Runs one call: with a session, within the limits, and with the session gone if it fails.
    pub(crate) fn call<T>(
        &mut self,
        budget: u64,
        work: impl FnOnce(&Shared, &Capabilities, &mut Session) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let shared = Arc::clone(&self.shared);
        shared.begin(REFS_BYTES_MAX, deadline(&self.options));
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.connect_again()?,
        };
        shared.set_budget(budget);
        let capabilities = &self.capabilities;
        let done = guard(&shared, || work(&shared, capabilities, &mut session))?;
        self.session = Some(session);
        Ok(done)
    }

    fn connect_again(&self) -> Result<Session, RemoteError> {
        let session = connect(&self.shared)?;
        let now = capabilities(&session.handshake, self.shared.is_v1())?;
        if (now.version, now.object_format) != (self.capabilities.version, self.capabilities.object_format) {
            let text = format!("{}: the remote has become another one meanwhile", self.url());
            return Err(RemoteError::new(Class::Protocol, text));
        }
        Ok(session)
    }
}

/// An option is one line of a request: nothing in it may end the line.
fn check_server_options(options: &[String]) -> Result<(), RemoteError> {
    if options.len() > SERVER_OPTIONS_MAX {
        let text = format!("{} server options: at most {SERVER_OPTIONS_MAX} are sent", options.len());
        return Err(RemoteError::new(Class::Limit, text));
    }
    let is_plain = |option: &&String| {
        option.len() <= SERVER_OPTION_BYTES_MAX && option.bytes().all(|byte| (b' '..0x7f).contains(&byte))
    };
    match options.iter().find(|option| !is_plain(option)) {
        Some(option) => {
            let text = format!(
                "the server option {}: up to {SERVER_OPTION_BYTES_MAX} printable ASCII characters are allowed",
                plain(option.as_bytes())
            );
            Err(RemoteError::new(Class::Refused, text))
        }
        None => Ok(()),
    }
}

fn deadline(options: &Options) -> Option<Instant> {
    options.total_deadline.and_then(|total| Instant::now().checked_add(total))
}

/// gix asserts on some malformed answers. A peer must not be able to take the thread down, so a panic is an error here.
fn guard<T>(shared: &Shared, work: impl FnOnce() -> Result<T, RemoteError>) -> Result<T, RemoteError> {
    let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let text = format!("{}: the remote's answer makes no sense", shared.url());
        Err(RemoteError::new(Class::Protocol, text))
    });
    // What failed first is the cause of what failed later.
    done.map_err(|error| shared.take_error().unwrap_or(error))
}

/// gix's error as ours: its text with that of its causes. A failure of HTTP is told by `guard` instead.
pub(crate) fn broken(shared: &Shared, error: &(dyn std::error::Error + 'static)) -> RemoteError {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&more);
        }
        next = error.source().filter(|_| text.len() < MESSAGE_BYTES_MAX);
    }
    let class = if text.contains("not our ref") { Class::NotFound } else { Class::Protocol };
    RemoteError::new(class, format!("{}: {}", shared.url(), plain(text.as_bytes())))
}

/// A message of the remote, fit for a log: cut to size, without control characters.
pub(crate) fn plain(message: &[u8]) -> String {
    let message = message.get(..MESSAGE_BYTES_MAX).unwrap_or(message);
    let message = String::from_utf8_lossy(message);
    message.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn connect(shared: &Arc<Shared>) -> Result<Session, RemoteError> {
    guard(shared, || {
        let place = shared.url();
        let url = gix_url::parse(place.as_str())
            .map_err(|_| RemoteError::new(Class::Refused, format!("{place}: the URL is malformed")))?;
        let mut transport = Transport::new_http(Client(Arc::clone(shared)), url, Protocol::V2, false);
        debug_assert!(!transport.connection_persists_across_multiple_requests());
        // Credentials are ours to send, so gix never has to ask for any.
        let handshake = gix_protocol::handshake(
            &mut transport,
            Service::UploadPack,
            |_| Ok(None),
            Vec::new(),
            &mut Discard,
        )
        .map_err(|error| broken(shared, &error))?;
        Ok(Session { transport, handshake })
    })
}

fn capabilities(handshake: &Handshake, is_v1: bool) -> Result<Capabilities, RemoteError> {
    let offered = &handshake.capabilities;
    let version = match handshake.server_protocol_version {
        Protocol::V2 => 2,
        _ => u8::from(is_v1),
    };
    let has = |name: &str| offered.contains(name);
    let fetch_has =
        |name: &str| offered.capability("fetch").and_then(|fetch| fetch.supports(name)).unwrap_or(false);
    let v2 = version == 2;
    Ok(Capabilities {
        version,
        filter: if v2 { fetch_has("filter") } else { has("filter") },
        object_info: v2 && has("object-info"),
        shallow: if v2 { fetch_has("shallow") } else { has("shallow") },
        unborn: v2 && offered.capability("ls-refs").and_then(|refs| refs.supports("unborn")).unwrap_or(false),
        any_want: v2 || has("allow-reachable-sha1-in-want"),
        object_format: object_format(offered)?,
        server_option: v2 && has("server-option"),
        agent: offered.capability("agent").and_then(|agent| agent.value()).map(|agent| plain(agent)),
    })
}

fn object_format(offered: &GixCapabilities) -> Result<HashAlgo, RemoteError> {
    let Some(format) = offered.capability("object-format").and_then(|format| format.value()) else {
        return Ok(HashAlgo::Sha1);
    };
    let name = plain(format);
    HashAlgo::from_name(&name)
        .ok_or_else(|| RemoteError::new(Class::Protocol, format!("object format {name} is not known here")))
}

fn agent(options: &Options) -> Result<Agent, RemoteError> {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::from(authorities(options)?))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    let mut config = Agent::config_builder()
        .tls_config(tls)
        .user_agent(options.user_agent.clone())
        .http_status_as_error(false)
        // Redirects are ours to judge.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(HTTP_HEAD_BYTES_MAX)
        .timeout_resolve(Some(options.connect_timeout))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_per_read(Some(options.read_timeout))
        .timeout_per_write(Some(options.read_timeout));
    if options.addresses == AddressPolicy::PublicOnly {
        config = config.proxy(None);
    }
    let resolver = CheckedResolver::new(options.addresses);
    Ok(Agent::with_parts(config.build(), DefaultConnector::default(), resolver))
}

/// The system's certificate authorities, Mozilla's where the system has none, and the caller's.
fn authorities(options: &Options) -> Result<Vec<Certificate<'static>>, RemoteError> {
    let system = rustls_native_certs::load_native_certs().certs;
    let mut found: Vec<_> = system.iter().map(|cert| Certificate::from_der(cert).to_owned()).collect();
    if found.is_empty() {
        let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        found.extend(mozilla.iter().map(|cert| Certificate::from_der(cert).to_owned()));
    }
    let Some(path) = &options.ca_file else { return Ok(found) };
    let refused = |why: &str| RemoteError::new(Class::Refused, format!("{}: {why}", path.display()));
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(CA_FILE_BYTES_MAX + 1).read_to_end(&mut pem));
    read.map_err(|error| refused(&format!("cannot read the certificate authorities: {error}")))?;
    if pem.len() as u64 > CA_FILE_BYTES_MAX {
        return Err(refused(&format!("more than {CA_FILE_BYTES_MAX} bytes of certificates")));
    }
    let before = found.len();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(cert) = item.map_err(|_| refused("no PEM file"))? {
            found.push(cert);
        }
    }
    if found.len() == before {
        return Err(refused("holds no certificate"));
    }
    Ok(found)
}
