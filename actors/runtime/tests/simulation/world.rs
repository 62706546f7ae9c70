//! The cluster and its clients: carries out the steps of a schedule and keeps the books.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use actix_rt::Arbiter;
use bytes::Bytes;
use mics_actors::metrics::Metrics;
use mics_actors::node::{Node, Ports, clock_ms};
use mics_actors::ports::{EventsOff, LinkRegistration};
use mics_actors::session::{self, Hello};
use mics_actors::settings::{Settings, TenantSettings, Withdrawal};
use mics_actors::wire::Incoming;
use mics_domain::offline::{Entry, OfflineLimits};
use mics_domain::policy::HookDefaults;
use mics_domain::tenant::{Secret, TenantConfig};
use mics_domain::trace::NoTraces;
use mics_proto::message::{
    ClientFrame, HeartbeatPing, MessageRequest, MessageType, ServerFrame, client_frame, server_frame,
};
use mics_proto::prost::Message as _;
use prometheus::Registry;
use tokio::time::{Instant, sleep};

use super::books::{Books, Connection, End, Sent};
use super::hooks::BackEnd;
use super::net::{Flaky, Instance, Net};
use super::ports::Seen;
use super::random::Random;
use super::schedule::{DEVICES, GROUPS, Profile, Step, USERS};
use super::wire::{FromServer, Pipe};

pub const TENANT: &str = "t";
const TTL_MS: u64 = 3_600_000;
const TICK: Duration = Duration::from_millis(50);
const PING_EVERY: Duration = Duration::from_secs(8);
/// A call that is under way for longer has failed.
const AT_ONCE: Duration = Duration::from_millis(500);
/// Until everything is on two nodes again.
const REPLICATED: Duration = Duration::from_secs(25);

pub struct Member {
    pub name: String,
    pub node: Arc<Node>,
    registration: Option<LinkRegistration>,
    /// Takes newcomers.
    open: bool,
    /// Its process runs.
    pub alive: bool,
    leaving: Option<tokio::task::JoinHandle<()>>,
}

struct Client {
    pipe: Pipe,
    said: Instant,
}

pub struct World {
    profile: Profile,
    pub net: Arc<Net>,
    hooks: Arc<BackEnd>,
    pub members: Vec<Member>,
    clients: Vec<Client>,
    pub books: Books,
    /// Per device: its present connection, and when it will connect again.
    present: BTreeMap<(u64, u64), usize>,
    again: BTreeMap<(u64, u64), Instant>,
    random: Random,
    names: u64,
    disturbed: Instant,
}

pub fn user(index: u64) -> String {
    format!("u{index}")
}

fn back_end() -> BackEnd {
    let members = |group: u64| (0..USERS).filter(|u| !(u + group).is_multiple_of(3)).map(user).collect();
    BackEnd {
        config: TenantConfig { heartbeat_timeout_ms: 30_000, offline_ttl_ms: TTL_MS, ..TenantConfig::default() },
        groups: (0..GROUPS).map(|group| (format!("g{group}"), members(group))).collect(),
    }
}

fn settings(name: &str) -> Settings {
    let tenant = TenantSettings {
        auth_url: "http://hooks".into(),
        secret: Secret::default(),
        hook_max_concurrency: None,
        deny_when_degraded: true,
    };
    Settings {
        node_id: name.to_owned(),
        endpoint: format!("http://{name}"),
        max_message_bytes: 0,
        outbox_max_bytes: 16_384,
        pipeline_window: 4,
        max_connections: 0,
        max_pending_handshakes: 0,
        dedup_max_records: 1_000,
        keepalive: Duration::ZERO,
        offline: OfflineLimits { max_messages_per_user: 10_000, max_bytes_per_user: 1 << 24, max_users: 1_000 },
        group_chunk: 2,
        group_offline_max_users: 1_000,
        group_max_members: 100,
        route_cache_ttl: Duration::from_secs(5),
        route_cache_bytes: 1 << 20,
        withdrawal: Withdrawal::default(),
        dedup_shared: false,
        hooks: HookDefaults { queue_timeout_ms: 1_000, ..HookDefaults::default() },
        drain_timeout: Duration::from_secs(10),
        tenants: [(TENANT.to_owned(), tenant)].into(),
    }
}

/// The number of the message in a delivery frame.
fn number(msg_id: &str) -> usize {
    msg_id.trim_start_matches('m').parse().unwrap()
}

fn number_in(frame: &[u8]) -> Option<usize> {
    match ServerFrame::decode(frame).ok()?.payload? {
        server_frame::Payload::Delivery(delivery) => Some(number(&delivery.message?.msg_id)),
        _ => None,
    }
}

fn number_of(frame: &Bytes) -> Option<usize> {
    number_in(&mics_actors::frame::payload(frame))
}

fn binary(payload: client_frame::Payload) -> Incoming {
    Incoming::Binary(ClientFrame { payload: Some(payload) }.encode_to_vec().into())
}

impl World {
    pub fn new(seed: u64, profile: Profile) -> Self {
        let mut world = World {
            profile,
            net: Net::new(seed),
            hooks: Arc::new(back_end()),
            members: Vec::new(),
            clients: Vec::new(),
            books: Books::default(),
            present: BTreeMap::new(),
            again: BTreeMap::new(),
            random: Random::of(seed, "world"),
            names: 0,
            disturbed: Instant::now(),
        };
        (0..3).for_each(|_| world.join(None));
        world
    }

    fn join(&mut self, name: Option<String>) {
        let instance = self.members.len();
        let name = name.unwrap_or_else(|| {
            self.names += 1;
            format!("n{}", self.names)
        });
        // Incarnations of a node are told apart by the time of their start, in real milliseconds.
        std::thread::sleep(Duration::from_millis(u64::from(self.members.iter().any(|m| m.name == name)) * 2));
        let seen = Arc::new(Seen { net: self.net.clone(), by: instance });
        let ports = Ports {
            hooks: self.hooks.clone(),
            directory: seen.clone(),
            link: seen,
            events: Arc::new(EventsOff),
            tracer: Arc::new(NoTraces),
        };
        let metrics = Metrics::new(Registry::new()).unwrap();
        let endpoint = format!("http://{name}");
        self.net.place(&endpoint, instance);
        let node = Node::start_on(Arbiter::current(), settings(&name), ports, metrics);
        let registration = Some(self.net.link.register(&endpoint, node.clone()));
        self.members.push(Member { name, node, registration, open: true, alive: true, leaving: None });
        self.disturbed = Instant::now();
    }

    fn open_members(&self) -> Vec<Instance> {
        (0..self.members.len()).filter(|i| self.members[*i].open && self.members[*i].alive).collect()
    }

    pub fn living(&self) -> Vec<Instance> {
        (0..self.members.len()).filter(|i| self.members[*i].alive).collect()
    }

    fn pick_open(&self, pick: u64) -> Option<Instance> {
        let open = self.open_members();
        open.get(pick as usize % open.len().max(1)).copied()
    }

    fn pick_connection(&self, pick: u64) -> Option<usize> {
        let present: Vec<usize> = self.present.values().copied().collect();
        present.get(pick as usize % present.len().max(1)).copied()
    }

    fn device_of(&self, connection: usize) -> (u64, u64) {
        let c = &self.books.connections[connection];
        (c.user[1..].parse().unwrap(), c.device[1..].parse().unwrap())
    }

    pub fn connect(&mut self, device: (u64, u64), instance: Instance) {
        let node = self.members[instance].node.clone();
        let (Ok(place), Ok(handshake)) = (node.open_socket(), node.open_handshake()) else { return };
        let (name, device_id) = (user(device.0), format!("d{}", device.1));
        let timely = (node.cluster_ms() - self.net.now_ms()).abs() < 1_000;
        let pipe = Pipe::default();
        let hello = Hello { tenant: TENANT.into(), token: name.clone(), device: device_id.clone() };
        session::open(node, hello, std::rc::Rc::new(pipe.clone()), place, handshake);
        let id = self.clients.len();
        self.clients.push(Client { pipe, said: Instant::now() });
        self.books.connections.push(Connection {
            user: name,
            device: device_id,
            instance,
            opened: Instant::now(),
            welcomed: false,
            received: Vec::new(),
            acked: Vec::new(),
            stalled: false,
            timely,
            left: false,
            ended: None,
        });
        self.books.note(format!("c{id} connects {device:?} to {instance}"));
        self.present.insert(device, id);
        self.again.remove(&device);
    }

    /// The client ends the connection, without or with a close frame.
    fn end(&mut self, connection: usize, politely: bool) {
        self.pump();
        if self.books.connections[connection].ended.is_some() {
            return;
        }
        let pipe = self.clients[connection].pipe.clone();
        if politely {
            pipe.stall(None);
            pipe.send(Incoming::Close(Some(1000)));
            self.clients[connection].said = Instant::now();
            // The rest is read until the server ends it; the device is gone now.
        } else {
            self.lose_unread(connection, "in the socket of a client that went");
            pipe.cut();
            self.books.connections[connection].ended = Some((Instant::now(), End::Own));
        }
        self.present.remove(&self.device_of(connection));
    }

    fn lose_unread(&mut self, connection: usize, why: &'static str) {
        let name = self.books.connections[connection].user.clone();
        for frame in self.clients[connection].pipe.read() {
            if let FromServer::Binary(payload) = frame
                && let Some(message) = number_in(&payload)
            {
                self.books.excuse(message, &name, why);
            }
        }
    }

    /// The clients read what has come.
    pub fn pump(&mut self) {
        for id in 0..self.clients.len() {
            if self.books.connections[id].ended.is_some()
                || self.books.connections[id].left
                || self.clients[id].pipe.stalled()
            {
                continue;
            }
            let mut code = None;
            for frame in self.clients[id].pipe.read() {
                match frame {
                    FromServer::Binary(payload) => self.came(id, &payload),
                    FromServer::Close(closed) => code = Some(closed),
                    FromServer::Pong => {}
                }
            }
            if let Some(code) = code {
                self.ended(id, End::Closed(code));
            } else if self.clients[id].pipe.ended() {
                self.ended(id, End::Lost);
            } else if self.clients[id].said.elapsed() >= PING_EVERY {
                self.say(id, client_frame::Payload::HeartbeatPing(HeartbeatPing::default()));
            }
        }
    }

    fn say(&mut self, id: usize, payload: client_frame::Payload) {
        self.clients[id].said = Instant::now();
        self.clients[id].pipe.send(binary(payload));
    }

    fn came(&mut self, id: usize, payload: &[u8]) {
        match ServerFrame::decode(payload).unwrap().payload {
            Some(server_frame::Payload::ConnectAck(_)) => self.books.connections[id].welcomed = true,
            Some(server_frame::Payload::Delivery(delivery)) => {
                let message = number(&delivery.message.unwrap().msg_id);
                if !self.books.connections[id].welcomed {
                    self.books.wrong.push(format!("m{message} before the welcome on connection {id}"));
                }
                self.books.note(format!("c{id} gets m{message}"));
                self.books.connections[id].received.push(message);
            }
            Some(server_frame::Payload::Ack(ack)) => {
                let message = number(&ack.msg_id);
                self.books.ack(id, message, ack);
            }
            _ => {}
        }
    }

    /// The server ended a connection: was there a reason, and does the client come back?
    fn ended(&mut self, id: usize, end: End) {
        self.books.note(format!("c{id} ended {end:?}"));
        self.books.connections[id].ended = Some((Instant::now(), end));
        self.clients[id].pipe.cut();
        let device = self.device_of(id);
        let is_present = self.present.get(&device) == Some(&id);
        let member = &self.members[self.books.connections[id].instance];
        let connection = &self.books.connections[id];
        let reason = match end {
            End::Own => true,
            End::Closed(Some(4200)) => !member.open,
            End::Closed(Some(4409)) => !is_present || !connection.timely || self.is_one_of_two(id),
            End::Closed(Some(4408)) | End::Closed(Some(4100)) => connection.stalled,
            End::Closed(Some(4429)) => true,
            End::Closed(_) => !is_present,
            End::Lost => !member.open || connection.stalled || !is_present,
        };
        if !reason {
            let (user, instance) = (&connection.user, connection.instance);
            self.books.wrong.push(format!("connection {id} of {user} on instance {instance} was ended: {end:?}"));
        }
        if is_present {
            self.present.remove(&device);
            let pause = if end == End::Closed(Some(4429)) { 10_000 } else { 0 };
            let pause = pause + self.random.between(100, 3_000);
            self.again.insert(device, Instant::now() + Duration::from_millis(pause));
        }
    }

    /// Its device connected twice at the same time: whichever is registered last stays.
    fn is_one_of_two(&self, id: usize) -> bool {
        let connection = &self.books.connections[id];
        let same = |c: &Connection| (&c.user, &c.device) == (&connection.user, &connection.device);
        let others = self.books.connections.iter().enumerate().filter(|(other, c)| *other != id && same(c));
        others
            .into_iter()
            .any(|(_, c)| c.opened + AT_ONCE > connection.opened && connection.opened + AT_ONCE > c.opened)
    }

    /// Lets time pass; clients that lost their connection come back.
    pub async fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            self.pump();
            self.bury_the_left();
            let now = Instant::now();
            let due: Vec<_> = self.again.iter().filter(|(_, at)| **at <= now).map(|(device, _)| *device).collect();
            for device in due {
                let pick = self.random.next();
                if let Some(instance) = self.pick_open(pick) {
                    self.connect(device, instance);
                }
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return;
            }
            sleep(left.min(TICK)).await;
        }
    }

    /// Nodes whose drain is over end their process.
    fn bury_the_left(&mut self) {
        for instance in 0..self.members.len() {
            let over = self.members[instance].leaving.as_ref().is_some_and(tokio::task::JoinHandle::is_finished);
            if over && self.members[instance].alive {
                self.die(instance, "on a node that left");
            }
        }
    }

    /// The end of a node's process: what only it had is gone.
    fn die(&mut self, instance: Instance, why: &'static str) {
        self.pump();
        let calm = self.disturbed.elapsed() > REPLICATED || why == "on a node that left";
        self.members[instance].alive = false;
        self.members[instance].open = false;
        self.net.kill(instance);
        self.members[instance].registration = None;
        let lost: Vec<usize> =
            (0..self.clients.len()).filter(|id| self.books.connections[*id].instance == instance).collect();
        for id in lost {
            let pipe = self.clients[id].pipe.clone();
            if self.books.connections[id].ended.is_none() {
                self.lose_unread(id, "in the socket of a node that died");
                let device = self.device_of(id);
                if self.present.get(&device) == Some(&id) {
                    self.present.remove(&device);
                    let notices = Duration::from_millis(self.random.between(500, 5_000));
                    self.again.insert(device, Instant::now() + notices);
                }
                self.books.connections[id].ended = Some((Instant::now(), End::Own));
            }
            pipe.die();
        }
        let node = self.members[instance].node.clone();
        let Some(tenant) = node.tenants().get(TENANT) else { return };
        for session in tenant.sessions.all() {
            let name = session.outbox.user.to_string();
            for message in session.outbox.finish().iter().filter_map(|frame| number_of(&frame.bytes)) {
                self.books.excuse(message, &name, "in an outbox of a node that died");
            }
        }
        self.lose_only_copies(&node, calm);
        self.disturbed = Instant::now();
    }

    fn lose_only_copies(&mut self, node: &Arc<Node>, calm: bool) {
        let elsewhere = self.kept();
        let strict = calm && matches!(self.profile, Profile::Kills | Profile::Drains | Profile::Moves);
        for (name, entry) in kept_on(node) {
            let Some(message) = number_of(&entry.frame) else { continue };
            let age = TTL_MS.saturating_sub(entry.expires_at_ms.saturating_sub(clock_ms()));
            if elsewhere.contains_key(&(message, name.clone())) || (strict && age > 5_000) {
                continue;
            }
            self.books.excuse(message, &name, "kept only on a node that died");
        }
    }

    /// Everything that living nodes keep: (message, user) -> (instance, entry).
    pub fn kept(&self) -> HashMap<(usize, String), Vec<(Instance, Entry)>> {
        let mut kept: HashMap<_, Vec<_>> = HashMap::new();
        for instance in self.living() {
            for (name, entry) in kept_on(&self.members[instance].node) {
                if let Some(message) = number_of(&entry.frame) {
                    kept.entry((message, name)).or_default().push((instance, entry));
                }
            }
        }
        kept
    }

    fn send(&mut self, pick: u64, to: (MessageType, String), count: u64, bytes: u64, denied: bool) {
        let Some(by) = self.pick_connection(pick) else { return };
        if self.clients[by].pipe.stalled() || self.books.connections[by].ended.is_some() {
            return;
        }
        let (kind, name) = to;
        for n in 0..count {
            let message = self.books.sent.len();
            let group = kind == MessageType::GroupChat;
            let to = if group { self.hooks.groups[&name].clone() } else { vec![name.clone()] };
            self.books.note(format!("c{by} sends m{message} to {name}"));
            self.books.sent.push(Sent { by, to, group, at: Instant::now(), ack: None });
            let mut msg_body = if denied { b"deny".to_vec() } else { vec![b'x'; bytes as usize] };
            msg_body.push(((bytes + n * 3) % 251) as u8);
            let mut request =
                MessageRequest { msg_id: format!("m{message}"), msg_type: kind as i32, ..Default::default() };
            request.msg_body = msg_body.into();
            if group {
                request.group_id = name.clone()
            } else {
                request.to_user_id = name.clone()
            }
            self.say(by, client_frame::Payload::Message(request));
        }
    }

    pub async fn step(&mut self, step: Step) {
        self.books.note(format!("{step:?}"));
        self.client_step(step);
        self.trouble_step(step);
        match step {
            Step::Pause { ms } => self.pass(Duration::from_millis(ms)).await,
            Step::Settle => {
                self.heal();
                self.pass(REPLICATED + Duration::from_secs(5)).await;
            }
            _ => {
                let pause = self.random.between(0, 60);
                self.pass(Duration::from_millis(pause)).await;
            }
        }
    }

    fn client_step(&mut self, step: Step) {
        match step {
            Step::Connect { user, device, pick } if !self.present.contains_key(&(user, device)) => {
                if let Some(instance) = self.pick_open(pick) {
                    self.connect((user, device), instance);
                }
            }
            Step::Close { pick } | Step::Cut { pick } => {
                if let Some(connection) = self.pick_connection(pick) {
                    self.end(connection, matches!(step, Step::Close { .. }));
                }
            }
            Step::Move { pick, to, room } => {
                if let (Some(connection), Some(instance)) = (self.pick_connection(pick), self.pick_open(to)) {
                    self.pump();
                    self.books.connections[connection].left = true;
                    self.clients[connection].pipe.stall(Some(room as usize));
                    self.books.connections[connection].stalled = true;
                    self.connect(self.device_of(connection), instance);
                }
            }
            Step::Stall { pick, room } => {
                if let Some(connection) = self.pick_connection(pick) {
                    self.books.connections[connection].stalled = true;
                    self.clients[connection].pipe.stall(Some(room as usize));
                }
            }
            Step::Resume => self.resume(),
            Step::Send { pick, to, count, bytes } => {
                self.send(pick, (MessageType::SingleChat, user(to)), count, bytes, false);
            }
            Step::Denied { pick, to } => self.send(pick, (MessageType::SingleChat, user(to)), 1, 1, true),
            Step::SendGroup { pick, group, count, bytes } => {
                self.send(pick, (MessageType::GroupChat, format!("g{group}")), count, bytes, false);
            }
            _ => {}
        }
    }

    fn resume(&mut self) {
        let present = self.clients.iter().zip(&self.books.connections).filter(|(_, connection)| !connection.left);
        present.for_each(|(client, _)| client.pipe.stall(None));
    }

    fn trouble_step(&mut self, step: Step) {
        let open = self.open_members();
        let pick_of = |pick: u64| open.get(pick as usize % open.len().max(1)).copied();
        match step {
            Step::Drain { pick } if open.len() > 1 => {
                let Some(instance) = pick_of(pick) else { return };
                self.members[instance].open = false;
                let node = self.members[instance].node.clone();
                self.members[instance].leaving = Some(actix_rt::spawn(async move { node.drain().await }));
            }
            Step::Kill { pick } if open.len() > 1 => {
                if let Some(instance) = pick_of(pick) {
                    self.die(instance, "on a node that died");
                }
                return;
            }
            Step::Join { again } if self.living().len() < 5 => {
                let gone = self.members.iter().find(|m| !m.alive).map(|m| m.name.clone());
                let taken = |name: &String| self.members.iter().any(|m| m.alive && m.name == *name);
                self.join(gone.filter(|name| again && !taken(name)));
            }
            Step::Away { pick } => pick_of(pick).into_iter().for_each(|instance| self.net.away(instance)),
            Step::AllAway => self.living().into_iter().for_each(|instance| self.net.away(instance)),
            Step::Empty => self.net.empty(),
            Step::Part { pick, other } => {
                if let (Some(a), Some(b)) = (pick_of(pick), pick_of(other))
                    && a != b
                {
                    self.net.part(a, b);
                }
            }
            Step::Flaky { directory, delay_ms, fail, mute } => {
                let flaky = Flaky { delay_ms, fail_per_mille: fail, mute_per_mille: mute };
                match directory {
                    true => self.net.flaky(flaky, Flaky::default()),
                    false => self.net.flaky(Flaky::default(), flaky),
                }
            }
            Step::Freeze { pick } => pick_of(pick).into_iter().for_each(|instance| self.net.freeze(instance)),
            Step::NoBurials => self.net.stop_burials(),
            Step::Heal => self.heal(),
            _ => return,
        }
        self.disturbed = Instant::now();
    }

    pub fn heal(&mut self) {
        self.net.heal();
        self.resume();
    }

    /// Every device leaves and comes back once.
    pub async fn everybody_reconnects(&mut self) {
        for device in (0..USERS).flat_map(|user| (0..DEVICES).map(move |device| (user, device))) {
            if let Some(connection) = self.present.get(&device).copied() {
                self.end(connection, true);
                self.pass(Duration::from_millis(200)).await;
            }
            let pick = self.random.next();
            if let Some(instance) = self.pick_open(pick) {
                self.connect(device, instance);
            }
            self.pass(Duration::from_millis(100)).await;
        }
    }

    /// What lies in sockets that nobody will read again.
    pub fn lose_the_left_behind(&mut self) {
        for id in 0..self.clients.len() {
            if self.books.connections[id].left {
                self.lose_unread(id, "in the socket of a client that moved");
            }
        }
    }

    /// Has this user a device that is there and has been for a while?
    pub fn online(&self, name: &str, since: Duration) -> Vec<String> {
        let present = self.present.values().map(|id| &self.books.connections[*id]);
        let theirs = present.filter(|c| c.user == name && c.ended.is_none() && c.opened.elapsed() > since);
        theirs.map(|c| c.device.clone()).collect()
    }
}

fn kept_on(node: &Arc<Node>) -> Vec<(String, Entry)> {
    let Some(tenant) = node.tenants().get(TENANT) else { return Vec::new() };
    let users = tenant.offline.users();
    users.iter().flat_map(|user| tenant.offline.entries(user).into_iter().map(|e| (user.to_string(), e))).collect()
}
