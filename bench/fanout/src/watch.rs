//! The members: as many sockets, one thread. The time of a frame is the kernel's, taken when the socket got it: over
//! loopback that is inside the server's write, however late this process reads. Must not compute statistics.

use std::fmt;
use std::io::{self, BufRead, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn, TimestampingFlag, Timestamps, bind,
    connect, recvmsg, setsockopt, socket, sockopt,
};

use crate::{frame, parse};

/// Handshakes under way at a time.
const AT_ONCE: usize = 64;
/// Nothing came for so long: nothing more will.
const QUIET_MS: u16 = 100;
/// The gateway closes a client that is silent for 30 s.
const HEARTBEAT: Duration = Duration::from_secs(8);
const PARK: Duration = Duration::from_millis(400);
const GIVE_UP: Duration = Duration::from_secs(10);

/// One fan-out as the members saw it; times in microseconds after the trigger was sent.
#[derive(Clone, Copy)]
pub struct Seen {
    pub frame_bytes: usize,
    /// First and last frame in a member's socket.
    pub first_us: i64,
    pub last_us: i64,
    /// When this process had read the last one.
    pub read_us: i64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.frame_bytes, self.first_us, self.last_us, self.read_us)
    }
}

impl FromStr for Seen {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Seen> {
        let numbers = line.split_whitespace().map(parse).collect::<io::Result<Vec<i64>>>()?;
        let [frame_bytes, first_us, last_us, read_us] = numbers[..] else {
            return Err(io::Error::other(format!("no figures: {line:?}")));
        };
        Ok(Seen { frame_bytes: frame_bytes as usize, first_us, last_us, read_us })
    }
}

/// Nanoseconds since 1970, the clock of the kernel's timestamps.
fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

struct Members {
    mics: bool,
    sockets: Vec<TcpStream>,
    trigger: TcpStream,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    buffer: Vec<u8>,
    control: Vec<u8>,
    pinged_ns: i64,
    round: u32,
}

/// Connects, prints `ready`, then for each line `read|park SIZE` has one fan-out made and prints what was [`Seen`]; `park`:
/// the members read only after [`PARK`]. SIZE: of the body for the gateway, of the whole frame for the bare loop. Before
/// each, `settle` makes everything quiet and prints `ready`.
pub fn watch(mics: bool, server: SocketAddrV4, count: usize) -> io::Result<()> {
    let mut members = Members::connect(mics, server, count)?;
    println!("ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some((mode, size)) => println!("{}", members.fan_out(mode == "park", parse(size)?)?),
            None => {
                members.settle()?;
                println!("ready");
            }
        }
    }
    Ok(())
}

impl Members {
    fn connect(mics: bool, server: SocketAddrV4, count: usize) -> io::Result<Members> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            let batch = sockets.len()..count.min(sockets.len() + AT_ONCE);
            // The mock's group `range-<n>` has the users u1 to u<n>.
            let opened = batch.map(|index| open(server, index, &format!("ws?tenantId=t1&token=valid:u{}", index + 1)));
            for opened in opened.collect::<io::Result<Vec<_>>>()? {
                let socket = accepted(opened)?;
                let flags =
                    TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
                setsockopt(&socket, sockopt::Timestamping, &flags)?;
                let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
                epoll.add(&socket, EpollEvent::new(interest, sockets.len() as u64))?;
                sockets.push(socket);
            }
        }
        let path = if mics { "ws?tenantId=t1&token=valid:u0" } else { "trigger" };
        let trigger = accepted(open(server, count, path)?)?;
        trigger.set_nonblocking(true)?;
        Ok(Members {
            mics,
            sockets,
            trigger,
            epoll,
            events: vec![EpollEvent::empty(); 1024],
            buffer: vec![0; 64 * 1024],
            control: nix::cmsg_space!(Timestamps),
            pinged_ns: 0,
            round: 0,
        })
    }

    fn fan_out(&mut self, park: bool, size: usize) -> io::Result<Seen> {
        self.round += 1;
        let group = format!("range-{}", self.sockets.len());
        let id = format!("{:08}-{:08}", std::process::id(), self.round);
        let message = if self.mics {
            frame::group_message(&id, &group, size)
        } else {
            let frame = frame::of_length(size);
            [&(frame.len() as u32).to_be_bytes()[..], &frame].concat()
        };
        let sent_ns = now_ns();
        self.trigger.write_all(&message)?;
        if park {
            std::thread::sleep(PARK);
        }
        self.collect(sent_ns)
    }

    /// Reads until every member has the frame.
    fn collect(&mut self, sent_ns: i64) -> io::Result<Seen> {
        let mut missing = vec![0_usize; self.sockets.len()];
        let (mut complete, mut reference) = (0, Vec::new());
        let (mut first, mut last) = (i64::MAX, 0);
        while complete < self.sockets.len() {
            if now_ns() - sent_ns > GIVE_UP.as_nanos() as i64 {
                return Err(io::Error::other(format!("{complete} of {} members got the frame", self.sockets.len())));
            }
            let ready = self.epoll.wait(&mut self.events, QUIET_MS)?;
            for event in 0..ready {
                let index = self.events[event].data() as usize;
                let (count, at_ns) = self.receive(index)?;
                let bytes = &self.buffer[..count];
                if reference.is_empty() {
                    let whole = frame::length(bytes).ok_or_else(|| io::Error::other("not a delivery"))?;
                    reference = vec![0; whole];
                    reference[..count].copy_from_slice(bytes);
                    missing.fill(whole);
                }
                // The first member's frame is the pattern for the others, if it came in one piece.
                let from = reference.len() - missing[index];
                if reference.get(from..from + count) != Some(bytes) {
                    return Err(io::Error::other("a member got something else"));
                }
                missing[index] -= count;
                complete += usize::from(missing[index] == 0);
                (first, last) = (first.min(at_ns), last.max(at_ns));
            }
        }
        let after = |ns: i64| (ns - sent_ns) / 1000;
        Ok(Seen {
            frame_bytes: reference.len(),
            first_us: after(first),
            last_us: after(last),
            read_us: after(now_ns()),
        })
    }

    /// Bytes read from a member's socket into the buffer, and when the kernel got the last of them.
    fn receive(&mut self, index: usize) -> io::Result<(usize, i64)> {
        let mut into = [IoSliceMut::new(&mut self.buffer)];
        let socket = self.sockets[index].as_raw_fd();
        let message = recvmsg::<()>(socket, &mut into, Some(&mut self.control), MsgFlags::MSG_DONTWAIT)?;
        let at = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampsns(times) => Some(times.system),
            _ => None,
        });
        match (message.bytes, at) {
            (0, _) => Err(io::Error::other(format!("member {index} was disconnected"))),
            (_, None) => Err(io::Error::other("the kernel gave no time")),
            (count, Some(at)) => Ok((count, at.tv_sec() * 1_000_000_000 + at.tv_nsec())),
        }
    }

    fn keep_alive(&mut self) -> io::Result<()> {
        if self.mics && now_ns() - self.pinged_ns > HEARTBEAT.as_nanos() as i64 {
            self.pinged_ns = now_ns();
            let ping = frame::ping();
            for mut socket in self.sockets.iter().chain([&self.trigger]) {
                socket.write_all(&ping)?;
            }
        }
        Ok(())
    }

    /// Keeps the members alive and throws away whatever is still coming: greetings, pongs, acks.
    fn settle(&mut self) -> io::Result<()> {
        self.keep_alive()?;
        loop {
            match self.epoll.wait(&mut self.events, QUIET_MS)? {
                0 => break,
                ready => {
                    for event in 0..ready {
                        let index = self.events[event].data() as usize;
                        let _ = (&self.sockets[index]).read(&mut self.buffer)?;
                    }
                }
            }
        }
        while self.trigger.read(&mut self.buffer).is_ok_and(|count| count > 0) {}
        Ok(())
    }
}

/// A socket whose handshake is sent. Several source addresses, so that ports do not run out.
fn open(server: SocketAddrV4, index: usize, path: &str) -> io::Result<TcpStream> {
    let fd: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let from = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1 + (index % 4) as u8), 0);
    bind(fd.as_raw_fd(), &SockaddrIn::from(from))?;
    connect(fd.as_fd().as_raw_fd(), &SockaddrIn::from(server))?;
    let mut stream = TcpStream::from(fd);
    stream.set_nodelay(true)?;
    let hello = format!(
        "GET /{path}&deviceId=d HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(hello.as_bytes())?;
    Ok(stream)
}

/// Waits for the answer to the handshake.
fn accepted(mut stream: TcpStream) -> io::Result<TcpStream> {
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    if answer.starts_with(b"HTTP/1.1 101") { Ok(stream) } else { Err(io::Error::other("handshake refused")) }
}
