//! Messages taken over from the application and not yet acked: order, retries, deadlines. Does no I/O and reads no
//! clock; time is passed in.
// Jobs travel boxed through queues and maps; unboxing them into a list would copy them once more.
#![allow(clippy::vec_box)]

use crate::error::MicsError;
use mics_proto::message::{AckStatus, MessageAck, MessageRequest};
use std::collections::{BTreeMap, HashMap, VecDeque};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

/// Who hears of the outcome.
pub(crate) enum Reply {
    Caller(oneshot::Sender<Result<MessageAck, MicsError>>),
    /// Only the event stream.
    Events,
}

/// One message on its way from the application to the connection.
pub(crate) struct Job {
    pub request: MessageRequest,
    pub reply: Reply,
    pub deadline: Instant,
}

impl Job {
    /// Nobody waits for this message any more.
    pub fn is_abandoned(&self) -> bool {
        matches!(&self.reply, Reply::Caller(tx) if tx.is_closed())
    }
}

struct Entry {
    job: Box<Job>,
    attempts: u32,
    /// On the wire and waiting for its ack; false while queued for writing.
    written: bool,
}

/// What the timers ask for.
#[derive(Default)]
pub(crate) struct Due {
    /// To be written again, by order number.
    pub again: Vec<u64>,
    /// All attempts were silent.
    pub silent: Vec<Box<Job>>,
    /// The send deadline passed.
    pub late: Vec<Box<Job>>,
}

/// Messages by the order in which they were taken up.
#[derive(Default)]
pub(crate) struct InFlight {
    by_order: BTreeMap<u64, Entry>,
    by_id: HashMap<String, u64>,
    /// Ack time-outs, earliest first (the time-out is the same for all): when, order number, attempt.
    clock: VecDeque<(Instant, u64, u32)>,
    next_order: u64,
}

impl InFlight {
    pub fn len(&self) -> usize {
        self.by_order.len()
    }

    /// Takes a message up and gives its order number, or gives it back when its id is already in flight.
    pub fn add(&mut self, job: Box<Job>) -> Result<u64, Box<Job>> {
        if self.by_id.contains_key(&job.request.msg_id) {
            return Err(job);
        }
        let order = self.next_order;
        self.next_order += 1;
        self.by_id.insert(job.request.msg_id.clone(), order);
        self.by_order.insert(order, Entry { job, attempts: 0, written: false });
        Ok(order)
    }

    /// The message to write under this order number; none when it was finished meanwhile.
    pub fn request(&mut self, order: u64) -> Option<&mut MessageRequest> {
        self.by_order.get_mut(&order).map(|e| &mut e.job.request)
    }

    /// Starts the ack time-out of a message that was just written.
    pub fn mark_written(&mut self, order: u64, now: Instant, ack_timeout: Duration) {
        if let Some(entry) = self.by_order.get_mut(&order) {
            entry.attempts += 1;
            entry.written = true;
            self.clock.push_back((now + ack_timeout, order, entry.attempts));
        }
    }

    /// Ends the message with this id; none for a late or unknown ack.
    pub fn finish(&mut self, msg_id: &str) -> Option<Box<Job>> {
        let order = self.by_id.remove(msg_id)?;
        self.by_order.remove(&order).map(|e| e.job)
    }

    fn remove(&mut self, order: u64) -> Option<Box<Job>> {
        let entry = self.by_order.remove(&order)?;
        self.by_id.remove(&entry.job.request.msg_id);
        Some(entry.job)
    }

    /// Ends the written message with the largest body: the gateway's `frame too large` names no message.
    pub fn finish_largest(&mut self) -> Option<Box<Job>> {
        let written = self.by_order.iter().filter(|(_, e)| e.written);
        let order = *written.max_by_key(|(_, e)| e.job.request.msg_body.len())?.0;
        self.remove(order)
    }

    /// The connection is gone: everything is to be written again, in order, and the attempt that the connection
    /// cut short does not count. Gives the order numbers.
    pub fn rewind(&mut self) -> VecDeque<u64> {
        self.clock.clear();
        for entry in self.by_order.values_mut().filter(|e| e.written) {
            entry.written = false;
            entry.attempts -= 1;
        }
        self.by_order.keys().copied().collect()
    }

    /// What is due at `now`.
    pub fn due(&mut self, now: Instant, max_attempts: u32) -> Due {
        let mut due = Due::default();
        while let Some(&(at, order, attempt)) = self.clock.front() {
            if at > now {
                break;
            }
            self.clock.pop_front();
            let Some(entry) = self.by_order.get_mut(&order) else { continue };
            if !entry.written || entry.attempts != attempt {
                continue;
            }
            if entry.job.is_abandoned() {
                self.remove(order);
            } else if entry.attempts >= max_attempts {
                due.silent.extend(self.remove(order));
            } else {
                entry.written = false;
                due.again.push(order);
            }
        }
        while let Some((&order, entry)) = self.by_order.first_key_value() {
            if entry.job.deadline > now {
                break;
            }
            due.late.extend(self.remove(order));
        }
        due
    }

    /// When `due` has something to say next. Deadlines are taken from the oldest message: all are equally long.
    pub fn next_due(&self) -> Option<Instant> {
        let ack = self.clock.front().map(|(at, ..)| *at);
        let deadline = self.by_order.first_key_value().map(|(_, e)| e.job.deadline);
        ack.into_iter().chain(deadline).min()
    }

    /// Gives everything back, in order.
    pub fn take_all(&mut self) -> Vec<Box<Job>> {
        self.by_id.clear();
        self.clock.clear();
        std::mem::take(&mut self.by_order).into_values().map(|e| e.job).collect()
    }
}

/// The ack a client makes up itself when the gateway said nothing.
pub(crate) fn local_ack(msg_id: &str, reason: &str, now_ms: i64) -> MessageAck {
    MessageAck {
        msg_id: msg_id.to_owned(),
        status: AckStatus::Failed.into(),
        timestamp_ms: now_ms,
        reason: reason.to_owned(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: Duration = Duration::from_secs(3);

    fn job(id: &str, body: &'static [u8], deadline: Instant) -> Box<Job> {
        let request = MessageRequest { msg_id: id.into(), msg_body: body.into(), ..Default::default() };
        Box::new(Job { request, reply: Reply::Events, deadline })
    }

    #[test]
    fn a_cut_short_attempt_does_not_count_and_order_is_kept() {
        let now = Instant::now();
        let mut flight = InFlight::default();
        for id in ["a", "b", "c"] {
            let order = flight.add(job(id, b"", now + ACK * 10)).ok().unwrap();
            flight.mark_written(order, now, ACK);
        }
        assert!(flight.finish("b").is_some() && flight.finish("b").is_none());
        assert_eq!(flight.rewind(), [0, 2]);
        flight.mark_written(0, now, ACK);
        assert_eq!(flight.due(now + ACK, 2).again, [0]);
        flight.mark_written(0, now, ACK);
        let due = flight.due(now + ACK, 2);
        assert_eq!((due.again.len(), due.silent.len(), flight.len()), (0, 1, 1));
    }

    #[test]
    fn ids_are_taken_once_and_deadlines_end_messages() {
        let now = Instant::now();
        let mut flight = InFlight::default();
        assert!(flight.add(job("a", b"", now + ACK)).is_ok());
        assert!(flight.add(job("a", b"", now + ACK)).is_err());
        assert_eq!(flight.next_due(), Some(now + ACK));
        assert_eq!(flight.due(now + ACK, 3).late.len(), 1);
        assert!(flight.add(job("a", b"", now + ACK)).is_ok(), "a finished id may be used again");
    }

    #[test]
    fn too_large_hits_the_largest_message_on_the_wire() {
        let now = Instant::now();
        let mut flight = InFlight::default();
        for (id, body) in [("a", &b"123"[..]), ("b", b"12345"), ("c", b"123456789")] {
            assert!(flight.add(job(id, body, now + ACK)).is_ok());
        }
        flight.mark_written(0, now, ACK);
        flight.mark_written(1, now, ACK);
        assert_eq!(flight.finish_largest().unwrap().request.msg_id, "b");
    }
}
