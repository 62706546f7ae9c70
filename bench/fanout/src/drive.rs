//! Has the gateway and the bare loop fan out in turns, and prints the figures side by side. Must not hold sockets itself.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::parse;
use crate::watch::Seen;

/// A process of this program that answers in lines.
struct Part {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Part {
    fn start(arguments: &[&str]) -> io::Result<Part> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or_else(|| io::Error::other("no stdin"))?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        Ok(Part { child, input, output: BufReader::new(output) })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn ready(&mut self) -> io::Result<()> {
        match self.line()?.as_str() {
            "ready" => Ok(()),
            other => Err(io::Error::other(format!("not ready but {other:?}"))),
        }
    }
}

/// A server with its members.
struct Target {
    server: u32,
    members: Part,
}

impl Target {
    fn connect(kind: &str, address: &str, server: u32, members: usize) -> io::Result<Target> {
        let mut members = Part::start(&["watch", kind, address, &members.to_string()])?;
        members.ready()?;
        Ok(Target { server, members })
    }

    fn round(&mut self, mode: &str, size: usize) -> io::Result<Round> {
        writeln!(self.members.input, "settle")?;
        self.members.ready()?;
        let before = (cpu_us(self.server)?, cpu_us(self.members.child.id())?);
        writeln!(self.members.input, "{mode} {size}")?;
        let seen: Seen = self.members.line()?.parse()?;
        let after = (cpu_us(self.server)?, cpu_us(self.members.child.id())?);
        Ok(Round { seen, server_cpu_us: after.0 - before.0, members_cpu_us: after.1 - before.1 })
    }
}

struct Round {
    seen: Seen,
    server_cpu_us: i64,
    members_cpu_us: i64,
}

/// Processor time that a process has used on all its threads.
fn cpu_us(pid: u32) -> io::Result<i64> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += parse::<i64>(text.split_whitespace().next().unwrap_or_default())? / 1000;
    }
    Ok(total)
}

/// Smallest, median and largest, in milliseconds.
fn spread(rounds: &[Round], figure: impl Fn(&Round) -> i64) -> [f64; 3] {
    let mut values: Vec<i64> = rounds.iter().map(figure).collect();
    values.sort_unstable();
    [values[0], values[values.len() / 2], values[values.len() - 1]].map(|us| us as f64 / 1e3)
}

type Figure = (&'static str, fn(&Round) -> i64);

const FIGURES: [Figure; 5] = [
    ("last written - first written", |round| round.seen.last_us - round.seen.first_us),
    ("last written - trigger", |round| round.seen.last_us),
    ("last read - trigger", |round| round.seen.read_us),
    ("processor time of the server", |round| round.server_cpu_us),
    ("processor time of the members", |round| round.members_cpu_us),
];

fn print(mode: &str, bare: &[Round], mics: &[Round]) {
    let bytes = mics[0].seen.frame_bytes;
    for (name, figure) in FIGURES {
        if mode == "park" && name.starts_with("last read") {
            // They read late on purpose.
            continue;
        }
        let (bare, mics) = (spread(bare, figure), spread(mics, figure));
        let text = |values: [f64; 3]| values.map(|ms| format!("{ms:.1}")).join(" / ");
        let ratio = |index: usize| format!("{:.2}", mics[index] / bare[index]);
        println!("| {bytes} | {mode} | {name} | {} | {} | {} / {} |", text(bare), text(mics), ratio(0), ratio(1));
    }
}

/// What is compared.
pub struct Targets {
    bare: Target,
    mics: Target,
    _loop: Part,
}

impl Targets {
    /// `address` and `pid`: the gateway's. `threads`: of the bare loop.
    pub fn connect(address: &str, pid: u32, members: usize, threads: &str) -> io::Result<Targets> {
        let mut loop_ = Part::start(&["bare", threads])?;
        let loop_address = loop_.line()?;
        let bare = Target::connect("bare", &loop_address, loop_.child.id(), members)?;
        // Last: its members count as silent after a while.
        let mics = Target::connect("mics", address, pid, members)?;
        Ok(Targets { bare, mics, _loop: loop_ })
    }
}

/// `rounds`: of each target for every size and way of reading. `bodies`: sizes of the message body.
pub fn drive(targets: Targets, rounds: usize, bodies: &[usize]) -> io::Result<()> {
    let Targets { mut bare, mut mics, .. } = targets;
    println!("| frame | members | ms, min / median / max | bare loop | gateway | ratio of min / median |");
    println!("|---|---|---|---|---|---|");
    for &body in bodies {
        for mode in ["park", "read"] {
            let (mut bare_rounds, mut mics_rounds) = (Vec::new(), Vec::new());
            // The first round warms up and tells the size of the frame.
            let frame = mics.round(mode, body)?.seen.frame_bytes;
            bare.round(mode, frame)?;
            for _ in 0..rounds {
                mics_rounds.push(mics.round(mode, body)?);
                bare_rounds.push(bare.round(mode, frame)?);
            }
            print(mode, &bare_rounds, &mics_rounds);
        }
    }
    Ok(())
}
