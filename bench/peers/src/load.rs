//! The load: an open loop at a fixed rate, books on every message, one result line. Knows nothing of any server's wire.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use crate::process;
use crate::wire::{Heard, Seat, Server, Socket};

const BODY_BYTES: usize = 256;
/// Digits of a message's number and of its due time at the start of its body.
const DIGITS: usize = 12;
/// How long to wait after the last message was due.
const PATIENCE: Duration = Duration::from_secs(4);

/// One measurement. `people`: connections of a ring (each sends to the next), or members of a group that one more
/// connection, not a member, sends to. Times in seconds.
pub struct Plan {
    pub server: Server,
    pub port: u16,
    pub hook_port: u16,
    pub hook_pid: u32,
    pub pid: u32,
    pub rate: u64,
    pub people: usize,
    pub seconds: u64,
    pub warm_up: u64,
    pub group: bool,
}

impl Plan {
    /// Numbers from here on count.
    fn first(&self) -> usize {
        (self.rate * self.warm_up) as usize
    }

    fn total(&self) -> usize {
        (self.rate * (self.warm_up + self.seconds)) as usize
    }

    fn receivers_per_message(&self) -> usize {
        if self.group { self.people } else { 1 }
    }

    fn seats(&self) -> Vec<Seat> {
        if !self.group {
            let next = |user: usize| user % self.people + 1;
            return (1..=self.people).map(|user| Seat { user, in_group: false, to: Some(next(user)) }).collect();
        }
        let members = (1..=self.people).map(|user| Seat { user, in_group: true, to: Some(0) });
        std::iter::once(Seat { user: 0, in_group: false, to: None }).chain(members).collect()
    }
}

/// Everything that was heard of the messages.
struct Books {
    epoch: Instant,
    first: usize,
    receivers: usize,
    /// Per message and receiver: how often it came.
    times: Vec<u8>,
    /// Per message: microseconds from due to its last receiver so far.
    last: Vec<u32>,
    latencies: Vec<u32>,
    acked: Vec<bool>,
    refused: u64,
    delivered: u64,
    duplicates: u64,
    closed: u64,
}

impl Books {
    fn new(plan: &Plan) -> Books {
        let (total, receivers) = (plan.total(), plan.receivers_per_message());
        Books {
            epoch: Instant::now(),
            first: plan.first(),
            receivers,
            times: vec![0; total * receivers],
            last: vec![0; total],
            latencies: Vec::with_capacity(total * receivers),
            acked: vec![false; total],
            refused: 0,
            delivered: 0,
            duplicates: 0,
            closed: 0,
        }
    }

    fn now_us(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    /// `receiver`: 0 in a ring, the place in the group in a group.
    fn message(&mut self, body: &[u8], receiver: usize) {
        let digits = |from: usize| std::str::from_utf8(body.get(from..from + DIGITS)?).ok()?.parse::<u64>().ok();
        let (Some(number), Some(due)) = (digits(0), digits(DIGITS)) else { return };
        let number = number as usize;
        if body.len() != BODY_BYTES || number < self.first || number >= self.last.len() {
            return;
        }
        let times = &mut self.times[number * self.receivers + receiver];
        *times = times.saturating_add(1);
        if *times > 1 {
            self.duplicates += 1;
            return;
        }
        self.delivered += 1;
        let latency = self.now_us().saturating_sub(due) as u32;
        self.latencies.push(latency);
        self.last[number] = self.last[number].max(latency);
    }

    fn ack(&mut self, number: usize, accepted: bool) {
        if number < self.first || number >= self.acked.len() {
            return;
        }
        self.acked[number] |= accepted;
        self.refused += u64::from(!accepted);
    }

    fn expected(&self) -> u64 {
        ((self.last.len() - self.first) * self.receivers) as u64
    }
}

enum Order {
    Send { number: usize, due_us: u64 },
    Raw(Message),
}

type Shared = Rc<RefCell<Books>>;

/// Runs the plan and prints its result line (see `table`).
pub async fn measure(plan: Plan) -> io::Result<()> {
    let sockets = open_all(plan.server, plan.port, &plan.seats()).await?;
    sleep(Duration::from_millis(500)).await;
    let books = Rc::new(RefCell::new(Books::new(&plan)));
    let mut senders = Vec::new();
    for (index, (seat, socket)) in sockets.into_iter().enumerate() {
        let (sink, stream) = socket.split();
        let (orders, queue) = unbounded_channel();
        spawn_local(write(plan.server, seat, sink, queue));
        let receiver = if plan.group { index.saturating_sub(1) } else { 0 };
        spawn_local(read(plan.server, stream, orders.clone(), books.clone(), receiver));
        senders.push(orders);
    }
    senders.truncate(if plan.group { 1 } else { plan.people });
    let start = Instant::now() + Duration::from_millis(100);
    let due = |number: usize| start + Duration::from_secs_f64(number as f64 / plan.rate as f64);
    let (total, rate, epoch) = (plan.total(), plan.rate, books.borrow().epoch);
    let pacer = std::thread::spawn(move || pace(&senders, total, rate, start, epoch));
    let checks = checks(plan.hook_port).await?;
    sleep_until(due(plan.first())).await;
    let (cpu, others, since) = (process::cpu_seconds(plan.pid), others(&plan), Instant::now());
    sleep_until(due(total)).await;
    let others = (self::others(&plan) - others) / since.elapsed().as_secs_f64();
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && books.borrow().delivered < books.borrow().expected() {
        sleep(Duration::from_millis(5)).await;
    }
    let late = end.saturating_duration_since(Instant::now()).is_zero();
    // Duplicates may still come.
    sleep(Duration::from_millis(300)).await;
    let cpu = process::cpu_seconds(plan.pid) - cpu;
    let checks = self::checks(plan.hook_port).await? - checks;
    if pacer.join().is_err() {
        return Err(io::Error::other("the pacer broke"));
    }
    report(&plan, &mut books.borrow_mut(), cpu, checks, late, others);
    Ok(())
}

/// Processor seconds used by everything else on the machine.
fn others(plan: &Plan) -> f64 {
    let own = [plan.pid, plan.hook_pid, std::process::id()];
    process::machine_cpu_seconds() - own.map(process::cpu_seconds).iter().sum::<f64>()
}

/// A thread of its own: the runtime's timers are too coarse (1 ms) for an even rate.
fn pace(senders: &[UnboundedSender<Order>], total: usize, rate: u64, start: Instant, epoch: Instant) {
    for number in 0..total {
        let due = start + Duration::from_secs_f64(number as f64 / rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let due_us = due.duration_since(epoch).as_micros() as u64;
        // A closed connection shows as lost messages.
        let _ = senders[number % senders.len()].send(Order::Send { number, due_us });
    }
}

async fn write(server: Server, seat: Seat, mut sink: SplitSink<Socket, Message>, mut orders: UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        let message = match order {
            Order::Raw(message) => message,
            Order::Send { number, due_us } => {
                let mut body = format!("{number:0DIGITS$}{due_us:0DIGITS$}");
                body.extend(std::iter::repeat_n('x', BODY_BYTES - body.len()));
                server.write(seat, number, body)
            }
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

async fn read(
    server: Server,
    mut stream: SplitStream<Socket>,
    orders: UnboundedSender<Order>,
    books: Shared,
    receiver: usize,
) {
    while let Some(Ok(message)) = stream.next().await {
        match server.read(message) {
            Heard::Message(body) => books.borrow_mut().message(&body, receiver),
            Heard::Ack(number, accepted) => books.borrow_mut().ack(number, accepted),
            Heard::Answer(answer) => drop(orders.send(Order::Raw(answer))),
            Heard::Nothing => {}
        }
    }
    books.borrow_mut().closed += 1;
}

/// On a busy machine a server may refuse a connection because its own hook call was late; a few more attempts are made.
async fn open(server: Server, port: u16, seat: Seat) -> io::Result<(Seat, Socket)> {
    for _ in 0..4 {
        match server.open(port, seat).await {
            Ok(socket) => return Ok((seat, socket)),
            Err(error) => eprintln!("connection of u{}: {error}; again", seat.user),
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok((seat, server.open(port, seat).await?))
}

async fn open_all(server: Server, port: u16, seats: &[Seat]) -> io::Result<Vec<(Seat, Socket)>> {
    let opening = seats.iter().map(|seat| open(server, port, *seat));
    let opened: Vec<io::Result<(Seat, Socket)>> = futures_util::stream::iter(opening).buffered(32).collect().await;
    opened.into_iter().collect()
}

/// How many messages the hook has checked so far.
async fn checks(hook_port: u16) -> io::Result<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", hook_port)).await?;
    stream.write_all(b"GET /count HTTP/1.1\r\n\r\n").await?;
    let mut answer = [0; 512];
    let length = stream.read(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    text.rsplit("\r\n\r\n").next().and_then(|body| body.parse().ok()).ok_or_else(|| io::Error::other("no count"))
}

fn report(plan: &Plan, books: &mut Books, cpu: f64, checks: u64, late: bool, others: f64) {
    let quantile = |sorted: &[u32], q: f64| {
        let index = (sorted.len() as f64 * q).ceil() as usize;
        sorted.get(index.saturating_sub(1)).map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
    };
    books.latencies.sort_unstable();
    let mut last: Vec<u32> = books.last.split_off(books.first);
    last.sort_unstable();
    let (all, sent) = (&books.latencies, last.len());
    let (expected, acked) = (sent * books.receivers, books.acked.iter().filter(|acked| **acked).count());
    let fields = [
        ("kind", if plan.group { "group" } else { "chat" }.to_owned()),
        ("server", plan.server.name().to_owned()),
        ("rate", plan.rate.to_string()),
        ("sent", sent.to_string()),
        ("acked", acked.to_string()),
        ("refused", books.refused.to_string()),
        ("unchecked", (plan.total() as u64).saturating_sub(checks).to_string()),
        ("delivered", books.delivered.to_string()),
        ("lost", (expected as u64 - books.delivered).to_string()),
        ("duplicates", books.duplicates.to_string()),
        ("closed", books.closed.to_string()),
        ("late", u8::from(late).to_string()),
        ("p50", quantile(all, 0.5).to_string()),
        ("p99", quantile(all, 0.99).to_string()),
        ("max", quantile(all, 1.0).to_string()),
        ("last50", quantile(&last, 0.5).to_string()),
        ("lastmax", quantile(&last, 1.0).to_string()),
        ("cpu_ms", format!("{:.1}", cpu * 1e6 / sent as f64)),
        ("others", format!("{:.2}", others.max(0.0))),
    ];
    println!("{}", fields.map(|(name, value)| format!("{name}={value}")).join(" "));
}

/// Allocators give memory back only after a while.
const SETTLE: Duration = Duration::from_secs(11);

/// Resident bytes per idle connection: the growth over `connections` more, after 200 that warmed the server up.
pub async fn idle(server: Server, port: u16, pid: u32, connections: usize) -> io::Result<()> {
    let seats: Vec<Seat> = (1..=connections + 200).map(|user| Seat { user, in_group: false, to: Some(0) }).collect();
    let (warm, rest) = seats.split_at(200);
    let warm = open_all(server, port, warm).await?;
    sleep(SETTLE).await;
    let before = process::resident_bytes(pid);
    let rest = open_all(server, port, rest).await?;
    sleep(SETTLE).await;
    let after = process::resident_bytes(pid);
    let (open, per) = (warm.len() + rest.len(), (after - before) / connections as f64);
    println!("kind=idle server={} open={open} bytes={per:.0} total={after:.0}", server.name());
    Ok(())
}
