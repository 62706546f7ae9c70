//! Measures MICS and other servers with one load generator and one hook. It starts no server itself: `bench/peers.sh`
//! does, and tells it the process id to watch.

mod load;
mod process;
mod stub;
mod table;
mod wire;

use std::io;

const USAGE: &str = "usage: peers stub <port> <group size>
       peers chat <server> <port> <hook port> <hook pid> <pid> <messages per second> <connections> <seconds> <warm-up seconds>
       peers group <server> <port> <hook port> <hook pid> <pid> <messages per second> <members> <seconds> <warm-up seconds>
       peers idle <server> <port> <pid> <connections>
       peers table <file of result lines>
server: mics | socketio | nchan | bun; chat, group and idle print one result line";

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what}\n{USAGE}"))
}

fn number<T: std::str::FromStr>(args: &[String], index: usize) -> io::Result<T> {
    let text = args.get(index).ok_or_else(|| wrong("too few arguments"))?;
    text.parse().map_err(|_| wrong(&format!("{text}: not a number in range")))
}

async fn run(args: &[String]) -> io::Result<()> {
    let text = |index: usize| args.get(index).map(String::as_str).ok_or_else(|| wrong("too few arguments"));
    let plan = |group: bool| -> io::Result<load::Plan> {
        Ok(load::Plan {
            server: wire::Server::parse(text(1)?).ok_or_else(|| wrong("unknown server"))?,
            port: number(args, 2)?,
            hook_port: number(args, 3)?,
            hook_pid: number(args, 4)?,
            pid: number(args, 5)?,
            rate: number(args, 6)?,
            people: number(args, 7)?,
            seconds: number(args, 8)?,
            warm_up: number(args, 9)?,
            group,
        })
    };
    match text(0)? {
        "stub" => stub::serve(number(args, 1)?, number(args, 2)?).await,
        "chat" => load::measure(plan(false)?).await,
        "group" => load::measure(plan(true)?).await,
        "idle" => {
            let server = wire::Server::parse(text(1)?).ok_or_else(|| wrong("unknown server"))?;
            load::idle(server, number(args, 2)?, number(args, 3)?, number(args, 4)?).await
        }
        "table" => {
            print!("{}", table::render(&std::fs::read_to_string(text(1)?)?));
            Ok(())
        }
        other => Err(wrong(&format!("{other}: unknown"))),
    }
}

/// One thread: the generator must not take the servers' second core, and its books need no locks.
#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    tokio::task::LocalSet::new().run_until(run(&args)).await
}
