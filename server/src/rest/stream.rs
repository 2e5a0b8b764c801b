//! Bodies that are made batch by batch on blocking threads: each when the client has taken the one before, so that a slow
//! client holds neither a thread nor a transaction nor a share of the memory budget.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::budget::{Budget, Busy, Share, Wait};
use crate::error::Error;
use crate::ops::OpError;
use crate::ops::read::batches::{Batches, Step};
use crate::ops::read::{Halt, Work};
use crate::ops::room::Room;
use crate::stop::Stop;

type Made<B> = (B, Work<Step>);
type Waited = Pin<Box<dyn Future<Output = Result<Share, Busy>> + Send>>;

/// The body that sends what `B` makes.
pub struct BatchBody<B> {
    state: State<B>,
    memory: Budget,
    stop: Stop,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
}

enum State<B> {
    Idle(B),
    Making(JoinHandle<Made<B>>),
    Waiting(B, Room, Waited),
    Ended,
}

impl<B: Batches> BatchBody<B> {
    /// `len` is the length of the body, where it is known.
    pub fn new(batches: B, memory: &Budget, len: Option<u64>) -> Self {
        Self { state: State::Idle(batches), memory: memory.clone(), stop: Stop::current(), left: len }
    }

    fn make(stop: &Stop, mut batches: B, room: Room, share: Option<Share>) -> State<B> {
        State::Making(stop.spawn(move || {
            let step = batches.step(room);
            drop(share);
            (batches, step)
        }))
    }

    fn wait(&self, batches: B, room: Room) -> State<B> {
        let memory = self.memory.clone();
        let waited = async move { memory.take(room.bytes(), Wait::Request).await };
        State::Waiting(batches, room, Box::pin(waited))
    }

    /// The last piece of an answer that breaks off.
    fn broken(&self, batches: &B, why: &Error) -> Result<Frame<Bytes>, io::Error> {
        tracing::error!(?why, "an answer broke off");
        let told = batches.failure(why).filter(|told| !told.is_empty());
        told.map(Frame::data).ok_or_else(|| io::Error::other("the answer broke off"))
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
                State::Idle(batches) => self.state = BatchBody::make(&self.stop, batches, Room::SMALL, None),
                State::Waiting(batches, room, mut waited) => match waited.as_mut().poll(context) {
                    Poll::Pending => {
                        self.state = State::Waiting(batches, room, waited);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(share)) => {
                        self.state = BatchBody::make(&self.stop, batches, room, Some(share));
                    }
                    Poll::Ready(Err(busy)) => {
                        return Poll::Ready(Some(self.broken(&batches, &busy.into())));
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
                        Err(Halt::Room(bytes)) => {
                            self.state = self.wait(batches, Room::of(bytes));
                        }
                        Ok(Step::Data(bytes)) => {
                            self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                            // Complete bodies end at once: the connection is free for the next request.
                            if self.left != Some(0) {
                                self.state = State::Idle(batches);
                            }
                            return Poll::Ready(Some(Ok(Frame::data(bytes))));
                        }
                        Err(Halt::Failed(why)) => {
                            let why = self.stop.said().map_or(why, |said| OpError::Stopped(said).into());
                            return Poll::Ready(Some(self.broken(&batches, &why)));
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
