//! Bodies: requests read within limits, answers made batch by batch on blocking threads.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use flate2::write::GzDecoder;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::task::JoinHandle;

use super::refuse;
use crate::limits::FETCH_REQUEST_BYTES_MAX;
use crate::ops::OpError;
use crate::ops::fetch::PackAnswer;
use crate::stop::Stop;

/// Runs work that blocks. A panic of ours becomes an error, not a dropped connection.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpError> + Send + 'static,
) -> Result<T, OpError> {
    let stop = Stop::current();
    match stop.spawn(work).await {
        Ok(done) => done.map_err(|error| error.at_end_of(&stop)),
        Err(_) => Err(OpError::Spool(std::io::Error::other("a worker panicked"))),
    }
}

/// Takes a request body apart: inflates it where the client compressed it, within a limit on both sides.
pub struct Inflow {
    body: Body,
    gzip: Option<GzDecoder<Vec<u8>>>,
}

impl Inflow {
    /// Of a request with these headers.
    pub fn new(headers: &HeaderMap, body: Body) -> Result<Self, Response> {
        let encoding =
            headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
        let gzip = match encoding.as_deref() {
            None | Some(b"identity") => None,
            Some(b"gzip" | b"x-gzip") => Some(GzDecoder::new(Vec::new())),
            Some(_) => {
                let text = "content-encoding must be gzip or absent";
                return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
            }
        };
        Ok(Self { body, gzip })
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Response> {
        use std::io::Write;
        loop {
            let Some(frame) = self.body.frame().await else {
                let Some(gzip) = self.gzip.take() else { return Ok(None) };
                let rest = gzip.finish().map_err(|_| bad_gzip())?;
                return Ok(Some(rest.into()).filter(|rest: &Bytes| !rest.is_empty()));
            };
            let frame = frame.map_err(|_| refuse(StatusCode::BAD_REQUEST, "the request body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            let Some(gzip) = &mut self.gzip else { return Ok(Some(data)) };
            let mut out = Vec::new();
            // Small steps, so that a bomb is stopped by whoever counts what comes out.
            for piece in data.chunks(4096) {
                gzip.write_all(piece).map_err(|_| bad_gzip())?;
                out.append(gzip.get_mut());
                if out.len() > FETCH_REQUEST_BYTES_MAX {
                    return Err(refuse(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "the compressed body inflates too far",
                    ));
                }
            }
            if !out.is_empty() {
                return Ok(Some(out.into()));
            }
        }
    }

    /// The whole body, for requests that are small by nature.
    pub async fn collect(mut self) -> Result<Vec<u8>, Response> {
        let mut out = Vec::new();
        while let Some(data) = self.next().await? {
            if out.len() + data.len() > FETCH_REQUEST_BYTES_MAX {
                let text = format!("the request is larger than {FETCH_REQUEST_BYTES_MAX} bytes");
                return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, text));
            }
            out.extend_from_slice(&data);
        }
        Ok(out)
    }
}

fn bad_gzip() -> Response {
    refuse(StatusCode::BAD_REQUEST, "the gzip body cannot be inflated")
}

type Made = (Box<PackAnswer>, Result<Option<Vec<u8>>, OpError>);

/// The body of a fetch: each batch is made when the client has taken the one before, so that a slow client holds
/// neither a thread nor a transaction.
pub struct PackBody {
    state: State,
    stop: Stop,
}

enum State {
    Idle(Box<PackAnswer>),
    Making(JoinHandle<Made>),
    Ended,
}

impl PackBody {
    /// The body that sends `answer`.
    pub fn new(answer: Box<PackAnswer>) -> Self {
        Self { state: State::Idle(answer), stop: Stop::current() }
    }
}

fn make(mut answer: Box<PackAnswer>) -> Made {
    let batch = answer.next_batch();
    (answer, batch)
}

impl http_body::Body for PackBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(answer) => {
                    self.state = State::Making(self.stop.spawn(move || make(answer)));
                }
                State::Making(mut handle) => {
                    let Poll::Ready(made) = Pin::new(&mut handle).poll(context) else {
                        self.state = State::Making(handle);
                        return Poll::Pending;
                    };
                    let (answer, batch) = made.map_err(std::io::Error::other)?;
                    match batch {
                        Ok(None) => return Poll::Ready(None),
                        Ok(Some(batch)) => {
                            self.state = State::Idle(answer);
                            return Poll::Ready(Some(Ok(Frame::data(batch.into()))));
                        }
                        Err(error) => {
                            let error = error.at_end_of(&self.stop);
                            tracing::error!(error = %error, "a pack broke off");
                            let text = answer.failure(&error.for_peer());
                            if text.is_empty() {
                                return Poll::Ready(Some(Err(std::io::Error::other("the pack broke off"))));
                            }
                            return Poll::Ready(Some(Ok(Frame::data(text.into()))));
                        }
                    }
                }
            }
        }
    }
}
