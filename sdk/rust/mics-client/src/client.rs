//! The handle an application holds. It checks arguments, encrypts bodies and passes jobs to the connection's task;
//! it touches no socket.

use crate::engine::{Engine, Status};
use crate::error::MicsError;
use crate::event::{ClientStats, ConnectionState, EventStream, MicsSession, queue};
use crate::inflight::{Job, Reply};
use crate::link;
use crate::options::{ConnectParams, MicsClientOptions};
use bytes::Bytes;
use mics_proto::message::{MessageAck, MessageRequest, MessageType};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

struct Inner {
    jobs: mpsc::Sender<Box<Job>>,
    /// Dropped or used once, it ends the connection's task.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    status: watch::Receiver<Status>,
    options: MicsClientOptions,
    stats: Arc<ClientStats>,
}

/// A connected client. Clones share the connection; when the last one is dropped the connection is closed.
#[derive(Clone)]
pub struct MicsClient(Arc<Inner>);

impl MicsClient {
    /// Connects and waits for the gateway's `connect_ack`. A refusal or time-out is the caller's to handle: nothing
    /// goes on in the background after an error. Afterwards the client reconnects by itself (`auto_reconnect`).
    /// Must be called within a tokio runtime.
    pub async fn connect(
        params: ConnectParams,
        options: MicsClientOptions,
    ) -> Result<(MicsClient, EventStream), MicsError> {
        options.check()?;
        let stats = Arc::new(ClientStats::default());
        let (sink, stream) = queue(options.event_capacity, stats.clone());
        sink.push(crate::event::Event::State(ConnectionState::Connecting));
        let first = Box::pin(link::establish(&params, &options)).await?;
        let (jobs, job_rx) = mpsc::channel(options.send_queue_capacity);
        let (stop, stop_rx) = oneshot::channel();
        let status = Status { state: ConnectionState::Connected, session: Arc::new(first.session.clone()) };
        let (status_tx, status_rx) = watch::channel(status);
        let engine = Engine::new(params, options.clone(), sink, status_tx, job_rx, stop_rx, stats.clone());
        tokio::spawn(engine.run(first));
        let inner = Inner { jobs, stop: Mutex::new(Some(stop)), status: status_rx, options, stats };
        Ok((MicsClient(Arc::new(inner)), stream))
    }

    /// Sends to one user and waits for the outcome: the gateway's ack (`FAILED` is an outcome, not an error), the
    /// local ack `ack timeout` after all attempts, or an error. Without `msg_id` a UUIDv7 is used. Repeating a call
    /// with the same id is safe: the gateway delivers once.
    pub async fn send_single_chat(
        &self,
        to_user_id: &str,
        body: impl Into<Bytes>,
        msg_id: Option<String>,
    ) -> Result<MessageAck, MicsError> {
        self.send(single(to_user_id, body.into(), msg_id)?).await
    }

    /// Sends to all members of a group; otherwise as `send_single_chat`.
    pub async fn send_group_chat(
        &self,
        group_id: &str,
        body: impl Into<Bytes>,
        msg_id: Option<String>,
    ) -> Result<MessageAck, MicsError> {
        self.send(group(group_id, body.into(), msg_id)?).await
    }

    /// Hands a message over without waiting; the outcome comes as `Event::Ack` only. `QueueFull` when the
    /// connection cannot take it now.
    pub fn submit_single_chat(
        &self,
        to_user_id: &str,
        body: impl Into<Bytes>,
        msg_id: Option<String>,
    ) -> Result<(), MicsError> {
        self.submit(single(to_user_id, body.into(), msg_id)?)
    }

    /// The group form of `submit_single_chat`.
    pub fn submit_group_chat(
        &self,
        group_id: &str,
        body: impl Into<Bytes>,
        msg_id: Option<String>,
    ) -> Result<(), MicsError> {
        self.submit(group(group_id, body.into(), msg_id)?)
    }

    /// Closes the connection (code 1000) and stays disconnected. Messages without an outcome end with
    /// `Disconnected`. Returns once the connection is closed, after about a second at most.
    pub async fn disconnect(&self) {
        let stop = self.0.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = stop {
            let _ = stop.send(());
        }
        // An error means that the connection's task has ended, which is what we wait for.
        let _ = self.0.status.clone().wait_for(|s| s.state == ConnectionState::Disconnected).await;
    }

    pub fn state(&self) -> ConnectionState {
        self.0.status.borrow().state
    }

    /// The session of the present connection, or of the last one.
    pub fn session(&self) -> MicsSession {
        self.0.status.borrow().session.as_ref().clone()
    }

    /// Counters, readable also after the client is gone.
    pub fn stats(&self) -> Arc<ClientStats> {
        self.0.stats.clone()
    }

    async fn send(&self, request: MessageRequest) -> Result<MessageAck, MicsError> {
        let (tx, rx) = oneshot::channel();
        let job = self.job(request, Reply::Caller(tx))?;
        let deadline = job.deadline;
        match self.0.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(MicsError::Disconnected),
            Err(TrySendError::Full(job)) => match timeout_at(deadline, self.0.jobs.send(job)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(MicsError::Disconnected),
                Err(_) => return Err(MicsError::SendDeadline),
            },
        }
        rx.await.unwrap_or(Err(MicsError::Disconnected))
    }

    fn submit(&self, request: MessageRequest) -> Result<(), MicsError> {
        self.0.jobs.try_send(self.job(request, Reply::Events)?).map_err(|e| match e {
            TrySendError::Full(_) => MicsError::QueueFull,
            TrySendError::Closed(_) => MicsError::Disconnected,
        })
    }

    /// Encrypts once: every attempt sends the same bytes.
    fn job(&self, mut request: MessageRequest, reply: Reply) -> Result<Box<Job>, MicsError> {
        if let Some(crypto) = &self.0.options.message_crypto
            && !request.msg_body.is_empty()
        {
            request.msg_body = crypto.encrypt(&request.msg_body)?.into();
        }
        Ok(Box::new(Job { request, reply, deadline: Instant::now() + self.0.options.send_deadline }))
    }
}

fn single(to: &str, body: Bytes, msg_id: Option<String>) -> Result<MessageRequest, MicsError> {
    if to.trim().is_empty() {
        return Err(MicsError::InvalidArgument("to_user_id is blank"));
    }
    let mut request = message(MessageType::SingleChat, body, msg_id)?;
    request.to_user_id = to.to_owned();
    Ok(request)
}

fn group(group: &str, body: Bytes, msg_id: Option<String>) -> Result<MessageRequest, MicsError> {
    if group.trim().is_empty() {
        return Err(MicsError::InvalidArgument("group_id is blank"));
    }
    let mut request = message(MessageType::GroupChat, body, msg_id)?;
    request.group_id = group.to_owned();
    Ok(request)
}

fn message(kind: MessageType, msg_body: Bytes, msg_id: Option<String>) -> Result<MessageRequest, MicsError> {
    let msg_id = msg_id.unwrap_or_else(|| Uuid::now_v7().simple().to_string());
    if msg_id.trim().is_empty() {
        return Err(MicsError::InvalidArgument("msg_id is blank"));
    }
    Ok(MessageRequest { msg_type: kind.into(), msg_body, msg_id, ..Default::default() })
}
