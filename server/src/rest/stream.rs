//! Bodies that are made batch by batch on blocking threads: each when the client has taken the one before, so that a slow
//! client holds neither a thread nor a transaction.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::ops::read::Work;
use crate::ops::read::batches::{Batches, Step};
use crate::stop::Stop;

type Made<B> = (B, Work<Step>);
type Turn = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// The body that sends what `B` makes.
pub struct BatchBody<B> {
    state: State<B>,
    turns: Arc<Semaphore>,
    stop: Stop,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
}

enum State<B> {
    Idle(B),
    Making(JoinHandle<Made<B>>),
    Waiting(B, Turn),
    Ended,
}

impl<B: Batches> BatchBody<B> {
    /// `len` is the length of the body, where it is known.
    pub fn new(batches: B, turns: &Arc<Semaphore>, len: Option<u64>) -> Self {
        Self { state: State::Idle(batches), turns: Arc::clone(turns), stop: Stop::current(), left: len }
    }

    fn make(stop: &Stop, mut batches: B, turn: Option<OwnedSemaphorePermit>) -> State<B> {
        State::Making(stop.spawn(move || {
            let step = batches.step(turn.is_some());
            (batches, step)
        }))
    }
}

impl<B: Batches + Unpin> http_body::Body for BatchBody<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(batches) => self.state = BatchBody::make(&self.stop, batches, None),
                State::Waiting(batches, mut turn) => match turn.as_mut().poll(context) {
                    Poll::Pending => {
                        self.state = State::Waiting(batches, turn);
                        return Poll::Pending;
                    }
                    Poll::Ready(turn) => {
                        let turn = turn.map_err(io::Error::other)?;
                        self.state = BatchBody::make(&self.stop, batches, Some(turn));
                    }
                },
                State::Making(mut handle) => {
                    let Poll::Ready(made) = Pin::new(&mut handle).poll(context) else {
                        self.state = State::Making(handle);
                        return Poll::Pending;
                    };
                    let (batches, step) = made.map_err(io::Error::other)?;
                    match step {
                        Ok(Step::End) => return Poll::Ready(None),
                        Ok(Step::Turn) => {
                            let turn = Box::pin(Arc::clone(&self.turns).acquire_owned());
                            self.state = State::Waiting(batches, turn);
                        }
                        Ok(Step::Data(bytes)) => {
                            self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                            // Complete bodies end at once: the connection is free for the next request.
                            if self.left != Some(0) {
                                self.state = State::Idle(batches);
                            }
                            return Poll::Ready(Some(Ok(Frame::data(bytes))));
                        }
                        Err(halt) => {
                            tracing::error!(?halt, "an answer broke off");
                            return Poll::Ready(Some(Err(io::Error::other("the answer broke off"))));
                        }
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0) || matches!(self.state, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
