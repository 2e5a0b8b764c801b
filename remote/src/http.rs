//! HTTP for gix's transport: one agent with one connection pool, our resolver, our redirects, our limits.
//!
//! gix's errors do not tell what our callers need, so the first failure of a call is kept here and told instead of them.

use std::any::Any;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use ureq::http::header::{CONTENT_TYPE, LOCATION};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, RequestBuilder};

use crate::error::{Class, RemoteError};
use crate::limits::{READ_BYTES, REQUEST_BYTES_MAX};
use crate::options::Options;
use crate::status;
use crate::url::{self, Place};

/// What is asked for below a remote's URL. gix's own idea of the URLs is not used: it knows no redirects but ours.
const INFO_REFS: &str = "/info/refs?service=git-upload-pack";
const UPLOAD_PACK: &str = "/git-upload-pack";
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const RESULT: &str = "application/x-git-upload-pack-result";
/// What comes before the refs where a server speaks version 1. gix does not know the second packet, and needs none: what
/// follows is version 0.
const ANNOUNCED_V1: &[u8] = b"001e# service=git-upload-pack\n0000000eversion 1\n";
const ANNOUNCED_BYTES: usize = 34;

/// What outlives a request. The lock is held for a moment only, never while waiting for the remote.
pub(crate) struct Shared {
    agent: Agent,
    redirects_max: u32,
    state: Mutex<State>,
}

struct State {
    /// Where the remote was found in the end.
    place: Place,
    /// Is dropped when a redirect leads to another host.
    authorization: Option<String>,
    /// Whether the server announced version 1.
    is_v1: bool,
    /// Bytes that answers may still have.
    budget: u64,
    /// When the running call of ours has to be done.
    deadline: Option<Instant>,
    /// The first failure of the running call.
    error: Option<RemoteError>,
}

impl Shared {
    pub fn new(place: Place, agent: Agent, authorization: Option<String>, options: &Options) -> Arc<Self> {
        let state = State { place, authorization, is_v1: false, budget: 0, deadline: None, error: None };
        Arc::new(Self { agent, redirects_max: options.redirects_max, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Begins a call: answers may have `budget` bytes until the next word, and all is over at `deadline`.
    pub fn begin(&self, budget: u64, deadline: Option<Instant>) {
        let mut state = self.state();
        (state.budget, state.deadline, state.error) = (budget, deadline, None);
    }

    /// From now on answers may have `budget` bytes.
    pub fn set_budget(&self, budget: u64) {
        self.state().budget = budget;
    }

    /// Why the running call failed, if it failed here.
    pub fn take_error(&self) -> Option<RemoteError> {
        self.state().error.take()
    }

    /// Closes all connections, for good.
    pub fn stop(&self) {
        self.agent.clone().shutdown();
    }

    pub fn is_v1(&self) -> bool {
        self.state().is_v1
    }

    /// The URL that requests go to.
    pub fn url(&self) -> String {
        self.state().place.text.clone()
    }

    /// Keeps `error` and makes one of gix's kind of it.
    fn fail(&self, error: RemoteError) -> io::Error {
        let told = io::Error::other(error.to_string());
        self.state().error.get_or_insert(error);
        told
    }

    /// Sends one request and follows nothing.
    fn send(
        &self,
        url: &str,
        headers: &[(String, String)],
        body: Option<&[u8]>,
    ) -> Result<Response<Body>, RemoteError> {
        let (authorization, deadline) = {
            let state = self.state();
            (state.authorization.clone(), state.deadline)
        };
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(status::deadline(url));
        }
        let answer = match body {
            None => prepare(self.agent.get(url), left, headers, authorization).call(),
            Some(body) => prepare(self.agent.post(url), left, headers, authorization).send(body),
        };
        answer.map_err(|error| status::failed(url, error))
    }

    /// GET of the advertisement below the remote's place, which moves with the redirects.
    fn get(&self, headers: &[(String, String)]) -> Result<Response<Body>, RemoteError> {
        let mut hops = 0;
        loop {
            let place = self.state().place.clone();
            let url = format!("{}{INFO_REFS}", place.text);
            let answer = self.send(&url, headers, None)?;
            if !status::is_redirect(answer.status()) {
                status::judge(&place.text, &answer, Class::NotGit)?;
                return Ok(answer);
            }
            if hops == self.redirects_max {
                let text = format!("{}: more than {hops} redirects are not followed", place.text);
                return Err(RemoteError::new(Class::Refused, text));
            }
            hops += 1;
            let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.ok_or_else(|| {
                let text = format!("{}: a redirect that does not say where to", place.text);
                RemoteError::new(Class::NotGit, text)
            })?;
            let next = url::redirected(&place, location, INFO_REFS)?;
            let mut state = self.state();
            if !place.origin.may_trust(&next.origin) {
                state.authorization = None;
            }
            state.place = next;
        }
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.state();
        let bytes = bytes as u64;
        if bytes > state.budget {
            drop(state);
            let text = "the remote sends more than is taken in an answer of this kind";
            return Err(self.fail(RemoteError::new(Class::Limit, text)));
        }
        state.budget -= bytes;
        Ok(())
    }
}

fn prepare<B>(
    request: RequestBuilder<B>,
    left: Option<Duration>,
    headers: &[(String, String)],
    authorization: Option<String>,
) -> RequestBuilder<B> {
    // A request with a configuration of its own builds its TLS anew, so only where it needs one.
    let request = match left {
        Some(_) => request.config().timeout_global(left).build(),
        None => request,
    };
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    match authorization {
        Some(value) => request.header("Authorization", value),
        None => request,
    }
}

fn is_type(headers: &HeaderMap, want: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(want)
}

/// gix gives `name: value` lines. Its own user agent is left to ours.
fn split(headers: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<(String, String)> {
    let pair = |line: &str| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
    let pairs = headers.into_iter().filter_map(|line| pair(line.as_ref()));
    pairs.filter(|(name, _)| !name.eq_ignore_ascii_case("user-agent")).collect()
}

/// One exchange. gix hands out the writer of a request and the reader of its answer together, so the request goes out when the
/// answer is first asked for.
enum Exchange {
    Waiting { headers: Vec<(String, String)>, body: Arc<Mutex<Vec<u8>>> },
    Answered(Box<dyn Read + Send + Sync>),
    Failed,
}

struct Flow {
    shared: Arc<Shared>,
    exchange: Exchange,
}

type SharedFlow = Arc<Mutex<Flow>>;

impl Flow {
    fn answer(&mut self) -> io::Result<&mut (dyn Read + Send + Sync)> {
        if let Exchange::Waiting { headers, body } = &self.exchange {
            let body = std::mem::take(&mut *body.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
            let answered = self.post(headers, &body);
            // A failed request is not sent again.
            self.exchange = Exchange::Failed;
            self.exchange = Exchange::Answered(answered.map_err(|error| self.shared.fail(error))?);
        }
        match &mut self.exchange {
            Exchange::Answered(reader) => Ok(reader.as_mut()),
            _ => Err(io::Error::other("the request has failed")),
        }
    }

    fn post(
        &self,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Box<dyn Read + Send + Sync>, RemoteError> {
        let url = format!("{}{UPLOAD_PACK}", self.shared.url());
        let answer = self.shared.send(&url, headers, Some(body))?;
        status::judge(&url, &answer, Class::Protocol)?;
        if !is_type(answer.headers(), RESULT) {
            return Err(RemoteError::new(
                Class::Protocol,
                format!("{url}: the answer is not of type {RESULT}"),
            ));
        }
        Ok(Box::new(answer.into_body().into_reader()))
    }
}

/// The head of an answer, as far as gix wants to see it.
pub(crate) struct HeadReader {
    flow: Option<SharedFlow>,
    lines: Cursor<String>,
}

impl Read for HeadReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(flow) = self.flow.take() {
            flow.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).answer()?;
        }
        self.lines.read(buffer)
    }
}

/// The body of an answer, within the budget.
pub(crate) struct AnswerReader {
    flow: SharedFlow,
}

impl Read for AnswerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut flow = self.flow.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let shared = Arc::clone(&flow.shared);
        let read = flow.answer()?.read(buffer).map_err(|error| {
            let url = shared.url();
            shared.fail(status::failed(&url, error.into()))
        })?;
        shared.take(read)?;
        Ok(read)
    }
}

/// Collects the body of a request.
pub(crate) struct RequestWriter {
    body: Arc<Mutex<Vec<u8>>>,
    shared: Arc<Shared>,
}

impl Write for RequestWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut body = self.body.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if body.len() + bytes.len() > REQUEST_BYTES_MAX {
            let text = format!("a request of more than {REQUEST_BYTES_MAX} bytes");
            return Err(self.shared.fail(RemoteError::new(Class::Limit, text)));
        }
        body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What gix's transport talks to.
pub(crate) struct Client(pub Arc<Shared>);

impl Client {
    fn advertisement(&self, headers: &[(String, String)]) -> Result<SharedFlow, RemoteError> {
        let answer = self.0.get(headers)?;
        let url = self.0.url();
        if !is_type(answer.headers(), ADVERTISEMENT) {
            return Err(RemoteError::new(Class::NotGit, format!("{url}: no git server answers here")));
        }
        let mut body = answer.into_body().into_reader();
        let mut start = Vec::new();
        let wanted = ANNOUNCED_V1.len() as u64;
        body.by_ref()
            .take(wanted)
            .read_to_end(&mut start)
            .map_err(|error| status::failed(&url, error.into()))?;
        let is_v1 = start == ANNOUNCED_V1;
        if is_v1 {
            start.truncate(ANNOUNCED_BYTES);
        }
        self.0.state().is_v1 = is_v1;
        let exchange = Exchange::Answered(Box::new(Cursor::new(start).chain(body)));
        Ok(Arc::new(Mutex::new(Flow { shared: Arc::clone(&self.0), exchange })))
    }
}

fn head(flow: Option<&SharedFlow>, kind: &str) -> BufReader<HeadReader> {
    let lines = Cursor::new(format!("content-type: {kind}\n"));
    BufReader::with_capacity(256, HeadReader { flow: flow.cloned(), lines })
}

impl Http for Client {
    type Headers = BufReader<HeadReader>;
    type ResponseBody = BufReader<AnswerReader>;
    type PostBody = RequestWriter;

    fn get(
        &mut self,
        _url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix_error::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let mut headers = split(headers);
        headers.push(("Pragma".to_owned(), "no-cache".to_owned()));
        let failed = |error| gix_error::Error::from_error(self.0.fail(error));
        let flow = self.advertisement(&headers).map_err(failed)?;
        let body = BufReader::with_capacity(READ_BYTES, AnswerReader { flow });
        Ok(GetResponse { headers: head(None, ADVERTISEMENT), body })
    }

    fn post(
        &mut self,
        _url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix_error::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let body = Arc::new(Mutex::new(Vec::new()));
        let post_body = RequestWriter { body: Arc::clone(&body), shared: Arc::clone(&self.0) };
        let exchange = Exchange::Waiting { headers: split(headers), body };
        let flow = Arc::new(Mutex::new(Flow { shared: Arc::clone(&self.0), exchange }));
        let headers = head(Some(&flow), RESULT);
        let body = BufReader::with_capacity(READ_BYTES, AnswerReader { flow });
        Ok(PostResponse { post_body, headers, body })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix_error::Result {
        Ok(())
    }
}
