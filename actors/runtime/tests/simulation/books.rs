//! What was promised and what came: every message, every connection, and every loss that the documents allow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mics_proto::message::{AckStatus, MessageAck};
use tokio::time::Instant;

use super::net::Instance;

/// A connection that is this old when a message is sent has nothing to catch up with.
const SETTLED: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct Sent {
    pub by: usize,
    pub to: Vec<String>,
    pub group: bool,
    pub at: Instant,
    pub ack: Option<MessageAck>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By its client, or it noticed that the node was gone.
    Own,
    /// The server closed, with this code.
    Closed(Option<u16>),
    /// The server cut it without a word.
    Lost,
}

#[derive(Debug, Clone)]
pub struct Connection {
    pub user: String,
    pub device: String,
    pub instance: Instance,
    pub opened: Instant,
    pub welcomed: bool,
    pub received: Vec<usize>,
    pub acked: Vec<usize>,
    pub stalled: bool,
    /// Its node knew the directory's time: without it, an older connection that registers again may look newer.
    pub timely: bool,
    /// Its device went elsewhere without a word.
    pub left: bool,
    pub ended: Option<(Instant, End)>,
}

#[derive(Default)]
pub struct Books {
    pub sent: Vec<Sent>,
    pub connections: Vec<Connection>,
    /// Losses that the documents allow: (message, user), and why.
    pub excused: BTreeMap<(usize, String), &'static str>,
    pub wrong: Vec<String>,
    /// What happened when, in milliseconds of the run.
    pub diary: Vec<(u64, String)>,
    began: Option<Instant>,
}

impl Books {
    pub fn note(&mut self, what: String) {
        let began = *self.began.get_or_insert_with(Instant::now);
        self.diary.push((began.elapsed().as_millis() as u64, what));
    }

    pub fn excuse(&mut self, message: usize, user: &str, why: &'static str) {
        self.excused.entry((message, user.to_owned())).or_insert(why);
    }

    pub fn ack(&mut self, connection: usize, message: usize, ack: MessageAck) {
        self.note(format!("c{connection} ack m{message} {} {}", ack.status, ack.reason));
        if self.sent[message].by != connection {
            self.wrong.push(format!("m{message} acked on connection {connection}, which did not send it"));
        }
        if self.sent[message].ack.replace(ack).is_some() {
            self.wrong.push(format!("m{message} acked twice"));
        }
        let acked = &mut self.connections[connection].acked;
        if acked.last().is_some_and(|last| *last > message) {
            self.wrong.push(format!("m{message} acked after a later message"));
        }
        acked.push(message);
    }

    pub fn delivered(&self) -> BTreeSet<(usize, &str)> {
        let received = |c: &'_ Connection| c.received.clone();
        self.connections.iter().flat_map(|c| received(c).into_iter().map(|m| (m, c.user.as_str()))).collect()
    }

    /// Recipients who were promised a message.
    pub fn promised(&self) -> Vec<(usize, &str)> {
        let mut promised = Vec::new();
        for (message, sent) in self.sent.iter().enumerate() {
            let Some(ack) = &sent.ack else { continue };
            // A group message that skipped somebody says only that somebody has it.
            let everybody = !sent.group || ack.offline_skipped_users == 0;
            if ack.status == AckStatus::Sent as i32 && everybody {
                promised.extend(sent.to.iter().map(|user| (message, user.as_str())));
            }
        }
        promised
    }

    /// Promised, not there, and no reason for it.
    pub fn missing(&self) -> Vec<(usize, String)> {
        let delivered = self.delivered();
        let missing = self.promised().into_iter().filter(|to| !delivered.contains(to));
        let missing = missing.map(|(message, user)| (message, user.to_owned()));
        missing.filter(|to| !self.excused.contains_key(to)).collect()
    }

    pub fn check_refused(&mut self, allowed: &[&str], open_reasons: &[&str]) {
        let delivered = self.delivered();
        let mut wrong = Vec::new();
        for (message, sent) in self.sent.iter().enumerate() {
            let Some(ack) = sent.ack.as_ref().filter(|ack| ack.status != AckStatus::Sent as i32) else { continue };
            let reason = ack.reason.as_str();
            if !allowed.contains(&reason) {
                wrong.push(format!("m{message} FAILED without need: {reason}"));
            }
            let came = sent.to.iter().any(|user| delivered.contains(&(message, user)));
            if came && !open_reasons.contains(&reason) {
                wrong.push(format!("m{message} FAILED ({reason}) and delivered"));
            }
        }
        self.wrong.extend(wrong);
    }

    pub fn check_unanswered(&mut self) {
        for (message, sent) in self.sent.iter().enumerate() {
            let by = &self.connections[sent.by];
            if sent.ack.is_none() && by.ended.is_none() && !by.left {
                self.wrong.push(format!("m{message} was never answered, connection {} lives", sent.by));
            }
        }
    }

    /// With clients that vanish, what one device did not read may come to another one that has it already.
    pub fn check_duplicates(&mut self, several_devices: bool) {
        for (id, connection) in self.connections.iter().enumerate() {
            let other = |c: &Connection| c.user == connection.user && c.device != connection.device;
            let mut seen = BTreeSet::new();
            for message in connection.received.iter().filter(|message| !seen.insert(**message)) {
                let at = self.sent[*message].at;
                let others = self.connections.iter().any(|c| other(c) && c.opened < at);
                if several_devices || !others {
                    self.wrong.push(format!("m{message} twice on connection {id}"));
                }
            }
        }
    }

    /// Messages of one connection come in order to connections that were there and read all the time.
    pub fn check_order(&mut self) {
        for (id, connection) in self.connections.iter().enumerate().filter(|(_, c)| !c.stalled) {
            let live = |message: &&usize| self.sent[**message].at > connection.opened + SETTLED;
            let (mut last, mut seen) = (BTreeMap::<usize, usize>::new(), BTreeSet::new());
            // Clients drop repetitions.
            for message in connection.received.iter().filter(live).filter(|message| seen.insert(**message)) {
                let before = last.insert(self.sent[*message].by, *message);
                if before.is_some_and(|before| before > *message) {
                    self.wrong.push(format!("m{message} after m{} on connection {id}", before.unwrap_or(0)));
                }
            }
        }
    }

    /// Every device that was there and read got every message.
    pub fn check_every_device(&mut self) {
        let mut wrong = Vec::new();
        for (message, user) in self.promised() {
            let at = self.sent[message].at;
            for (id, connection) in self.connections.iter().enumerate().filter(|(_, c)| c.user == user && !c.stalled) {
                let there =
                    connection.opened + SETTLED < at && connection.ended.is_none_or(|(ended, _)| ended > at + SETTLED);
                if there && !connection.received.contains(&message) {
                    wrong.push(format!("m{message} missed connection {id} of {user}"));
                }
            }
        }
        self.wrong.extend(wrong);
    }
}
