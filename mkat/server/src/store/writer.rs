//! The one writer: a thread that takes many jobs, runs each in its own savepoint and commits them together, so that
//! thousands of durable writes per second need only a few disk flushes.

use crate::domain::Timestamp;
use crate::error::{Error, Result};
use crate::signals::{Event, Signals};
use rusqlite::Connection;
use std::cell::RefCell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; beyond that callers get `Overloaded` (503) instead of an ever longer queue.
const QUEUE: usize = 16_384;
/// Jobs per commit.
const GROUP: usize = 1_024;

/// The connection inside the writer's transaction.
pub struct Tx<'c> {
    connection: &'c Connection,
    /// The instant of this piece of work; never goes backwards from one job to the next, unless the clock was set back.
    pub now: Timestamp,
    events: RefCell<Vec<Event>>,
}

impl Tx<'_> {
    /// Says `event` to the program after the commit.
    pub fn emit(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// What a job leaves: the events to publish, and how to answer its caller once the fate of the commit is known.
struct Done {
    events: Vec<Event>,
    answer: Box<dyn FnOnce(Result<()>) + Send>,
}
type Job = Box<dyn FnOnce(&Connection, Timestamp) -> Done + Send>;

pub struct Writer {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Writer {
    pub fn start(connection: Connection, signals: Arc<Signals>) -> Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("mkat-writer".into())
            .spawn(move || write_loop(&connection, jobs, &signals))
            .map_err(Error::internal)?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection, now| {
            let tx = Tx { connection, now, events: RefCell::default() };
            let result = in_savepoint(&tx, work);
            let events = if result.is_ok() { tx.events.into_inner() } else { Vec::new() };
            // The caller may be gone (client closed the connection): its work is committed all the same.
            let answer = Box::new(move |commit: Result<()>| drop(reply.send(commit.and(result))));
            Done { events, answer }
        });
        let queue = lock(&self.queue).clone().ok_or(Error::Closed)?;
        queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })?;
        answer.await.map_err(|_| Error::Closed)?
    }

    pub fn backlog(&self) -> usize {
        lock(&self.queue).as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    pub fn close(&self) {
        drop(lock(&self.queue).take());
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the writer ended by a panic");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn in_savepoint<T>(tx: &Tx<'_>, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
    tx.prepare_cached("SAVEPOINT job")?.execute([])?;
    let result = catch_unwind(AssertUnwindSafe(|| work(tx)))
        .unwrap_or_else(|_| Err(Error::Internal("a write panicked and was undone".into())));
    if result.is_err() {
        tx.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    tx.prepare_cached("RELEASE job")?.execute([])?;
    result
}

/// A clock that was set back is followed: waiting for it to come to the same point again would hold up every deadline and
/// delivery for as long.
fn next_instant(last: Timestamp, clock: Timestamp) -> Timestamp {
    if clock.was_set_back(last) { clock } else { last.max(clock) }
}

fn write_loop(connection: &Connection, mut jobs: mpsc::Receiver<Job>, signals: &Signals) {
    let mut now = Timestamp::now();
    let mut group = Vec::with_capacity(GROUP);
    while jobs.blocking_recv_many(&mut group, GROUP) > 0 {
        let begun = connection.execute_batch("BEGIN IMMEDIATE");
        let mut done = Vec::with_capacity(group.len());
        if begun.is_ok() {
            for job in group.drain(..) {
                now = next_instant(now, Timestamp::now());
                done.push(job(connection, now));
            }
        } else {
            // Not run: dropping the jobs drops their reply channels, which callers see as `Closed` (503).
            group.clear();
        }
        let committed = begun.and_then(|()| connection.execute_batch("COMMIT"));
        if let Err(error) = &committed {
            tracing::error!(%error, jobs = done.len(), "commit failed, nothing of this group was stored");
            if !connection.is_autocommit()
                && let Err(error) = connection.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "rollback failed");
            }
        }
        for Done { events, answer } in done {
            if committed.is_ok() {
                signals.publish(events);
            }
            answer(committed.as_ref().map(|&()| ()).map_err(|error| Error::Internal(format!("commit: {error}"))));
        }
    }
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(%error, "the log stays beside the database until the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_do_not_go_back_with_a_corrected_clock_but_follow_one_that_was_set() {
        let at = |seconds| Timestamp::default().plus_seconds(seconds);
        assert_eq!(next_instant(at(1000), at(1001)), at(1001));
        assert_eq!(next_instant(at(1000), at(999)), at(1000));
        assert_eq!(next_instant(at(1000), at(10)), at(10));
        assert_eq!(next_instant(at(1000), at(90_000)), at(90_000));
    }
}
