//! How should a WebSocket session hold its socket? `session_socket drive CONNECTIONS RUNS` starts both ways in turn as
//! processes of their own, and measures them over loopback. See docs/adr/0001-session-socket.md.

mod drive;
mod session;
mod way_a;
mod way_b;

use std::io;
use std::net::TcpListener;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let listen = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        Ok::<_, io::Error>(listener)
    };
    let number = |index: usize, default| arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default);
    actix_rt::System::new().block_on(async {
        match arguments.first().map(String::as_str) {
            Some("a") => way_a::serve(listen()?).await,
            Some("b") => way_b::serve(listen()?).await,
            Some("drive") => drive::drive(number(1, 8_000), number(2, 3)).await,
            _ => Err(io::Error::other("usage: session_socket a | b | drive [CONNECTIONS] [RUNS]")),
        }
    })
}
