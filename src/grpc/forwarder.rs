//! One task per peer that carries the forwards there: batches on a long-lived stream, answers by number, at most one
//! repetition, a deadline for each. To a peer that knows no such stream it makes one call after the other. Must not
//! decide whether a forward is worth repeating after it failed.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures_util::stream;
use mics_domain::ports::LinkError;
use mics_proto::message::MessageRequest;
use mics_proto::node::{
    Forward, ForwardAck, ForwardBatchRequest, ForwardResult, ForwardSingleRequest, ForwardsRequest,
};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::{Code, Status};

use super::counts::Counters;
use super::peer::{Client, PAUSE, Pass, Peer, link_error, may_pass};
use super::told;

/// Forwards that were taken and not answered; more wait in the queue.
const MAX_PENDING: usize = 4096;
/// Per write. A larger forward travels alone.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// Batches between this task and the connection.
const WRITES: usize = 2;
/// Field numbers and lengths around a forward, at most.
const FRAMING: usize = 64;
const ATTEMPTS: u8 = 2;

/// Sessions reached per user, or why nobody knows.
type Answer = Result<Vec<u32>, LinkError>;

/// A forward on its way.
pub(super) struct Job {
    forward: Forward,
    bytes: usize,
    deadline: Instant,
    /// When it was sent last, or made; the peer's clock.
    since_us: u64,
    tries: u8,
    pass: Pass,
    answer: oneshot::Sender<Answer>,
}

impl Job {
    /// Errors: larger than `max_bytes`, or not admitted.
    pub fn new(peer: &Arc<Peer>, forward: Forward) -> Result<(Self, oneshot::Receiver<Answer>), LinkError> {
        let (bytes, max_bytes) = (forward.encoded_len() + FRAMING, peer.max_message_bytes);
        if bytes > max_bytes {
            return Err(LinkError::Refused(format!("a forward of {bytes} bytes, at most {max_bytes} are allowed")));
        }
        let pass = Pass::admit(peer, bytes)?;
        let (answer, receiver) = oneshot::channel();
        let deadline = Instant::now() + peer.deadline;
        Ok((Job { forward, bytes, deadline, since_us: peer.now_us(), tries: 0, pass, answer }, receiver))
    }

    /// The caller may be gone; then nobody hears the answer.
    fn fail(self, error: LinkError, code: Code) {
        told::failure(&self.pass.peer, &self.forward, self.tries, code);
        match code {
            Code::Unauthenticated => self.pass.refused(code),
            _ => self.pass.failure(code),
        }
        let _ = self.answer.send(Err(error));
    }

    fn fail_with(self, status: &Status) {
        self.fail(link_error(status), status.code());
    }

    fn fail_late(self) {
        self.fail(LinkError::Deadline, Code::DeadlineExceeded);
    }

    /// A peer that says no is a peer that answers: no failure for the breaker.
    fn finish(self, result: ForwardResult) {
        let users = self.forward.to_user_ids.len();
        let answer = match result {
            ForwardResult { ok: false, reason, .. } => Err(LinkError::Refused(reason)),
            ForwardResult { sessions_reached, .. } if sessions_reached.len() == users => Ok(sessions_reached),
            _ => return self.fail(LinkError::Refused("answer does not match the users".to_owned()), Code::DataLoss),
        };
        self.pass.success();
        let _ = self.answer.send(answer);
    }
}

/// Jobs taken and not answered, in the order taken, which is the order of their deadlines.
#[derive(Default)]
struct Pending {
    jobs: BTreeMap<u64, Job>,
    next_seq: u64,
    /// The first one not sent over the present connection.
    next_to_send: u64,
}

impl Pending {
    fn add(&mut self, mut job: Job) {
        self.next_seq += 1;
        job.forward.seq = self.next_seq;
        self.jobs.insert(self.next_seq, job);
    }

    fn has_unsent(&self) -> bool {
        self.jobs.last_key_value().is_some_and(|(seq, _)| *seq >= self.next_to_send)
    }

    fn deadline(&self) -> Option<Instant> {
        self.jobs.first_key_value().map(|(_, job)| job.deadline)
    }

    /// The next forwards to send, marked as sent.
    fn batch(&mut self, now_us: u64, max_bytes: usize) -> Vec<Forward> {
        let (mut forwards, mut bytes) = (Vec::new(), 0);
        for (seq, job) in self.jobs.range_mut(self.next_to_send..).take(BATCH) {
            bytes += job.bytes;
            if bytes > max_bytes && !forwards.is_empty() {
                break;
            }
            job.tries += 1;
            job.since_us = now_us;
            forwards.push(job.forward.clone());
            self.next_to_send = seq + 1;
        }
        forwards
    }

    /// The connection is gone: what had its last attempt on it fails.
    fn fail_spent(&mut self, status: &Status) {
        let (spent, again) = std::mem::take(&mut self.jobs).into_iter().partition(|(_, job)| job.tries >= ATTEMPTS);
        self.jobs = again;
        if let Some((_, first)) = self.jobs.first_key_value().filter(|(_, job)| job.tries > 0) {
            told::retry(&first.pass.peer, &first.forward, first.tries, status.code());
        }
        BTreeMap::into_values(spent).for_each(|job| job.fail_with(status));
    }

    fn fail_all(&mut self, fail: impl Fn(Job)) {
        std::mem::take(&mut self.jobs).into_values().for_each(fail);
    }
}

/// How a connection ended.
enum End {
    Broken(Status),
    /// A forward missed its deadline, and the peer had answered nothing since it was sent.
    Silent,
}

pub(super) struct Forwarder {
    peer: Arc<Peer>,
    queue: mpsc::Receiver<Job>,
    /// Nobody will send into the queue any more.
    closed: bool,
    pending: Pending,
    /// The peer does not know the stream; asked again after a broken connection.
    unary: bool,
}

impl Forwarder {
    pub fn new(peer: Arc<Peer>, queue: mpsc::Receiver<Job>) -> Self {
        Forwarder { peer, queue, closed: false, pending: Pending::default(), unary: false }
    }

    /// Ends when the link let go of the peer and everything is answered.
    pub async fn run(mut self) {
        while self.has_work().await {
            let (generation, client) = self.peer.client();
            let served = if self.unary { self.serve_call(client).await } else { self.serve_stream(client).await };
            let Err(end) = served else { continue };
            self.peer.reconnect(generation);
            self.unary = false;
            if let End::Broken(status) = end {
                self.pending.fail_spent(&status);
                let _ = self.meanwhile(sleep(PAUSE)).await;
            }
        }
    }

    /// Waits for a job. False when there will be none.
    async fn has_work(&mut self) -> bool {
        while self.pending.jobs.is_empty() {
            if self.closed {
                return false;
            }
            let _ = self.tend().await;
        }
        true
    }

    /// Waits for the next thing that happens without the peer's doing, a new job or a late one, and sees to it.
    async fn tend(&mut self) -> Result<(), End> {
        let room = MAX_PENDING.saturating_sub(self.pending.jobs.len());
        let deadline = self.pending.deadline();
        let late = async {
            match deadline {
                Some(deadline) => {
                    sleep_until(deadline).await;
                    // After a stall of this process the answers may be here and not yet read: let the connection run.
                    yield_now().await;
                    yield_now().await;
                }
                None => std::future::pending().await,
            }
        };
        let mut taken = Vec::new();
        tokio::select! {
            biased;
            () = late => return self.expire(),
            _ = self.queue.recv_many(&mut taken, room), if room > 0 && !self.closed => {}
        }
        self.closed = taken.is_empty();
        taken.into_iter().for_each(|job| self.pending.add(job));
        Ok(())
    }

    /// When the peer is silent, everything that waits for it fails with the first forward that is late: a peer that went
    /// away costs one deadline, not the sum.
    fn expire(&mut self) -> Result<(), End> {
        let now = Instant::now();
        while let Some(first) = self.pending.jobs.first_entry().filter(|first| first.get().deadline <= now) {
            let first = first.remove();
            let silent = self.peer.silent_since(first.since_us);
            first.fail_late();
            if silent {
                self.pending.fail_all(Job::fail_late);
                while let Ok(job) = self.queue.try_recv() {
                    job.fail_late();
                }
                return Err(End::Silent);
            }
        }
        Ok(())
    }

    /// Does `work` and tends the jobs until it is done.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                tended = self.tend() => tended?,
            }
        }
    }

    async fn serve_stream(&mut self, mut client: Client) -> Result<(), End> {
        let (writer, mut batches) = mpsc::channel(WRITES);
        let opening = client.forwards(stream::poll_fn(move |context| batches.poll_recv(context)));
        let mut answers = match self.meanwhile(opening).await? {
            Ok(response) => response.into_inner(),
            Err(status) => return self.not_opened(status),
        };
        Counters::add(&self.peer.counters.streams, 1);
        // What was sent over an earlier connection and not answered comes again, in its order.
        self.pending.next_to_send = 0;
        let mut writable = true;
        while !(self.closed && self.pending.jobs.is_empty()) {
            tokio::select! {
                biased;
                results = answers.message() => match results {
                    Ok(Some(batch)) => self.finish(batch.results),
                    Ok(None) => return Err(End::Broken(Status::unavailable("the peer ended the stream"))),
                    Err(status) => return Err(End::Broken(mid_stream(status))),
                },
                permit = writer.reserve(), if writable && self.pending.has_unsent() => match permit {
                    Ok(permit) => permit.send(self.next_batch()),
                    // The stream is ending; its status comes with the answers.
                    Err(_) => writable = false,
                },
                tended = self.tend() => tended?,
            }
        }
        Ok(())
    }

    fn not_opened(&mut self, status: Status) -> Result<(), End> {
        match status.code() {
            Code::Unimplemented => {
                self.peer.heard();
                self.unary = true;
                Ok(())
            }
            code if may_pass(code) => {
                self.pending.jobs.values_mut().for_each(|job| job.tries += 1);
                Err(End::Broken(status))
            }
            _ => {
                self.pending.fail_all(|job| job.fail_with(&status));
                Ok(())
            }
        }
    }

    fn next_batch(&mut self) -> ForwardsRequest {
        let forwards = self.pending.batch(self.peer.now_us(), BATCH_BYTES.min(self.peer.max_message_bytes));
        Counters::add(&self.peer.counters.sent, forwards.len());
        Counters::add(&self.peer.counters.batches, 1);
        ForwardsRequest { forwards }
    }

    fn finish(&mut self, results: Vec<ForwardResult>) {
        self.peer.heard();
        for result in results {
            // One that is not there was late.
            if let Some(job) = self.pending.jobs.remove(&result.seq) {
                job.finish(result);
            }
        }
    }

    /// The first pending job, as a call of its own.
    async fn serve_call(&mut self, client: Client) -> Result<(), End> {
        let Some(mut entry) = self.pending.jobs.first_entry() else { return Ok(()) };
        let job = entry.get_mut();
        job.tries += 1;
        job.since_us = self.peer.now_us();
        let seq = job.forward.seq;
        let Ok(message) = MessageRequest::decode(job.forward.request.clone()) else {
            entry.remove().fail(LinkError::Refused("not a message".to_owned()), Code::InvalidArgument);
            return Ok(());
        };
        let forward = job.forward.clone();
        let users = forward.to_user_ids.len();
        Counters::add(&self.peer.counters.sent, 1);
        match self.meanwhile(call(client, forward, message)).await? {
            Ok(ack) => self.finish(vec![read_ack(seq, ack, users)]),
            Err(status) if may_pass(status.code()) => return Err(End::Broken(status)),
            Err(status) => {
                if let Some(job) = self.pending.jobs.remove(&seq) {
                    job.fail_with(&status);
                }
            }
        }
        Ok(())
    }
}

/// Why a stream ended, for those who were on it and may not be to blame: never a reason not to repeat.
fn mid_stream(status: Status) -> Status {
    if may_pass(status.code()) { status } else { Status::unavailable(status.to_string()) }
}

async fn call(mut client: Client, forward: Forward, message: MessageRequest) -> Result<ForwardAck, Status> {
    let Forward { tenant_id, delivery_id, mut to_user_ids, .. } = forward;
    let message = Some(message);
    let answer = match to_user_ids.len() {
        1 => {
            let to_user_id = to_user_ids.remove(0);
            client.forward_single(ForwardSingleRequest { tenant_id, to_user_id, message, delivery_id }).await
        }
        _ => client.forward_batch(ForwardBatchRequest { tenant_id, to_user_ids, message, delivery_id }).await,
    };
    Ok(answer?.into_inner())
}

/// A peer that cannot say whom it reached, and took the message, is believed to have reached everybody.
fn read_ack(seq: u64, ack: ForwardAck, users: usize) -> ForwardResult {
    let ForwardAck { ok, reason, mut sessions_reached } = ack;
    if ok && sessions_reached.is_empty() {
        sessions_reached = vec![1; users];
    }
    ForwardResult { seq, ok, reason, sessions_reached }
}
