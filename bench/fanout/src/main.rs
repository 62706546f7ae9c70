//! How long does a group message take to reach every member's socket, compared with a bare loop that writes the same
//! frames to as many sockets? `bench/fanout.sh` runs it. Must not need anything of the gateway but its address.

mod bare;
mod drive;
mod frame;
mod watch;

use std::io;

const USAGE: &str =
    "usage: fanout bare THREADS | watch bare|mics ADDRESS MEMBERS | drive ADDRESS PID MEMBERS ROUNDS THREADS BODY...";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["bare", threads] => bare::serve(parse::<usize>(threads)?.max(1)),
        ["watch", target, address, members] => watch::watch(target == "mics", parse(address)?, parse(members)?),
        ["drive", address, pid, members, rounds, threads, ref bodies @ ..] if !bodies.is_empty() => {
            let bodies = bodies.iter().map(|text| parse(text)).collect::<io::Result<Vec<usize>>>()?;
            let targets = drive::Targets::connect(address, parse(pid)?, parse(members)?, threads)?;
            drive::drive(targets, parse(rounds)?, &bodies)
        }
        _ => Err(io::Error::other(USAGE)),
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.trim().parse().map_err(|_| io::Error::other(format!("cannot read {text:?}; {USAGE}")))
}
