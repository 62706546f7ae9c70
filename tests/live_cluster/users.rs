//! Users of the cluster, on the SDK: one who talks and one who listens. Must not decide what is right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mics_client::{
    AckStatus, ConnectParams, Event, EventStream, MessageAck, MicsClient, MicsClientOptions, MicsError, TokenProvider,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::processes::{Node, wait};

#[derive(Default)]
struct Notes {
    seen: Vec<String>,
    closes: Vec<u16>,
}

/// One device of a user.
pub struct User {
    pub client: MicsClient,
    notes: Arc<Mutex<Notes>>,
}

/// Repetitions are shown, and no reconnects happen unless asked for.
pub fn options(reconnect: bool) -> MicsClientOptions {
    MicsClientOptions {
        auto_reconnect: reconnect,
        dedup_window: 0,
        event_capacity: 1 << 20,
        heartbeat_interval: Duration::from_secs(5),
        watchdog_slack: Duration::from_secs(120),
        connect_timeout: Duration::from_secs(20),
        send_deadline: Duration::from_secs(60),
        reconnect_max_delay: Duration::from_millis(500),
        ..MicsClientOptions::default()
    }
}

/// The budget of /auth is 150 ms, which a busy machine may miss.
async fn connect(params: ConnectParams, options: MicsClientOptions) -> Result<(MicsClient, EventStream), MicsError> {
    let give_up = Instant::now() + super::PATIENCE;
    loop {
        match MicsClient::connect(params.clone(), options.clone()).await {
            Err(MicsError::Closed(info)) if info.reason == "hook timeout/failure" && Instant::now() < give_up => {}
            done => return done,
        }
        sleep(Duration::from_millis(200)).await;
    }
}

impl User {
    pub async fn try_at(port: u16, user: &str, device: &str, options: MicsClientOptions) -> Result<User, MicsError> {
        let params = ConnectParams {
            url: format!("ws://127.0.0.1:{port}/ws"),
            tenant_id: "t1".into(),
            token: TokenProvider::fixed(format!("valid:{user}")),
            device_id: device.into(),
        };
        let (client, mut events) = connect(params, options).await?;
        let notes = Arc::new(Mutex::new(Notes::default()));
        let book = notes.clone();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let mut notes = book.lock().unwrap();
                match event {
                    Event::Delivery(got) => notes.seen.push(got.message.msg_id),
                    Event::Closed { info, .. } => notes.closes.push(info.code),
                    Event::Overflow { dropped } => panic!("{dropped} events were not read in time"),
                    _ => {}
                }
            }
        });
        Ok(User { client, notes })
    }

    /// A user with one device on this node.
    pub async fn at(node: &Node, user: &str) -> User {
        User::try_at(node.port, user, "d1", options(false)).await.expect("let in")
    }

    /// One who comes back, perhaps on another node.
    pub async fn behind(port: u16, user: &str) -> User {
        User::try_at(port, user, "d1", options(true)).await.expect("let in")
    }

    pub async fn say(&self, to: &str, id: &str) -> MessageAck {
        self.client.send_single_chat(to, format!("body of {id}"), Some(id.into())).await.expect("an outcome")
    }

    /// Says it and demands SENT.
    pub async fn tell(&self, to: &str, id: &str) {
        let ack = self.say(to, id).await;
        assert_eq!(ack.status(), AckStatus::Sent, "{id}: {}", ack.reason);
    }

    /// Ids delivered so far, in order, repetitions included.
    pub fn seen(&self) -> Vec<String> {
        self.notes.lock().unwrap().seen.clone()
    }

    pub fn closes(&self) -> Vec<u16> {
        self.notes.lock().unwrap().closes.clone()
    }

    /// Waits until all of these have come; says which did not.
    pub async fn got(&self, ids: &[String]) {
        let give_up = Instant::now() + super::PATIENCE;
        loop {
            let seen: BTreeSet<String> = self.seen().into_iter().collect();
            let missing: Vec<&String> = ids.iter().filter(|id| !seen.contains(*id)).collect();
            if missing.is_empty() {
                return;
            }
            assert!(Instant::now() < give_up, "{} of {} never came: {missing:.20?}", missing.len(), ids.len());
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn closed(&self) -> u16 {
        wait("the connection is closed", || !self.closes().is_empty()).await;
        self.closes()[0]
    }

    pub fn still_connected(&self) {
        assert_eq!(self.closes(), Vec::<u16>::new(), "was disconnected");
    }
}

/// Deliveries beyond the first of each id.
pub fn repetitions(seen: &[String]) -> usize {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    seen.iter().for_each(|id| *times.entry(id).or_default() += 1);
    times.values().map(|times| times - 1).sum()
}

/// The first occurrences are in the order in which the ids were sent (`prefix-<number>`).
pub fn in_order(seen: &[String]) -> bool {
    let mut known = BTreeSet::new();
    let firsts: Vec<u64> =
        seen.iter().filter(|id| known.insert(*id)).filter_map(|id| id.rsplit('-').next()?.parse().ok()).collect();
    firsts.is_sorted()
}

/// What became of one message.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub id: String,
    pub sent: bool,
    pub reason: String,
    pub at: Instant,
    pub took: Duration,
}

/// Somebody who goes on talking in the background, one message after the other.
pub struct Talk {
    stop: Arc<AtomicBool>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    task: JoinHandle<User>,
}

impl Talk {
    pub fn start(user: User, to: &str, prefix: &str, pause: Duration) -> Talk {
        let (stop, outcomes) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, book, to, prefix) = (stop.clone(), outcomes.clone(), to.to_owned(), prefix.to_owned());
        let task = tokio::spawn(async move {
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (id, begun) = (format!("{prefix}-{number}"), Instant::now());
                let answer = user.client.send_single_chat(&to, "a body", Some(id.clone())).await;
                let (sent, reason) = match answer {
                    Ok(ack) => (ack.status() == AckStatus::Sent, ack.reason),
                    Err(error) => (false, error.to_string()),
                };
                let (at, took) = (Instant::now(), begun.elapsed());
                book.lock().unwrap().push(Outcome { id, sent, reason, at, took });
                sleep(pause).await;
            }
            user
        });
        Talk { stop, outcomes, task }
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.outcomes.lock().unwrap().len()
    }

    /// Waits until this many more messages have an outcome.
    pub async fn goes_on(&self, messages: usize) {
        let goal = self.count() + messages;
        wait("the talk goes on", || self.count() >= goal).await;
    }

    pub async fn end(self) -> (User, Vec<Outcome>) {
        self.stop.store(true, Ordering::Relaxed);
        let user = self.task.await.expect("no panic");
        let outcomes = self.outcomes.lock().unwrap().clone();
        (user, outcomes)
    }
}

/// Ids that were acked SENT.
pub fn sent(outcomes: &[Outcome]) -> Vec<String> {
    outcomes.iter().filter(|outcome| outcome.sent).map(|outcome| outcome.id.clone()).collect()
}

pub fn failures(outcomes: &[Outcome]) -> Vec<String> {
    outcomes.iter().filter(|outcome| !outcome.sent).map(|o| format!("{}: {}", o.id, o.reason)).collect()
}

/// Longest and middle time from sending to the ack.
pub fn times(outcomes: &[Outcome]) -> (Duration, Duration) {
    let mut times: Vec<Duration> = outcomes.iter().map(|outcome| outcome.took).collect();
    times.sort();
    (times[times.len() - 1], times[times.len() / 2])
}
