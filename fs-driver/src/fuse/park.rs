//! Requests that wait for something to be fetched: each is answered once, by what was fetched or by its deadline.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::limits::PARKED_REQUESTS_MAX;

/// What is done once the wait is over.
pub type Job = Box<dyn FnOnce(io::Result<()>) + Send>;

/// One waiting request.
#[derive(Clone)]
pub struct Ticket(Arc<Mutex<Option<Job>>>);

impl Ticket {
    /// Ends the wait; only the first end counts.
    pub fn end(&self, how: io::Result<()>) {
        let job = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(job) = job {
            job(how);
        }
    }

    fn is_over(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// All waiting requests. All wait equally long, so that the first to come is the first to be late.
pub struct Lot {
    queue: Mutex<VecDeque<(Instant, Ticket)>>,
    came: Condvar,
    deadline: Duration,
}

impl Lot {
    /// A lot and the thread that watches it; the thread ends with the lot.
    pub fn new(deadline: Duration) -> io::Result<Arc<Self>> {
        let lot = Arc::new(Self { queue: Mutex::default(), came: Condvar::new(), deadline });
        let watched = Arc::downgrade(&lot);
        std::thread::Builder::new().name("cairn-deadline".to_owned()).spawn(move || watch(&watched))?;
        Ok(lot)
    }

    /// Takes a request in. A lot that is full answers it at once.
    pub fn park(&self, job: Job) -> Ticket {
        let ticket = Ticket(Arc::new(Mutex::new(Some(job))));
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.front().is_some_and(|(_, ticket)| ticket.is_over()) {
            queue.pop_front();
        }
        if queue.len() >= PARKED_REQUESTS_MAX {
            drop(queue);
            ticket.end(Err(io::Error::other(format!("{PARKED_REQUESTS_MAX} requests wait already"))));
            return ticket;
        }
        queue.push_back((Instant::now() + self.deadline, ticket.clone()));
        drop(queue);
        self.came.notify_one();
        ticket
    }
}

/// The lot is looked at this often even if nothing comes, to see whether it is still there.
const LOOK: Duration = Duration::from_secs(1);

fn watch(lot: &Weak<Lot>) {
    while let Some(lot) = lot.upgrade() {
        let queue = lot.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let wait = queue.front().map_or(LOOK, |(due, _)| due.saturating_duration_since(now).min(LOOK));
        let (mut queue, _) = lot.came.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut late = Vec::new();
        while queue.front().is_some_and(|(due, ticket)| *due <= now || ticket.is_over()) {
            late.extend(queue.pop_front());
        }
        drop(queue);
        for (_, ticket) in late {
            ticket.end(Err(io::Error::new(ErrorKind::TimedOut, "the content did not come in time")));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::{Lot, PARKED_REQUESTS_MAX};

    #[test]
    fn so_many_requests_wait_and_one_more_is_answered_at_once() {
        let lot = Lot::new(Duration::from_secs(3_600)).expect("a thread");
        let (told, tells) = channel();
        let park = || {
            let told = told.clone();
            lot.park(Box::new(move |how| {
                told.send(how.map_err(|error| error.kind())).expect("somebody listens")
            }))
        };
        let first = park();
        let others: Vec<_> = (1..PARKED_REQUESTS_MAX).map(|_| park()).collect();
        assert!(tells.try_recv().is_err(), "all wait");
        park();
        assert_eq!(tells.try_recv(), Ok(Err(ErrorKind::Other)), "one past it");
        first.end(Ok(()));
        assert_eq!(tells.try_recv(), Ok(Ok(())));
        let again = park();
        assert!(tells.try_recv().is_err(), "its place is free again");
        drop((others, again));
    }
}
