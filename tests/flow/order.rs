//! Random schedules of senders, devices, departures and hooks of changing speed, judged by what every socket received:
//! nothing promised is lost, nothing comes twice, nothing overtakes. Must not expect more of an abruptly dropped socket
//! than the network gives: what the kernel had taken for it is lost with it.

use std::collections::{HashMap, HashSet, VecDeque};

use mics_proto::message::{AckStatus, MessageAck, ServerFrame, server_frame::Payload};
use mics_proto::prost::Message as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestError, TestRunner};

use crate::support::client::{group, single};
use crate::support::{Book, Check, Client, Frame, Gateway, Setup, wait_until};

const SENDERS: usize = 2;
const USERS: [&str; 2] = ["v", "w"];
const DEVICES: [&str; 2] = ["phone", "laptop"];
/// First byte of a body that the hook denies; other bodies begin with the hook's delay in ms.
const DENY: u8 = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    User(usize),
    /// Of all users.
    Group,
    EmptyGroup,
}

#[derive(Debug, Clone, Copy)]
enum Leave {
    /// A close frame, and everything is read up to the end.
    Closing,
    /// Everything is read, then the socket is dropped.
    Dropping,
    /// The socket is dropped, unread frames and all.
    Unread,
}

/// Messages sent in a row.
#[derive(Debug, Clone, Copy)]
struct Burst {
    sender: usize,
    to: To,
    count: usize,
    /// First byte of the bodies.
    hook: u8,
    /// Length of the bodies.
    body: usize,
}

/// Indexes in `USERS` and `DEVICES`.
type Place = (usize, usize);

#[derive(Debug, Clone, Copy)]
enum Step {
    Say(Burst),
    /// The sender's message of so many ago once more, on the connection it has now.
    Repeat(usize, usize),
    /// The sender reads all acks that are due.
    Acks(usize),
    /// The sender reconnects, with `true` over the old socket and without having read its acks.
    SenderAgain(usize, bool),
    /// Connects a device, with `true` with a small receive buffer; one that is connected is replaced.
    Join(Place, bool),
    Leave(Place, Leave),
    Read(Place),
}

fn step() -> impl Strategy<Value = Step> {
    let to = || prop_oneof![4 => (0..USERS.len()).prop_map(To::User), 3 => Just(To::Group), 1 => Just(To::EmptyGroup)];
    let how = || select(vec![Leave::Closing, Leave::Dropping, Leave::Unread]);
    let bodies = || prop_oneof![6 => 1..1_500usize, 1 => Just(64 * 1024usize)];
    let hooks = || prop_oneof![4 => Just(0), 4 => 1..8u8, 1 => Just(DENY)];
    let place = || (0..USERS.len(), 0..DEVICES.len());
    prop_oneof![
        6 => (0..SENDERS, to(), 1..40usize, hooks(), bodies())
            .prop_map(|(sender, to, count, hook, body)| Step::Say(Burst { sender, to, count, hook, body })),
        2 => (0..SENDERS, 0..20usize).prop_map(|(sender, back)| Step::Repeat(sender, back)),
        1 => (0..SENDERS).prop_map(Step::Acks),
        1 => (0..SENDERS, any::<bool>()).prop_map(|(sender, dropped)| Step::SenderAgain(sender, dropped)),
        4 => (place(), any::<bool>()).prop_map(|(place, small_buffer)| Step::Join(place, small_buffer)),
        2 => (place(), how()).prop_map(|(place, how)| Step::Leave(place, how)),
        2 => place().prop_map(Step::Read),
    ]
}

/// A message and its fate, told from outside.
struct Sent {
    burst: Burst,
    /// Connections of the sender on which it was sent, first to last.
    on: Vec<usize>,
    acks: Vec<MessageAck>,
}

/// A connection of a recipient. `received` holds numbers of messages.
struct Line {
    place: Place,
    connection: u128,
    client: Option<Client>,
    received: Vec<usize>,
}

struct Sender {
    client: Client,
    /// Which connection this is, of all senders' ones.
    number: usize,
    due: VecDeque<usize>,
}

struct World {
    gateway: Gateway,
    messages: Vec<Sent>,
    senders: Vec<Sender>,
    connections: usize,
    lines: Vec<Line>,
    /// (user, message) that may have gone down with a dropped socket.
    excused: HashSet<(usize, usize)>,
}

/// True = in; false = refused because the device changes hands too often.
fn let_in(client: &mut Client) -> bool {
    match client.next() {
        Frame::Binary(_) => true,
        Frame::Close(Some(4429), _) => false,
        other => panic!("expected connect_ack, got {other:?}"),
    }
}

impl Line {
    fn take(&mut self, frame: &Frame) -> Option<Payload> {
        let Frame::Binary(bytes) = frame else { return None };
        let payload = ServerFrame::decode(&bytes[..]).unwrap().payload.unwrap();
        if let Payload::Delivery(delivery) = &payload {
            self.received.push(delivery.message.as_ref().unwrap().msg_id.parse().unwrap());
        }
        Some(payload)
    }

    /// Reads to the end of the connection.
    fn rest(&mut self) {
        let Some(mut client) = self.client.take() else { return };
        loop {
            match client.next() {
                // Nothing follows a close frame; the server would wait for ours.
                Frame::End | Frame::Close(..) => return,
                frame => drop(self.take(&frame)),
            }
        }
    }

    /// Reads what was queued before now; false when the server ended the connection.
    fn read(&mut self, alive: bool) -> bool {
        // Nothing is sent to a session that is gone: the answer would be a reset, which discards what is unread.
        if !alive || !self.client.as_mut().is_some_and(Client::ping) {
            self.rest();
            return false;
        }
        loop {
            let frame = self.client.as_mut().unwrap().next();
            match self.take(&frame) {
                Some(Payload::HeartbeatPong(_)) => return true,
                Some(_) => {}
                None if matches!(frame, Frame::Ping | Frame::Pong(_)) => {}
                None => {
                    self.client = None;
                    return false;
                }
            }
        }
    }
}

impl World {
    fn new(outbox: usize) -> Self {
        let book = Book::default().group("t1", "all", USERS).group("t1", "nobody", [""; 0]).check(|message| {
            match message.body[0] {
                0 => Check::Allow,
                DENY => Check::Deny("no"),
                ms => Check::Delay(ms.into()),
            }
        });
        let gateway = Setup::with(book).set(|settings| settings.outbox_max_bytes = outbox).start();
        let sender =
            |number| Sender { client: gateway.connect("t1", &format!("s{number}"), "d"), number, due: VecDeque::new() };
        let senders = (0..SENDERS).map(sender).collect();
        let (messages, lines, excused) = Default::default();
        World { gateway, messages, senders, connections: SENDERS, lines, excused }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Say(burst) => {
                for _ in 0..burst.count {
                    self.messages.push(Sent { burst, on: Vec::new(), acks: Vec::new() });
                    self.submit(self.messages.len() - 1);
                }
            }
            Step::Repeat(sender, back) => {
                let own = |number: &usize| self.messages[*number].burst.sender == sender;
                let found = (0..self.messages.len()).rev().filter(own).nth(back);
                found.into_iter().for_each(|number| self.submit(number));
            }
            Step::Acks(sender) => self.acks(sender),
            Step::SenderAgain(sender, dropped) => self.sender_again(sender, dropped),
            Step::Join(place, small_buffer) => drop(self.join(place, small_buffer)),
            Step::Leave(place, how) => self.leave(place, how),
            Step::Read(place) => {
                if let Some(line) = self.line(place) {
                    self.read(line);
                }
            }
        }
    }

    fn submit(&mut self, number: usize) {
        let dropped = self.lines.iter().filter(|line| line.client.is_none() && self.alive(line));
        let users: Vec<usize> = dropped.map(|line| line.place.0).collect();
        // The server has not noticed yet that these are gone.
        self.excused.extend(users.into_iter().map(|user| (user, number)));
        let message = &mut self.messages[number];
        let sender = &mut self.senders[message.burst.sender];
        let mut body = vec![b'x'; message.burst.body];
        body[0] = message.burst.hook;
        let id = number.to_string();
        let mut request = match message.burst.to {
            To::User(user) => single(&id, USERS[user], b""),
            To::Group => group(&id, "all"),
            To::EmptyGroup => group(&id, "nobody"),
        };
        request.msg_body = body.into();
        message.on.push(sender.number);
        sender.due.push_back(number);
        sender.client.send(request);
    }

    /// Acks come in the order sent, one for each message.
    fn acks(&mut self, sender: usize) {
        let sender = &mut self.senders[sender];
        while let Some(number) = sender.due.pop_front() {
            let ack = sender.client.ack();
            assert_eq!(ack.msg_id, number.to_string(), "an ack out of order");
            self.messages[number].acks.push(ack);
        }
    }

    fn sender_again(&mut self, index: usize, dropped: bool) {
        if !dropped {
            self.acks(index);
            self.senders[index].client.close(1000);
            self.senders[index].client.closed();
        }
        let user = format!("s{index}");
        let query = format!("tenantId=t1&token=valid:{user}&deviceId=d");
        let old = self.sessions(&user);
        let mut client = self.gateway.open(&query);
        let sender = &mut self.senders[index];
        sender.due.clear();
        (sender.number, self.connections) = (self.connections, self.connections + 1);
        if let_in(&mut client) {
            sender.client = client;
            return;
        }
        // Replacing the old socket. Otherwise it is dropped first, with what it has not sent.
        sender.client = client;
        wait_until("the old session is gone", || self.sessions(&user).iter().all(|session| !old.contains(session)));
        self.senders[index].client = self.gateway.connect("t1", &user, "d");
    }

    fn sessions(&self, user: &str) -> Vec<u128> {
        let sessions = self.gateway.node.tenants().get("t1").unwrap().sessions.of(user);
        sessions.iter().map(|session| session.outbox.connection).collect()
    }

    /// The server still holds the line for a live one.
    fn alive(&self, line: &Line) -> bool {
        self.sessions(USERS[line.place.0]).contains(&line.connection)
    }

    /// Index of the device's connection.
    fn line(&self, place: Place) -> Option<usize> {
        let of_device = |line: &Line| line.place == place && line.client.is_some();
        self.lines.iter().position(of_device)
    }

    fn read(&mut self, line: usize) -> bool {
        let alive = self.alive(&self.lines[line]);
        self.lines[line].read(alive)
    }

    fn join(&mut self, place: Place, small_buffer: bool) -> bool {
        let (user, device) = (USERS[place.0], DEVICES[place.1]);
        let old = self.line(place);
        let query = format!("tenantId=t1&token=valid:{user}&deviceId={device}");
        let mut client = Client::open_with(self.gateway.address, &query, small_buffer.then_some(64 * 1024));
        let Frame::Binary(welcome) = client.next() else { return false };
        assert!(matches!(ServerFrame::decode(&welcome[..]).unwrap().payload, Some(Payload::ConnectAck(_))));
        if let Some(old) = old {
            self.lines[old].rest();
        }
        let sessions = self.gateway.node.tenants().get("t1").unwrap().sessions.of(user);
        let own = sessions.iter().find(|session| *session.outbox.device == *device);
        // Gone already when it was too slow for its backlog.
        let connection = own.map_or(0, |session| session.outbox.connection);
        self.lines.push(Line { place, connection, client: Some(client), received: Vec::new() });
        true
    }

    fn leave(&mut self, place: Place, how: Leave) {
        let Some(index) = self.line(place) else { return };
        match how {
            Leave::Closing => {
                if self.alive(&self.lines[index]) {
                    self.lines[index].client.as_mut().unwrap().close(1000);
                }
                return self.lines[index].rest();
            }
            Leave::Dropping => drop(self.read(index)),
            Leave::Unread => {}
        }
        self.lines[index].client = None;
        self.excused.extend((0..self.messages.len()).map(|number| (place.0, number)));
    }

    /// All acks are read, every device is connected and has read everything.
    fn settle(&mut self) {
        (0..SENDERS).for_each(|sender| self.acks(sender));
        let places: Vec<Place> = (0..USERS.len()).flat_map(|user| (0..DEVICES.len()).map(move |d| (user, d))).collect();
        wait_until("dropped sockets are noticed", || {
            self.lines.iter().all(|line| line.client.is_some() || !self.alive(line))
        });
        wait_until("everything is read", || {
            for &place in &places {
                match self.line(place) {
                    Some(line) => drop(self.read(line)),
                    None => drop(self.join(place, false)),
                }
            }
            places.iter().all(|place| self.line(*place).is_some()) && self.quiet()
        });
        for &place in &places {
            let line = self.line(place).unwrap();
            assert!(self.read(line), "a connection ended at rest");
        }
    }

    fn quiet(&self) -> bool {
        let tenant = self.gateway.node.tenants().get("t1").unwrap();
        USERS.iter().all(|user| {
            let sessions = tenant.sessions.of(user);
            !tenant.offline.has(user) && sessions.iter().all(|session| session.outbox.queued_bytes() == 0)
        })
    }

    fn judge(&self) {
        self.messages.iter().enumerate().for_each(|(number, message)| self.judge_message(number, message));
        let mut seen = HashSet::new();
        for line in &self.lines {
            for number in &line.received {
                let (user, device) = (USERS[line.place.0], DEVICES[line.place.1]);
                assert!(seen.insert((line.place, number)), "message {number} came twice to {user}'s {device}");
            }
        }
        self.lines.iter().for_each(|line| self.judge_order(line));
    }

    fn judge_message(&self, number: usize, message: &Sent) {
        let got = |user| self.lines.iter().any(|line| line.place.0 == user && line.received.contains(&number));
        let refusal = match message.burst.to {
            _ if message.burst.hook == DENY => Some("no"),
            To::EmptyGroup => Some("group members empty"),
            _ => None,
        };
        for (nth, ack) in message.acks.iter().enumerate() {
            let sent = ack.status == AckStatus::Sent as i32;
            assert_eq!(sent, refusal.is_none(), "message {number}: {ack:?}");
            let repeated = nth > 0 || message.on.len() > 1;
            let expected = refusal.unwrap_or(if repeated && !ack.reason.is_empty() { "duplicate" } else { "" });
            assert_eq!(ack.reason, expected, "message {number}");
            assert_eq!(ack.offline_skipped_users, 0, "message {number}");
        }
        for (user, name) in USERS.iter().enumerate() {
            let meant = refusal.is_none() && [To::User(user), To::Group].contains(&message.burst.to);
            assert!(meant || !got(user), "message {number} came to {name}");
            let promised = meant && !message.acks.is_empty() && !self.excused.contains(&(user, number));
            assert!(!promised || got(user), "message {number} never came to {name}");
        }
    }

    /// Messages of one connection of a sender arrive in the order of its numbers. One that was sent again on another
    /// connection belongs to either. What another device took and could not be sent comes back late, so such users are
    /// passed over.
    fn judge_order(&self, line: &Line) {
        let ended = |other: &Line| other.place.0 == line.place.0 && other.place != line.place && other.client.is_none();
        if self.lines.iter().any(ended) {
            return;
        }
        let mut latest: HashMap<usize, usize> = HashMap::new();
        for number in &line.received {
            let on = &self.messages[*number].on;
            if on.iter().any(|connection| *connection != on[0]) {
                continue;
            }
            let before = latest.insert(on[0], *number);
            assert!(before.is_none_or(|before| before < *number), "{number} behind {before:?} in {:?}", line.received);
        }
    }
}

fn run(outbox: usize, steps: &[Step]) {
    let mut world = World::new(outbox);
    steps.iter().for_each(|step| world.step(step));
    world.settle();
    world.judge();
}

/// Runs random schedules with outboxes of these limits in bytes.
fn schedules(cases: u32, outboxes: &'static [usize]) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let schedule = (select(outboxes), vec(step(), 1..40));
    let result = TestRunner::new(config).run(&schedule, |(outbox, steps)| {
        run(outbox, &steps);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, (outbox, steps))) => panic!("{reason}\nrun({outbox}, &{steps:?});"),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn whatever_the_schedule_promises_are_kept_once_and_in_order() {
    schedules(80, &[16 * 1024, 64 * 1024, 1 << 20, 64 << 20]);
}

#[test]
#[ignore = "takes minutes"]
fn whatever_the_schedule_promises_are_kept_at_length() {
    schedules(1_600, &[16 * 1024, 64 * 1024, 1 << 20, 64 << 20]);
}

#[test]
fn a_device_too_slow_for_backlog_and_live_messages_finds_them_in_order() {
    let say = |count, body| Step::Say(Burst { sender: 0, to: To::User(0), count, hook: 0, body });
    run(16 * 1024, &[say(100, 64 * 1024), Step::Acks(0), Step::Join((0, 0), true), say(40, 1_000), Step::Acks(0)]);
}

#[test]
fn what_one_device_was_not_sent_does_not_come_twice_to_another() {
    let (slow, fast) = ((0, 1), (0, 0));
    let burst = Burst { sender: 0, to: To::User(0), count: 100, hook: 0, body: 64 * 1024 };
    let arrive = [Step::Join(slow, true), Step::Join(fast, false), Step::Say(burst), Step::Acks(0), Step::Read(fast)];
    let leave = [Step::Leave(fast, Leave::Closing), Step::Leave(slow, Leave::Unread)];
    run(64 << 20, &[&arrive[..], &leave[..]].concat());
}
