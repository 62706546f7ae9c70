//! The client: memory of idle connections, echo rate, and what a client that does not read does to its session.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use actix_rt::time::sleep;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::session::{ASK, EVICT, FLOOD, FLOOD_FRAME, FLOOD_FRAMES, MARK};

const ECHO: usize = 128;
const LOOPS: usize = 100;
const ECHO_TIME: Duration = Duration::from_secs(5);
const COLUMNS: [&str; 8] =
    ["idle_B/conn", "echoed_B/conn", "msg/s", "cpu_us/msg", "ask_ms", "marks_seen", "unsent_kB", "evict_ms"];

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(way: &str) -> io::Result<Server> {
        // A core of its own: otherwise the scheduler's placement of the two processes decides the rate.
        let program = std::env::current_exe()?;
        let mut child =
            Command::new("taskset").args(["-c", "0"]).arg(program).arg(way).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?).read_line(&mut line)?;
        Ok(Server { child, address: line.trim().parse().map_err(io::Error::other)? })
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }

    /// Resident bytes.
    fn resident(&self) -> io::Result<f64> {
        let status = std::fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        Ok(1024.0 * line.trim().trim_end_matches(" kB").parse::<f64>().map_err(io::Error::other)?)
    }

    /// Microseconds of processor time used, in steps of 10,000.
    fn cpu(&self) -> io::Result<f64> {
        let stat = std::fs::read_to_string(self.proc("stat"))?;
        let ticks = stat.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<f64>().ok());
        Ok(10_000.0 * ticks.sum::<f64>())
    }

    fn descriptors(&self) -> io::Result<usize> {
        Ok(std::fs::read_dir(self.proc("fd"))?.count())
    }

    async fn connect(&self, from: Ipv4Addr, receive_buffer: Option<u32>) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        receive_buffer.map_or(Ok(()), |size| socket.set_recv_buffer_size(size))?;
        socket.bind((from, 0).into())?;
        let mut stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let hello = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(hello.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await?);
        }
        let accepted =
            answer.starts_with(b"HTTP/1.1 101") && answer.windows(28).any(|w| w == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        if accepted { Ok(stream) } else { Err(io::Error::other("handshake refused")) }
    }
}

/// A masked binary frame.
fn frame(payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x82];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => frame.extend([0x80 | 126, (long >> 8) as u8, long as u8]),
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

async fn echo(stream: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    let mut answer = [0; 4 + ECHO];
    stream.read_exact(&mut answer).await?;
    let whole = answer[..4] == [0x82, 126, 0, ECHO as u8] && answer[4..].iter().all(|byte| *byte == b'e');
    if whole { Ok(()) } else { Err(io::Error::other("echo differs")) }
}

/// Messages per second of closed loops, and the server's microseconds of processor time per message.
async fn echo_rate(server: &Server, streams: Vec<TcpStream>, request: &[u8]) -> io::Result<[f64; 2]> {
    let count = Rc::new(Cell::new(0_u64));
    let (cpu, start) = (server.cpu()?, Instant::now());
    let loops = streams.into_iter().map(|mut stream| {
        let (count, request) = (count.clone(), request.to_vec());
        actix_rt::spawn(async move {
            while echo(&mut stream, &request).await.is_ok() {
                count.set(count.get() + 1);
            }
        })
    });
    let loops: Vec<_> = loops.collect();
    sleep(ECHO_TIME).await;
    let (messages, cpu, seconds) = (count.get() as f64, server.cpu()? - cpu, start.elapsed().as_secs_f64());
    if loops.iter().any(|task| task.is_finished()) {
        return Err(io::Error::other("a connection broke"));
    }
    loops.iter().for_each(|task| task.abort());
    Ok([messages / seconds, cpu / messages])
}

/// A client lets 4 MiB come and reads nothing. Milliseconds until its session answered another session's message,
/// frames from the client that the session saw, kB still queued, milliseconds until a stopped session's socket was gone.
/// NaN = not within a second.
async fn stall(server: &Server, from: Ipv4Addr) -> io::Result<[f64; 4]> {
    let mut asker = server.connect(from, None).await?;
    let mut stalled = server.connect(from, Some(4096)).await?;
    stalled.write_all(&frame(&[FLOOD])).await?;
    sleep(Duration::from_millis(500)).await;
    stalled.write_all(&frame(&[MARK])).await?;
    sleep(Duration::from_millis(200)).await;
    let asked = Instant::now();
    asker.write_all(&frame(&[ASK])).await?;
    let mut answer = [0; 8];
    asker.read_exact(&mut answer).await?;
    let [_, _, answered, marks, queued @ ..] = answer;
    let ask_ms = if answered == 1 { asked.elapsed().as_secs_f64() * 1e3 } else { f64::NAN };
    let open = server.descriptors()?;
    let told = Instant::now();
    asker.write_all(&frame(&[EVICT])).await?;
    let gone = timeout(Duration::from_secs(1), async {
        while server.descriptors().is_ok_and(|now| now >= open) {
            sleep(Duration::from_millis(1)).await;
        }
    });
    let evict_ms = gone.await.map_or(f64::NAN, |()| told.elapsed().as_secs_f64() * 1e3);
    // A client that reads gets all of it.
    let mut reader = server.connect(from, Some(4096)).await?;
    reader.write_all(&frame(&[FLOOD])).await?;
    let mut all = vec![0; FLOOD_FRAMES * (10 + FLOOD_FRAME)];
    timeout(Duration::from_secs(20), reader.read_exact(&mut all)).await??;
    Ok([ask_ms, f64::from(marks), f64::from(u32::from_be_bytes(queued)) / 1e3, evict_ms])
}

async fn measure(way: &str, connections: usize, run: usize) -> io::Result<[f64; 8]> {
    let server = Server::start(way)?;
    // Fresh source addresses, so that ports waiting from earlier runs do not slow this one.
    let from = |index: usize| Ipv4Addr::new(127, 1 + run as u8, way.as_bytes()[0], 1 + (index % 8) as u8);
    drop(server.connect(from(0), None).await?);
    sleep(Duration::from_millis(500)).await;
    let empty = server.resident()?;
    let mut streams = Vec::with_capacity(connections);
    for index in 0..connections {
        streams.push(server.connect(from(index), None).await?);
    }
    sleep(Duration::from_secs(3)).await;
    let idle = server.resident()?;
    let request = frame(&[b'e'; ECHO]);
    for stream in &mut streams {
        echo(stream, &request).await?;
    }
    sleep(Duration::from_secs(2)).await;
    let echoed = server.resident()?;
    let loops = streams.split_off(connections.saturating_sub(LOOPS));
    let [rate, cpu] = echo_rate(&server, loops, &request).await?;
    sleep(Duration::from_secs(1)).await;
    let [ask, marks, unsent, evict] = stall(&server, from(1)).await?;
    let per = |bytes: f64| (bytes - empty) / connections as f64;
    Ok([per(idle), per(echoed), rate, cpu, ask, marks, unsent, evict])
}

fn print(way: &str, run: &str, figures: &[f64; 8]) {
    let figures: Vec<String> = figures.iter().map(|figure| format!("{figure:>13.1}")).collect();
    println!("{way} {run:>6} {}", figures.join(" "));
}

/// Measures both ways in turn; prints every run, then the medians.
pub async fn drive(connections: usize, runs: usize) -> io::Result<()> {
    println!("{:8} {}", "", COLUMNS.map(|name| format!("{name:>13}")).join(" "));
    let mut results = [("a", Vec::new()), ("b", Vec::new())];
    for run in 0..runs {
        for (way, figures) in &mut results {
            let measured = measure(way, connections, run).await?;
            print(way, &run.to_string(), &measured);
            figures.push(measured);
        }
    }
    for (way, figures) in &results {
        let median = |column: usize| {
            let mut values: Vec<f64> = figures.iter().map(|run| run[column]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        print(way, "median", &std::array::from_fn(median));
    }
    Ok(())
}
